//! The end of a run: everybody hangs up, all comes to rest, and what is left is judged.

use super::*;

impl World<'_> {
    /// Everybody hangs up and unregisters; the network has no more faults.
    pub(super) fn close(&mut self) {
        self.closing = true;
        let now = self.now;
        self.net.mend();
        for index in 0..self.phones.len() {
            let entry = &mut self.phones[index];
            if let Some(phone) = &mut entry.phone {
                let calls: Vec<CallRef> = phone.calls().collect();
                for call in calls {
                    let _ = phone.hang_up(now, call);
                }
                if entry.carrier.is_none() {
                    let _ = phone.unregister(now);
                }
            }
            self.drain_phone(index);
        }
    }

    /// The administrator gives all lines up: registrations with carriers are taken back.
    pub(super) fn give_up_lines(&mut self) {
        lines::lift(&mut self.site);
        self.apply_site();
    }

    pub(super) fn is_at_rest(&mut self) -> bool {
        let now = self.now;
        let phones_rest = self.phones.iter().all(|entry| {
            entry.phone.as_ref().is_some_and(|phone| {
                let counts = phone.counts();
                phone.calls().next().is_none() && counts.client + counts.server + counts.dialogs == 0
            })
        });
        let Some(switch) = &mut self.switch else { return false };
        let idle = switch.is_idle();
        let CommandReply::Status(status) = switch.handle_command(now, Command::Status) else { return false };
        phones_rest
            && idle
            && status.calls == 0
            && status.transactions == 0
            && status.dialogs == 0
            && status.media_streams == 0
            && status.media_ports == 0
    }

    pub(super) fn judge(&mut self) {
        if !self.audit.violations.is_empty() {
            return;
        }
        let now = self.now;
        for (index, entry) in self.phones.iter().enumerate() {
            let Some(phone) = &entry.phone else { continue };
            let calls: Vec<CallRef> = phone.calls().collect();
            if !calls.is_empty() {
                self.audit.violate(format!("phone {index} still has calls {calls:?}"));
            }
            let counts = phone.counts();
            if counts.client + counts.server + counts.dialogs != 0 {
                self.audit.violate(format!("phone {index} still has {counts:?}"));
            }
        }
        let streams = self.relay.as_ref().map_or(0, MediaHost::streams);
        if streams != 0 {
            self.audit.violate(format!("the relay still has {streams} streams"));
        }
        if let Some(switch) = &mut self.switch {
            if !switch.is_idle() {
                self.audit.violate("the switch is not idle");
            }
            if let CommandReply::Status(status) = switch.handle_command(now, Command::Status) {
                let left = [
                    ("calls", status.calls),
                    ("transactions", status.transactions),
                    ("dialogs", status.dialogs),
                    ("media streams", status.media_streams),
                    ("media ports", status.media_ports),
                ];
                for (what, count) in left {
                    if count != 0 {
                        self.audit.violate(format!("the switch still has {count} {what}"));
                    }
                }
                if status.registrations != 0 && self.expects_answers() && !self.extensions_changed {
                    self.audit.violate(format!("the switch still has {} registrations", status.registrations));
                }
            }
        }
        for entry in &self.phones {
            let Some((carrier, front)) = &entry.carrier else { continue };
            if front.wronged {
                self.audit.violate(format!("carrier {carrier} got wrong credentials"));
            }
            // As of another fork it is nobody's call, and its realm may not be known before we are registered.
            let plan = &self.plan.carriers()[*carrier];
            let proves = plan.realm_told && plan.twist.is_none() && self.plan.mild && self.switch_boots == 1;
            if let Some(call_id) = front.waits_for_bye().filter(|_| proves) {
                self.audit.violate(format!("carrier {carrier} still waits for a BYE with credentials in {call_id}"));
            }
            if self.plan.mild && self.switch_boots == 1 && front.contact(now).is_some() {
                self.audit.violate(format!("carrier {carrier} still has a registration"));
            }
        }
        self.audit.settle();
    }
}
