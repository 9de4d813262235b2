//! What an operator asks of the running switch: answered at once, from the state in memory.

use std::time::Instant;

use crate::Switch;
use crate::call::{Leg, LegState};
use crate::crossing;
use crate::io::{
    CallItem, Command, CommandReply, Counters, LegItem, Level, Output, RegistrationItem, Status, of_tenant,
};
use crate::model::{CallId, Extension, TenantId};
use crate::record::EndCause;
use crate::registrar::seconds_left;

impl Switch {
    pub fn handle_command(&mut self, now: Instant, command: Command) -> CommandReply {
        let reply = match command {
            Command::Status => CommandReply::Status(self.status()),
            Command::Registrations { tenant, number } => self.registrations(now, tenant.as_deref(), number.as_deref()),
            Command::Calls { tenant } => CommandReply::Calls { items: self.call_items(now, tenant.as_deref()) },
            Command::Hangup { call } => self.hang_up(now, call),
            Command::Unregister { number, contact } => self.unregister(&number, contact.as_deref()),
            Command::RouteExplain { from, to, at } => self.explain_route(now, &from, &to, at.as_deref()),
            Command::Trunks { name } => self.trunk_items(now, name.as_deref()),
            Command::TrunkTest { name, number } => self.begin_trial(now, &name, number.as_deref()),
            Command::TrunkTestResult { test } => self.trial(test),
            Command::Guard(command) => self.guard_command(now, command),
            Command::Spending { account, extensions } => self.spending_items(now, account.as_deref(), extensions),
            Command::Blacklist { tenant, ask } => self.blacklist_command(now, tenant.as_deref(), ask),
            Command::Drain => {
                self.draining = true;
                self.trunks_leave(now);
                self.notice(Level::Info, None, None, "draining", format!("no new calls; {} go on", self.calls.len()));
                CommandReply::Done { changed: self.calls.len() }
            }
            Command::HangupAll => {
                let ids = self.call_ids();
                let words = crossing::reason("Q.850", 41, "The system is being stopped");
                for id in &ids {
                    self.end_call(now, *id, None, 503, EndCause::Shutdown, &words, "the system is being stopped");
                }
                CommandReply::Done { changed: ids.len() }
            }
        };
        self.handle_events(now);
        reply
    }

    fn status(&self) -> Status {
        let (counts, sip) = (self.endpoint.counts(), self.endpoint.stats());
        Status {
            revision: self.directory.site().revision,
            draining: self.draining,
            extensions: self.directory.site().extensions.len(),
            registrations: self.registrar.len(),
            calls: self.calls.len(),
            calls_answered: self.calls.values().filter(|c| c.is_answered()).count(),
            announcements: self.announcements.len(),
            transactions: counts.client + counts.server,
            dialogs: counts.dialogs,
            blacklist_entries: self.blocking.len(),
            voicemail_messages: self.mail.messages(),
            media_streams: self.streams.len(),
            media_ports: self.streams.ports.open_ports(),
            counters: Counters {
                sip_retransmissions: sip.retransmissions,
                sip_loops: sip.loops,
                sip_refused_full: sip.refused_full,
                sip_unknown_dialogs: sip.unknown_dialogs,
                ..self.counters
            },
            refusals: self.refusals.iter().map(|(rule, count)| ((*rule).to_owned(), *count)).collect(),
        }
    }

    fn registrations(&self, now: Instant, tenant: Option<&str>, number: Option<&str>) -> CommandReply {
        let mut items = Vec::new();
        let (of, number) = match number.map(of_tenant) {
            Some((of, number)) => (of.or(tenant), Some(number)),
            None => (tenant, None),
        };
        for id in self.registrar.extensions() {
            let Some(extension) = self.directory.extension(id) else { continue };
            let tenant = self.name_of_tenant(extension.tenant);
            if number.is_some_and(|n| n != extension.number) || of.is_some_and(|name| name != tenant) {
                continue;
            }
            for contact in self.registrar.live(now, id) {
                items.push(RegistrationItem {
                    tenant: tenant.to_owned(),
                    number: extension.number.clone(),
                    contact: contact.uri.to_string(),
                    source: contact.flow.remote.to_string(),
                    transport: contact.flow.transport.to_string(),
                    user_agent: contact.user_agent.to_string(),
                    expires_in_s: seconds_left(contact, now),
                    q: f32::from(contact.q) / 1000.0,
                    path: contact.path.iter().map(|p| p.to_string()).collect(),
                });
            }
        }
        items.sort_by(|a, b| (&a.tenant, &a.number, &a.contact).cmp(&(&b.tenant, &b.number, &b.contact)));
        CommandReply::Registrations { items }
    }

