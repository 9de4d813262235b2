//! The steps of a plan: what people, carriers and the administrator do, and what befalls the machines.

use ringfort_switch::io::GuardCommand;

use super::*;

impl World<'_> {
    pub(super) fn on_step(&mut self, index: usize) {
        let now = self.now;
        let step = self.plan.steps[index];
        let (phone, action) = (step.phone, step.action);
        if self.frozen.is_some() && matches!(action, Action::SetEnabled { .. } | Action::Ban { .. } | Action::Unban) {
            // The command waits like everything else.
            if let Some(waiting) = &mut self.frozen {
                waiting.push(Item::Step(index));
            }
            return;
        }
        self.trace.step(now - self.start, &step);
        match action {
            Action::CrashSwitch { after, down } => self.crash_after(after, down),
            Action::Freeze { lasts } => self.freeze(lasts),
            Action::SetEnabled { extension, enabled } => self.set_enabled(extension, enabled),
            Action::Ban { lasts } => self.ban(phone, lasts),
            Action::Unban => self.unban(phone),
            Action::Reboot { down } => self.reboot(phone, down),
            Action::RestartCarrier { carrier, down } => self.reboot(self.plan.phones.len() + carrier, down),
            Action::CallIn { carrier, extension, cancel_after } => {
                self.call_in(carrier, extension, step.seed, cancel_after);
            }
            Action::Call { extension, late_offer, cancel_after } => {
                self.call(phone, &number(extension), Some(extension), late_offer, step.seed, cancel_after);
            }
            Action::CallOut { route, late_offer, cancel_after } => {
                let number = lines::dialled(route, index);
                self.call(phone, &number, None, late_offer, step.seed, cancel_after);
            }
            Action::Register => self.use_phone(phone, Phone::register),
            Action::Unregister => self.use_phone(phone, Phone::unregister),
            Action::Options => self.use_phone(phone, |phone, now| phone.options(now, "")),
            Action::SetAnswer(answer) => self.use_phone(phone, |phone, _| phone.set_answer(answer)),
            Action::Message { extension } => {
                self.use_phone(phone, |phone, now| phone.message(now, &number(extension), "hello"));
            }
        }
    }

    /// What is refused locally (a full transaction table, say) never becomes an attempt.
    fn use_phone<T>(&mut self, index: usize, verb: impl FnOnce(&mut Phone, Instant) -> T) {
        if let Some(phone) = &mut self.phones[index].phone {
            verb(phone, self.now);
            self.drain_phone(index);
        }
    }

    fn call(
        &mut self,
        index: usize,
        number: &str,
        callee: Option<usize>,
        late_offer: bool,
        seed: u64,
        cancel_after: Option<Duration>,
    ) {
        let now = self.now;
        let Some(phone) = &mut self.phones[index].phone else { return };
        let call = if late_offer { phone.call_late_offer(now, number) } else { phone.call(now, number) };
        if let Ok(call) = call {
            self.begin(index, call, callee, seed, cancel_after);
        }
        self.drain_phone(index);
    }

    fn call_in(&mut self, carrier: usize, extension: usize, seed: u64, cancel_after: Option<Duration>) {
        let now = self.now;
        let index = self.plan.phones.len() + carrier;
        let registers = self.plan.carriers()[carrier].registers;
        let number = lines::direct(extension);
        let host = SWITCH_IP;
        let entry = &mut self.phones[index];
        let Some((phone, (_, front))) = entry.phone.as_mut().zip(entry.carrier.as_ref()) else { return };
        let called = format!("sip:{number}@{host}");
        let contact = match (registers, front.contact(now)) {
            (true, Some(contact)) => contact.to_owned(),
            // Nobody has told it where.
            (true, None) => return,
            (false, _) => called.clone(),
        };
        if let Ok(call) = phone.call_at(now, &contact, &called) {
            self.begin(index, call, Some(extension), seed, cancel_after);
        }
        self.drain_phone(index);
    }

    fn begin(&mut self, index: usize, call: CallRef, callee: Option<usize>, seed: u64, cancel_after: Option<Duration>) {
        self.summary.calls += 1;
        let script = CallScript { seed, callee, answered: false };
        self.phones[index].calls.insert(call, script);
        if let Some(after) = cancel_after {
            let boot = self.phones[index].boot;
            self.push(self.now + after, Item::Do { phone: index, boot, call, op: Op::Cancel });
        }
    }

    fn freeze(&mut self, lasts: Duration) {
        if self.switch.is_some() && self.frozen.is_none() {
            self.frozen = Some(Vec::new());
            self.push(self.now + lasts, Item::Thaw);
        }
    }

    pub(super) fn thaw(&mut self) {
        for item in self.frozen.take().unwrap_or_default() {
            self.happen(item);
        }
        self.on_wake(SWITCH);
    }

    fn set_enabled(&mut self, extension: usize, enabled: bool) {
        self.extensions_changed = true;
        self.audit.operated_on(extension);
        if let Some(extension) = self.site.extensions.get_mut(&ExtensionId(extension as u32 + 1)) {
            extension.enabled = enabled;
        }
        self.apply_site();
    }

    pub(super) fn apply_site(&mut self) {
        self.site.revision += 1;
        if let Some(switch) = &mut self.switch {
            switch.apply_site(self.now, Arc::new(self.site.clone()));
        }
        self.drain_switch();
    }

    fn guard(&mut self, command: GuardCommand) -> bool {
        let Some(switch) = &mut self.switch else { return false };
        switch.handle_command(self.now, Command::Guard(command));
        self.drain_switch();
        // It may have died of it.
        self.switch.is_some()
    }

    fn ban(&mut self, phone: usize, lasts: Option<Duration>) {
        let address = self.phones[phone].address;
        let for_s = lasts.map(|lasts| lasts.as_secs().max(1));
        if self.guard(GuardCommand::Ban { address, for_s }) && !self.bans.is_banned(self.now, address) {
            self.audit.violate(format!("{address} was banned, and may come in"));
        }
    }

    fn unban(&mut self, phone: usize) {
        let address = self.phones[phone].address;
        if self.guard(GuardCommand::Unban { address }) && self.bans.is_banned(self.now, address) {
            self.audit.violate(format!("{address} was let in again, and is still banned"));
        }
    }
}
