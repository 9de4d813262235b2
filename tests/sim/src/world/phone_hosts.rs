//! The phones in their world: what reaches them, what they put out, what their owners do with them.

use super::*;

impl World<'_> {
    pub(super) fn phone_takes(&mut self, index: usize, arrival: Arrival) {
        let now = self.now;
        let Some(phone) = &mut self.phones[index].phone else { return };
        match arrival {
            Arrival::Sip { flow, payload } => match parse(&flow, payload, &self.limits) {
                Some(Ok(message)) => phone.handle_message(now, message, flow),
                Some(Err(error)) => self.audit.violate(format!("a message of the switch cannot be read: {error}")),
                None => {}
            },
            Arrival::ConnClosed { conn } => phone.handle_conn_closed(now, conn),
            Arrival::SendFailed { token, error } => phone.handle_send_failed(now, token, error),
            Arrival::Rtp { to, mut payload, .. } => phone.handle_rtp(now, to.port(), &mut payload),
        }
        self.drain_phone(index);
    }

    pub(super) fn drain_phone(&mut self, index: usize) {
        let now = self.now;
        loop {
            let entry = &mut self.phones[index];
            let Some(phone) = &mut entry.phone else { return };
            let mut idle = true;
            while let Some(transmit) = phone.poll_transmit() {
                idle = false;
                let arrivals = self.net.send(now, entry.host, transmit);
                for (at, host, arrival) in arrivals {
                    self.next_item += 1;
                    self.queue.insert((at.max(now), self.next_item), Item::Arrive(host, arrival));
                }
            }
            while let Some(rtp) = phone.poll_rtp(now) {
                let from = SocketAddr::new(phone_address(index), rtp.port);
                for (at, host, arrival) in self.net.send_rtp(now, from, rtp.remote, rtp.payload) {
                    self.next_item += 1;
                    self.queue.insert((at.max(now), self.next_item), Item::Arrive(host, arrival));
                }
            }
            while let Some(event) = self.phones[index].phone.as_mut().and_then(Phone::poll_event) {
                idle = false;
                self.on_phone_event(index, event);
            }
            if idle {
                break;
            }
        }
        let entry = &self.phones[index];
        let next = entry.phone.as_ref().and_then(Phone::poll_timeout);
        self.set_wake(entry.host, next);
    }

    pub(super) fn on_phone_event(&mut self, index: usize, event: Event) {
        self.trace.event(self.now - self.start, self.phones[index].host, &event);
        match event {
            Event::Answered { call } => {
                if let Some(peer) = self.phones[index].calls.get(&call).and_then(|script| script.callee) {
                    self.phones[index].listening.insert(call, Listening { peer, since: self.now });
                } else if let Some(listening) = self.phones[index].listening.get_mut(&call) {
                    listening.since = self.now;
                }
                let boot = self.phones[index].boot;
                let entry = &mut self.phones[index];
                let outgoing = entry.calls.get_mut(&call);
                let seed = match outgoing {
                    Some(script) => {
                        script.answered = true;
                        self.summary.answered += 1;
                        script.seed
                    }
                    None => entry.plan.seed ^ call.0.wrapping_mul(0x9E37_79B9_7F4A_7C15),
                };
                let ops = match self.plan.talk {
                    Some(talk) => vec![(talk, Op::HangUp)],
                    None => script::talk(seed),
                };
                for (after, op) in ops {
                    self.push(self.now + after, Item::Do { phone: index, boot, call, op });
                }
            }
            Event::Incoming { call, from, .. } => {
                let peer = (0..self.plan.extensions).find(|&n| number(n) == from);
                match peer {
                    Some(peer) => {
                        self.phones[index].listening.insert(call, Listening { peer, since: self.now });
                    }
                    None => self.audit.violate(format!("phone {index} is called by {from:?}, which does not exist")),
                }
            }
            Event::Ended { call, status, by, reason } => {
                let at = self.now - self.start;
                self.ends.push(End { at, phone: index, by, reason: reason.clone() });
                self.phones[index].listening.remove(&call);
                if let Some(script) = self.phones[index].calls.remove(&call) {
                    *self.summary.statuses.entry(if script.answered { 200 } else { status }).or_default() += 1;
                    if !script.answered && by == EndedBy::Lost && self.expects_answers() {
                        let number = script.callee.map(number).unwrap_or_default();
                        self.audit.violate(format!(
                            "phone {index} called {number} and got no final answer from the switch: {status} {reason}"
                        ));
                    }
                }
            }
            Event::RegisterFailed { status } => {
                let enabled = self.site.extensions.values().nth(self.phones[index].plan.extension);
                if enabled.is_some_and(|extension| extension.enabled)
                    && self.expects_answers()
                    && self.site.revision == 1
                {
                    self.audit.violate(format!("phone {index} could not register: {status}"));
                }
            }
            Event::Registered { .. }
            | Event::Unregistered
            | Event::Ringing { .. }
            | Event::Media { .. }
            | Event::ChangeFailed { .. }
            | Event::Message { .. }
            | Event::Info { .. }
            | Event::Done { .. } => {}
        }
    }

    pub(super) fn reboot(&mut self, index: usize, down: Duration) {
        let entry = &mut self.phones[index];
        if entry.phone.take().is_none() {
            return;
        }
        entry.boot += 1;
        entry.calls.clear();
        entry.listening.clear();
        let host = entry.host;
        self.wake[host.0] = None;
        self.queue.retain(|_, item| !matches!(item, Item::Wake(of) if *of == host));
        self.trace.note(self.now - self.start, host, "loses power");
        let arrivals = self.net.power(self.now, host, false);
        self.push_all(arrivals);
        self.push(self.now + down, Item::PowerOn(host));
    }

    /// A call is about to be hung up: did this end hear its peer, and nobody else?
    pub(super) fn listen(&mut self, index: usize, call: CallRef) {
        let entry = &self.phones[index];
        let Some(listening) = entry.listening.get(&call) else { return };
        let Some(report) = entry.phone.as_ref().and_then(|phone| phone.media_report(call)) else { return };
        if self.now < listening.since + Duration::from_secs(2) {
            return;
        }
        self.summary.listened += 1;
        match report.heard.hertz {
            None => {}
            Some(hertz) if hertz == tone(listening.peer) => self.summary.heard += 1,
            Some(hertz) => self.audit.violate(format!(
                "phone {index} heard {hertz} Hz in {call:?}, but its peer plays {} Hz: {report:?}",
                tone(listening.peer)
            )),
        }
    }

    pub(super) fn act(&mut self, index: usize, call: CallRef, op: Op) {
        let now = self.now;
        if matches!(op, Op::HangUp | Op::BothHangUp) {
            self.listen(index, call);
        }
        let callee = self.phones[index].calls.get(&call).and_then(|script| script.callee);
        if let Some(phone) = &mut self.phones[index].phone {
            self.trace.op(now - self.start, Host(index + 1), call, op);
            // A verb that no longer fits the call (it ended meanwhile) is refused, and that is all.
            let _ = script::act(phone, now, call, op);
        }
        self.drain_phone(index);
        // Some things happen at both ends in the same moment.
        if let (true, Some(extension)) = (op.is_mutual(), callee) {
            for other in 0..self.phones.len() {
                if other == index || self.phones[other].plan.extension != extension {
                    continue;
                }
                if let Some(phone) = &mut self.phones[other].phone
                    && let Some(theirs) = phone.talking().last()
                {
                    let _ = script::act(phone, now, theirs, op);
                    self.drain_phone(other);
                }
            }
        }
    }
}
