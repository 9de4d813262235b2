//! The state of trunks in words and figures: `ctl trunks`, metrics.

use std::time::Instant;

use super::registration::Standing;
use super::{Entry, place};
use crate::Switch;
use crate::io::{CommandReply, TrunkItem, TrunkState, of_tenant};
use crate::model::{TrunkId, TrunkKind};

impl Switch {
    /// All trunks, or the one of that name.
    pub(crate) fn trunk_items(&self, now: Instant, name: Option<&str>) -> CommandReply {
        let mut items: Vec<TrunkItem> = match name {
            Some(name) => match self.trunk_named(name) {
                Ok(id) => {
                    self.trunks.entries.get(&id).map(|entry| self.trunk_item(now, id, entry)).into_iter().collect()
                }
                Err(error) => return CommandReply::Refused { error },
            },
            None => self.trunks.entries.iter().map(|(id, entry)| self.trunk_item(now, *id, entry)).collect(),
        };
        items.sort_by(|a, b| (&a.tenant, &a.name).cmp(&(&b.tenant, &b.name)));
        CommandReply::Trunks { items }
    }

    /// `NAME`, or `TENANT/NAME` where several tenants have one of that name.
    pub(crate) fn trunk_named(&self, name: &str) -> Result<TrunkId, String> {
        let (tenant, bare) = of_tenant(name);
        let owner = |entry: &Entry| self.name_of_tenant(entry.trunk.tenant);
        let fits = |entry: &&Entry| entry.trunk.name == bare && tenant.is_none_or(|tenant| owner(entry) == tenant);
        let mut found = self.trunks.entries.values().filter(fits).map(|entry| entry.trunk.id);
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id),
            (Some(_), Some(_)) => Err(format!("several tenants have a trunk {bare}: say which, as TENANT/{bare}")),
            (None, _) => Err(format!("there is no trunk {name}: `ctl trunks` lists them")),
        }
    }

    fn trunk_item(&self, now: Instant, id: TrunkId, entry: &Entry) -> TrunkItem {
        let state = entry.state();
        let standing = entry.registration.as_ref().map(|r| r.standing);
        let until = match standing {
            Some(Standing::Registered { until }) => Some(until.saturating_duration_since(now).as_secs()),
            Some(Standing::Registering | Standing::Refused | Standing::Unreachable) | None => None,
        };
        let ago = |at: Instant| now.saturating_duration_since(at).as_secs();
        TrunkItem {
            name: entry.trunk.name.clone(),
            tenant: self.name_of_tenant(entry.trunk.tenant).to_owned(),
            kind: match entry.trunk.kind {
                TrunkKind::Peer => "peer",
                TrunkKind::Register => "register",
            }
            .to_owned(),
            state,
            up: matches!(state, TrunkState::Registered | TrunkState::Up | TrunkState::Unchecked),
            since_s: ago(entry.since),
            registered_for_s: until,
            server: entry.trunk.server.clone(),
            target: entry.target.as_ref().map(place),
            calls: self.lines.calls(id),
            max_calls: entry.trunk.max_calls,
            calls_in: entry.calls_in,
            calls_out: entry.calls_out,
            failures: entry.failures,
            last_error: entry.last_error.as_ref().map(|(_, words)| words.clone()),
            last_error_ago_s: entry.last_error.as_ref().map(|(at, _)| ago(*at)),
            next_try_s: match standing {
                Some(Standing::Refused | Standing::Unreachable) => {
                    entry.wakes.get(&super::Wake::Register).map(|at| at.saturating_duration_since(now).as_secs())
                }
                Some(Standing::Registering | Standing::Registered { .. }) | None => None,
            },
        }
    }
}
