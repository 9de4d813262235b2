//! The operator's verbs (GUARD-8).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ringfort_guard::watch::{Ban, BanEnd};
use ringfort_guard::{Cidr, SourceKey};

use crate::Switch;
use crate::io::{BanItem, CommandReply, GuardCommand, GuardStatus, GuardWhy, Level, OffenceReport};

impl Switch {
    pub(crate) fn guard_command(&mut self, now: Instant, command: GuardCommand) -> CommandReply {
        let unix_s = self.clock.unix_s(now);
        match command {
            GuardCommand::Status => CommandReply::GuardStatus(self.guard_status(unix_s)),
            GuardCommand::Bans { limit } => {
                let mut bans: Vec<(SourceKey, Ban)> = self.wall.watch.bans(unix_s).collect();
                let total = bans.len();
                let newest = |(source, ban): &(SourceKey, Ban)| (std::cmp::Reverse(ban.since), *source);
                if limit < total {
                    bans.select_nth_unstable_by_key(limit, newest);
                    bans.truncate(limit);
                }
                bans.sort_by_key(newest);
                let items = bans.iter().map(|(source, ban)| item(unix_s, *source, ban)).collect();
                CommandReply::Bans { items, total }
            }
            GuardCommand::Log { limit } => {
                let items: Vec<OffenceReport> = self.wall.log.iter().rev().take(limit).cloned().collect();
                CommandReply::Offences { items }
            }
            GuardCommand::Ban { address, for_s } => self.ban_by_operator(now, unix_s, address, for_s),
            GuardCommand::Unban { address } => {
                let changed = self.wall.watch.unban(unix_s, address);
                if changed {
                    let text = format!("{} is not banned any more: an operator lifted it", SourceKey::from(address));
                    self.notice(Level::Info, None, None, "ban.lifted", text);
                }
                self.settle_wall(now);
                CommandReply::Done { changed: usize::from(changed) }
            }
            GuardCommand::Allow { range } => self.allow_by_operator(now, range, true),
            GuardCommand::Unallow { range } => self.allow_by_operator(now, range, false),
            GuardCommand::Why { address } => CommandReply::GuardWhy(self.guard_why(unix_s, address)),
        }
    }

    fn guard_status(&self, unix_s: u64) -> GuardStatus {
        let totals = self.wall.watch.totals();
        GuardStatus {
            failed_now: self.wall.watch.offenders(unix_s).count(),
            failed_total: totals.offences,
            unproven_total: self.counters.offences_unproven,
            banned_now: self.wall.watch.bans(unix_s).count(),
            banned_total: totals.bans,
            refused_acl_total: self.counters.refused_acl,
            allowed: self.wall.watch.allowed().map(|range| range.to_string()).collect(),
            never_banned: self.wall.watch.config().never.iter().map(Cidr::to_string).collect(),
            offences: self.config.watch.offences,
            within_s: self.config.watch.within.as_secs(),
            ban_for_s: self.config.watch.ban_for.as_secs(),
        }
    }

    fn ban_by_operator(&mut self, now: Instant, unix_s: u64, address: IpAddr, for_s: Option<u64>) -> CommandReply {
        let is_trunk = self.sources.knows_well(address);
        match self.wall.watch.ban(unix_s, address, for_s.map(Duration::from_secs), is_trunk) {
            Ok(_) => {
                let text = format!("{} banned by an operator", SourceKey::from(address));
                self.notice(Level::Info, None, None, "ban", text);
                self.settle_wall(now);
                CommandReply::Done { changed: 1 }
            }
            Err(exempt) => CommandReply::Refused { error: format!("{address} cannot be banned: {exempt}") },
        }
    }

    fn allow_by_operator(&mut self, now: Instant, range: Cidr, allow: bool) -> CommandReply {
        let changed = if allow { self.wall.watch.allow(range) } else { self.wall.watch.unallow(range) };
        if changed {
            let verb = if allow { "is never banned from now on" } else { "can be banned again" };
            self.notice(Level::Info, None, None, "ban.allowed", format!("{range} {verb}"));
        }
        self.settle_wall(now);
        CommandReply::Done { changed: usize::from(changed) }
    }

    fn guard_why(&self, unix_s: u64, address: IpAddr) -> GuardWhy {
        let known = self.wall.watch.why(unix_s, address, self.sources.knows_well(address));
        let closed = |profile: &crate::config::Profile| {
            let allowed = profile.allow.as_ref()?;
            let inside = allowed.iter().any(|range| range.contains(address)) || self.is_trunk_address(address);
            (!inside).then(|| profile.name.clone())
        };
        GuardWhy {
            source: known.source.to_string(),
            banned: known.ban.is_some_and(|ban| !ban.is_over(unix_s)),
            ban: known.ban.map(|ban| item(unix_s, known.source, &ban)),
            offences: known.offences.iter().map(|(at, offence)| (unix_s - at, offence.name().to_owned())).collect(),
            exempt: known.exempt.map(|exempt| exempt.to_string()),
            closed_profiles: self.config.profiles.iter().filter_map(closed).collect(),
            offences_for_ban: self.config.watch.offences,
            within_s: self.config.watch.within.as_secs(),
        }
    }
}

fn item(unix_s: u64, source: SourceKey, ban: &Ban) -> BanItem {
    BanItem {
        source: source.to_string(),
        since: crate::record::UnixMillis(ban.since * 1000),
        until: match ban.end {
            BanEnd::At(end) => Some(crate::record::UnixMillis(end * 1000)),
            BanEnd::Never => None,
        },
        left_s: match ban.end {
            BanEnd::At(end) => Some(end.saturating_sub(unix_s)),
            BanEnd::Never => None,
        },
        times: ban.times,
        cause: ban.cause.name().to_owned(),
    }
}
