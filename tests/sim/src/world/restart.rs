//! The switch dies between any two things that it puts out, and comes back with what its journal has: every committed
//! revision, every record of an ended call, every ban, and every registration that was answered 200 ms before or earlier
//! (RUN-1). What counts is what outsiders were told.

use crate::audit::{MAY_LOSE, Restored, Told};

use super::*;

/// The ends of bans are kept in whole seconds.
const ROUNDING: Duration = Duration::from_secs(2);

impl World<'_> {
    pub(super) fn crash_after(&mut self, outputs: u32, down: Duration) {
        if self.switch.is_some() && self.dying.is_none() {
            self.dying = Some((outputs, down));
            if outputs == 0 {
                self.crash();
            }
        }
    }

    /// `true`: it has died before its next output.
    pub(super) fn dies_here(&mut self) -> bool {
        match &mut self.dying {
            Some((0, _)) => {
                self.crash();
                true
            }
            Some((left, _)) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    fn crash(&mut self) {
        let Some((_, down)) = self.dying.take() else { return };
        self.switch = None;
        self.wake[SWITCH.0] = None;
        self.relay = None;
        self.frozen = None;
        self.queue.retain(|_, item| !matches!(item, Item::Wake(SWITCH) | Item::StreamClosed(_) | Item::Thaw));
        self.trace.note(self.now - self.start, SWITCH, "dies");
        let arrivals = self.net.power(self.now, SWITCH, false);
        self.push_all(arrivals);
        let lost = MAY_LOSE.mul_f64(self.rng.random_range(0.0..=1.0));
        let up_at = self.now + down;
        let noticed = UnixMillis(EPOCH.0 + (up_at - self.start).as_millis() as u64);
        self.audit.crashed(self.now, self.now - lost, noticed);
        self.push(up_at, Item::PowerOn(SWITCH));
    }

    pub(super) fn boot_switch(&mut self) {
        self.switch_boots += 1;
        let now = self.now;
        let clock = Clock { instant: self.start, unix: EPOCH };
        let mut seed = [0; 32];
        rand::Rng::fill_bytes(&mut self.rng, &mut seed);
        let mut switch = Switch::new(switch_config(), Arc::new(self.site.clone()), clock, seed);
        let again = self.switch_boots > 1;
        if again {
            let Restored { bindings, bans, spent, next_call } = self.audit.restore();
            switch.restore(now, bindings, next_call);
            switch.restore_spending(&spent);
            switch.restore_guard(now, bans);
        }
        self.switch = Some(switch);
        self.relay = self.plan.media.then(|| MediaHost::new(now, SWITCH_IP, seed));
        let before = self.bans.clone();
        let settled = self.audit.are_bans_settled();
        self.drain_switch();
        if again {
            self.check_registrations();
            if settled {
                self.check_bans(&before);
            }
            self.check_configuration();
        }
    }

    /// Phones by UDP that were told that they are registered are, and those that were told that they are not are not. A
    /// connection has died with the switch, and its phone comes again.
    fn check_registrations(&mut self) {
        let Some(switch) = &mut self.switch else { return };
        let reply = switch.handle_command(self.now, Command::Registrations { tenant: None, number: None });
        let CommandReply::Registrations { items } = reply else { return };
        for extension in self.site.extensions.values().filter(|extension| !extension.enabled) {
            if items.iter().any(|item| item.number == extension.number) {
                self.audit.violate(format!("extension {} is disabled, and registered since a crash", extension.number));
            }
        }
        for (host, Told { at, until }) in self.audit.told() {
            let entry = &self.phones[host.0 - 1];
            if entry.plan.transport != Transport::Udp {
                continue;
            }
            let extension = self.site.extensions.get(&ExtensionId(entry.plan.extension as u32 + 1));
            let wanted = match until {
                Some(until) if until <= self.now => continue,
                Some(_) => extension.is_some_and(|extension| extension.enabled),
                None => false,
            };
            let place = format!("@{}:", entry.address);
            if items.iter().any(|item| item.contact.contains(&place)) != wanted {
                let was = if wanted { "lost" } else { "wrongly kept" };
                let ago = self.now - at;
                self.audit
                    .violate(format!("the registration of phone {}, answered {ago:?} ago, was {was}", host.0 - 1));
            }
        }
    }

    fn check_bans(&mut self, before: &BanSet) {
        for entry in self.phones.iter().filter(|entry| entry.plan.thief) {
            let address = entry.address;
            let is_banned = self.bans.is_banned(self.now, address);
            if before.is_banned(self.now + ROUNDING, address) && !is_banned {
                self.audit.violate(format!("the ban of {address} was lost by a crash"));
            }
            if !before.is_banned(self.now - ROUNDING, address) && is_banned {
                self.audit.violate(format!("{address} is banned since a crash"));
            }
        }
    }

    fn check_configuration(&mut self) {
        let Some(switch) = &mut self.switch else { return };
        if let CommandReply::Status(status) = switch.handle_command(self.now, Command::Status)
            && status.revision != self.site.revision
        {
            let (has, wanted) = (status.revision, self.site.revision);
            self.audit.violate(format!("revision {has} is in force after a crash, and {wanted} was committed"));
        }
    }
}
