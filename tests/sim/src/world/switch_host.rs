//! The switch in its world: what reaches it, what it puts out, its crash and its return.

use super::*;

impl World<'_> {
    pub(super) fn boot_switch(&mut self) {
        self.switch_boots += 1;
        let clock = Clock { instant: self.start, unix: EPOCH };
        let mut seed = [0; 32];
        rand::Rng::fill_bytes(&mut self.rng, &mut seed);
        let mut switch = Switch::new(switch_config(), Arc::new(self.site.clone()), clock, seed);
        if self.switch_boots > 1 {
            let bindings = self.audit.restore(self.now);
            switch.restore(self.now, bindings, CallId(self.audit.last_call + 1));
        }
        self.switch = Some(switch);
        self.relay = self.plan.media.then(|| MediaHost::new(self.now, SWITCH_IP, seed));
        self.drain_switch();
    }

    pub(super) fn on_relay_wake(&mut self) {
        let now = self.now;
        self.relay_wake = None;
        let Some(relay) = &mut self.relay else { return };
        if relay.next().is_some_and(|at| at <= now) {
            for (from, to, payload) in relay.timeout(now) {
                let arrivals = self.net.send_rtp(now, from, to, payload);
                self.push_all(arrivals);
            }
        }
        self.drain_relay();
    }

    /// Tells the switch what the relay has to tell.
    pub(super) fn drain_relay(&mut self) {
        let now = self.now;
        let Some(relay) = &mut self.relay else { return };
        let mut told = false;
        while let Some(event) = relay.event() {
            told = true;
            if let Some(switch) = &mut self.switch {
                switch.handle_media(now, event);
            }
        }
        if let Some(at) = relay.next()
            && self.relay_wake.is_none_or(|set| at < set)
        {
            self.relay_wake = Some(at);
            self.push(at, Item::RelayWake);
        }
        if told {
            self.drain_switch();
        }
    }

    pub(super) fn switch_takes(&mut self, arrival: Arrival) {
        let now = self.now;
        let Some(switch) = &mut self.switch else { return };
        match arrival {
            Arrival::Sip { flow, payload } => match parse(&flow, payload.clone(), &self.limits) {
                Some(Ok(message)) => {
                    if let Some(from) = self.net.host_of(flow.remote.ip()) {
                        let extension = self.phones[from.0 - 1].plan.extension;
                        self.audit.taken(from, &number(extension), &message);
                        self.trace.message(now - self.start, from, SWITCH, &message);
                    }
                    switch.handle_message(now, message, flow);
                }
                Some(Err(error)) => {
                    self.audit.violate(format!("a phone's message could not be read: {error}"));
                }
                None => {}
            },
            Arrival::ConnClosed { conn } => switch.handle_conn_closed(now, conn),
            Arrival::SendFailed { token, error } => switch.handle_send_failed(now, token, error),
            Arrival::Rtp { from, to, payload } => {
                let onward = self.relay.as_mut().and_then(|relay| relay.packet(now, from, to, &payload));
                if let Some((from, to, payload)) = onward {
                    let arrivals = self.net.send_rtp(now, from, to, payload);
                    self.push_all(arrivals);
                }
                return self.drain_relay();
            }
        }
        self.drain_switch();
    }

    pub(super) fn drain_switch(&mut self) {
        let now = self.now;
        let Some(switch) = &mut self.switch else { return };
        let mut outputs = Vec::new();
        while let Some(output) = switch.poll_output() {
            outputs.push(output);
        }
        let next = switch.poll_timeout();
        for output in outputs {
            match output {
                Output::Transmit(transmit) => {
                    let remote = transmit.target.remote();
                    if let Some(to) = self.net.host_of(remote.ip())
                        && let Ok(message) = Message::parse_datagram(transmit.payload.clone(), &self.limits)
                    {
                        self.audit.given(to, &message);
                        self.trace.message(now - self.start, SWITCH, to, &message);
                    }
                    let arrivals = self.net.send(now, SWITCH, transmit);
                    self.push_all(arrivals);
                }
                Output::Journal(record) => {
                    self.trace.record(now - self.start, &record);
                    self.audit.journal(now, record);
                }
                Output::Media(command) if self.relay.is_some() => {
                    if let Some(relay) = &mut self.relay {
                        relay.command(now, command);
                    }
                }
                Output::Media(media::Command::Close { id }) => {
                    self.push(now + Duration::from_millis(20), Item::StreamClosed(id));
                }
                Output::Media(_) => {}
                // No host of these systems has a name.
                Output::Query(query) => {
                    self.trace.note(now - self.start, SWITCH, &format!("asks the DNS for {}", query.name))
                }
                // Nobody in these systems signs.
                Output::Fetch(query) => {
                    self.trace.note(now - self.start, SWITCH, &format!("wants the certificate {}", query.url));
                }
                Output::CloseConn(conn) => {
                    let arrivals = self.net.close(now, conn);
                    self.push_all(arrivals);
                }
                Output::Notice(notice) => self.trace.note(now - self.start, SWITCH, &notice.text),
                Output::Offence(report) => {
                    self.trace.note(now - self.start, SWITCH, &format!("offence {} of {}", report.rule, report.source));
                }
                // Nobody in these systems leaves a message.
                Output::Mail(_) => {}
                // All hosts of these systems are in a private range: nobody of them is ever banned.
                Output::Penalise(_) | Output::Bans(_) | Output::Ban(_) => {}
            }
        }
        self.audit.pause();
        self.set_wake(SWITCH, next);
        self.drain_relay();
    }

    pub(super) fn crash(&mut self, down: Duration) {
        if self.switch.take().is_none() {
            return;
        }
        self.wake[0] = None;
        self.relay = None;
        self.queue.retain(|_, item| !matches!(item, Item::Wake(SWITCH) | Item::StreamClosed(_)));
        self.trace.note(self.now - self.start, SWITCH, "dies");
        let arrivals = self.net.power(self.now, SWITCH, false);
        self.push_all(arrivals);
        self.audit.crashed();
        self.audit.restore(self.now - JOURNAL_LOSS);
        self.push(self.now + down, Item::PowerOn(SWITCH));
    }

    pub(super) fn set_enabled(&mut self, extension: usize, enabled: bool) {
        self.site.revision += 1;
        if let Some(extension) = self.site.extensions.get_mut(&ExtensionId(extension as u32 + 1)) {
            extension.enabled = enabled;
        }
        if let Some(switch) = &mut self.switch {
            switch.apply_site(self.now, Arc::new(self.site.clone()));
        }
        self.drain_switch();
    }
}
