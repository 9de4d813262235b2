//! The switch in its world: what reaches it, and what it puts out.

use super::*;

impl World<'_> {
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
            // A packet of a banned source is dropped unread.
            Arrival::Sip { flow, .. } if self.bans.is_banned(now, flow.remote.ip()) => return,
            Arrival::Sip { flow, payload } => match parse(&flow, payload.clone(), &self.limits) {
                Some(Ok(message)) => {
                    if let Some(from) = self.net.host_of(flow.remote.ip()) {
                        let entry = &self.phones[from.0 - 1];
                        let carrier = entry.carrier.as_ref().map(|(index, _)| *index);
                        let number = carrier.map_or_else(|| number(entry.plan.extension), lines::caller_of);
                        self.audit.taken(now, &Party { host: from, number, carrier }, &message);
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
            if matches!(output, Output::Transmit(_) | Output::Journal(_)) && self.dies_here() {
                return;
            }
            match output {
                Output::Transmit(transmit) => {
                    let remote = transmit.target.remote();
                    if let Some(to) = self.net.host_of(remote.ip())
                        && let Ok(message) = Message::parse_datagram(transmit.payload.clone(), &self.limits)
                    {
                        self.audit.given(now, to, &message);
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
                Output::Bans(bans) => {
                    self.bans = bans;
                    self.audit.bans_in_force();
                }
                Output::Penalise(_) | Output::Ban(_) => {}
                // Nobody in these systems leaves a message.
                Output::Mail(_) => {}
            }
        }
        self.audit.pause();
        self.set_wake(SWITCH, next);
        self.drain_relay();
    }
}