    fn call_ids(&self) -> Vec<CallId> {
        let mut ids: Vec<CallId> = self.calls.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    fn call_items(&self, now: Instant, tenant: Option<&str>) -> Vec<CallItem> {
        let mut ids = self.call_ids();
        ids.retain(|id| tenant.is_none_or(|name| name == self.name_of_tenant(self.calls[id].tenant)));
        let item = |id: CallId| {
            let call = &self.calls[&id];
            let since = call.answered_at.unwrap_or(call.started_at);
            let open = call.legs.iter().filter(|l| l.state != LegState::Gone);
            CallItem {
                call: id,
                tenant: self.name_of_tenant(call.tenant).to_owned(),
                from: call.cdr.caller.to_string(),
                to: call.cdr.callee.to_string(),
                state: call.state_name().to_owned(),
                seconds: now.saturating_duration_since(since).as_secs(),
                legs: open.clone().count(),
                sides: open.clone().map(|l| self.leg_item(l)).collect(),
                srtp: open
                    .map(|l| {
                        if self.streams.is_encrypted(call.bridge.streams(l.media).iter().map(|(id, _)| *id)) {
                            "srtp"
                        } else {
                            "rtp"
                        }
                        .to_owned()
                    })
                    .collect(),
            }
        };
        ids.into_iter().map(item).collect()
    }

    fn leg_item(&self, leg: &Leg) -> LegItem {
        LegItem {
            leg: leg.id,
            tenant: leg.tenant,
            profile: self.config.profiles.get(usize::from(leg.profile.0)).map_or_else(String::new, |p| p.name.clone()),
            context: leg.context,
            extension: leg.extension,
            state: match leg.state {
                LegState::Asking(_) => "asking",
                LegState::Calling { rung: false, .. } => "trying",
                LegState::Calling { rung: true, .. } => "ringing",
                LegState::Up => "up",
                LegState::Gone => "gone",
            }
            .to_owned(),
            tls: leg.secure,
        }
    }

    fn hang_up(&mut self, now: Instant, call: CallId) -> CommandReply {
        if !self.calls.contains_key(&call) {
            return CommandReply::Refused { error: format!("call {call} is not up: `ctl calls` lists those that are") };
        }
        let words = crossing::reason("Q.850", 16, "Ended by the operator");
        self.end_call(now, call, None, 480, EndCause::Operator, &words, "ended by the operator");
        CommandReply::Done { changed: 1 }
    }

    /// The extension with that number, or `TENANT/NUMBER` where several tenants have one.
    pub(crate) fn extension_named(&self, name: &str) -> Result<&Extension, String> {
        let (tenant, number) = of_tenant(name);
        let fits =
            |e: &&Extension| e.number == number && tenant.is_none_or(|tenant| self.name_of_tenant(e.tenant) == tenant);
        let mut found = self.directory.site().extensions.values().filter(fits);
        match (found.next(), found.next()) {
            (Some(extension), None) => Ok(extension),
            (Some(_), Some(_)) => {
                Err(format!("several tenants have an extension {number}: say which, as TENANT/{number}"))
            }
            (None, _) => Err(format!("there is no extension {name}: `ctl extension list` shows them")),
        }
    }

    /// Empty where it is gone.
    pub(crate) fn name_of_tenant(&self, id: TenantId) -> &str {
        self.directory.site().tenants.iter().find(|tenant| tenant.id == id).map_or("", |tenant| &tenant.name)
    }

    fn unregister(&mut self, number: &str, contact: Option<&str>) -> CommandReply {
        let id = match self.extension_named(number) {
            Ok(extension) => extension.id,
            Err(error) => return CommandReply::Refused { error },
        };
        let records = self.registrar.unregister(id, contact);
        let changed = records.len();
        self.outputs.extend(records.into_iter().map(Output::Journal));
        CommandReply::Done { changed }
    }
}
