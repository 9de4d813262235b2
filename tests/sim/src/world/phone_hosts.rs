//! The phones in their world: what reaches them, what they put out, what their owners do with them.

use ringfort_phone::AnswerPolicy;
use ringfort_sip::method::Method;

use crate::front::{Taken, twisted};

use super::*;

impl World<'_> {
    pub(super) fn phone_takes(&mut self, index: usize, arrival: Arrival) {
        let now = self.now;
        let entry = &mut self.phones[index];
        let Some(phone) = &mut entry.phone else { return };
        match arrival {
            Arrival::Sip { flow, payload } => match parse(&flow, payload, &self.limits) {
                Some(Ok(message)) => {
                    if entry.plan.twist.is_some() && message.is_request() && message.to_tag().is_none() {
                        let cseq = message.cseq();
                        if cseq.method == Method::Invite {
                            entry.invited.insert(message.call_id().to_owned(), cseq.number);
                        }
                    }
                    match entry.carrier.as_mut().map(|(_, front)| front) {
                        None => phone.handle_message(now, message, flow),
                        Some(front) => match front.take(now, message, flow) {
                            Taken::Passed(message, flow, answer) => {
                                answer.into_iter().for_each(|answer| phone.set_answer(answer));
                                phone.handle_message(now, message, flow);
                            }
                            Taken::Answered(transmit) => {
                                let arrivals = self.net.send(now, entry.host, transmit);
                                self.push_all(arrivals);
                            }
                            Taken::Swallowed => {}
                        },
                    }
                }
                Some(Err(error)) => self.audit.violate(format!("a message of the switch cannot be read: {error}")),
                None => {}
            },
            Arrival::ConnClosed { conn } => phone.handle_conn_closed(now, conn),
            Arrival::SendFailed { token, error } => phone.handle_send_failed(now, token, error),
            Arrival::Rtp { to, mut payload, .. } => phone.handle_rtp(now, to.port(), &mut payload),
        }
        self.drain_phone(index);
    }

    /// A carrier looks at INVITEs that it has put aside.
    pub(super) fn look_late(&mut self, index: usize) {
        let now = self.now;
        let entry = &mut self.phones[index];
        let Some((phone, (_, front))) = entry.phone.as_mut().zip(entry.carrier.as_mut()) else { return };
        for (message, flow) in front.due(now) {
            phone.set_answer(AnswerPolicy::Answer { after: Duration::ZERO });
            phone.handle_message(now, message, flow);
        }
    }

    /// A phone sends, in its own way.
    fn phone_sends(&mut self, index: usize, transmit: Transmit) {
        let now = self.now;
        let entry = &mut self.phones[index];
        let plan = entry.plan;
        if !plan.holds_pracks.is_zero()
            && transmit.payload.starts_with(b"PRACK ")
            && let Ok(prack) = Message::parse_datagram(transmit.payload.clone(), &self.limits)
        {
            let first = *entry.pracked.entry(prack.call_id().to_owned()).or_insert(now);
            let boot = entry.boot;
            return self.push(first + plan.holds_pracks, Item::Send { phone: index, boot, transmit });
        }
        let host = entry.host;
        let mut copies = vec![transmit];
        if let Some(twist) = plan.twist
            && let Ok(message) = Message::parse_datagram(copies[0].payload.clone(), &self.limits)
        {
            let cseq = message.cseq();
            if message.is_request() && cseq.method == Method::Invite {
                entry.invited.entry(message.call_id().to_owned()).or_insert(0);
            } else if entry.invited.get(message.call_id()) == Some(&cseq.number)
                && let Some(payload) = twisted(&copies[0].payload, twist.foreign)
            {
                let copy = Transmit { payload, token: None, ..copies[0].clone() };
                copies.insert(usize::from(!twist.first), copy);
            }
        }
        for transmit in copies {
            let arrivals = self.net.send(now, host, transmit);
            self.push_all(arrivals);
        }
    }

    pub(super) fn drain_phone(&mut self, index: usize) {
        let now = self.now;
        loop {
            let entry = &mut self.phones[index];
            let Some(phone) = &mut entry.phone else { return };
            let mut idle = true;
            let mut transmits = Vec::new();
            while let Some(transmit) = phone.poll_transmit() {
                idle = false;
                transmits.push(transmit);
            }
            while let Some(rtp) = phone.poll_rtp(now) {
                let from = SocketAddr::new(entry.address, rtp.port);
                for (at, host, arrival) in self.net.send_rtp(now, from, rtp.remote, rtp.payload) {
                    self.next_item += 1;
                    self.queue.insert((at.max(now), self.next_item), Item::Arrive(host, arrival));
                }
            }
            for transmit in transmits {
                self.phone_sends(index, transmit);
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
        let late = entry.carrier.as_ref().filter(|_| entry.phone.is_some()).and_then(|(_, front)| front.next());
        let next = entry.phone.as_ref().and_then(Phone::poll_timeout).into_iter().chain(late).min();
        self.set_wake(entry.host, next);
    }

    pub(super) fn on_phone_event(&mut self, index: usize, event: Event) {
        self.trace.event(self.now - self.start, self.phones[index].host, &event);
        let mut said = Vec::new();
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
                let entry = &mut self.phones[index];
                for n in 0..u64::from(entry.plan.chatty) {
                    let at = self.now + Duration::from_millis(100) * n as u32;
                    let boot = entry.boot;
                    said.push((at, Item::Do { phone: index, boot, call, op: Op::Progress }));
                }
                let peer = (0..self.plan.extensions).find(|&n| number(n) == from);
                let outside = (0..self.plan.carriers().len()).any(|carrier| lines::caller_of(carrier) == from);
                match peer {
                    Some(peer) => {
                        entry.listening.insert(call, Listening { peer, since: self.now });
                    }
                    // Carriers are told what the administrator wants them to be told.
                    None if outside || entry.carrier.is_some() => {}
                    None => self.audit.violate(format!("phone {index} is called by {from:?}, which does not exist")),
                }
            }
            Event::Ended { call, status, by, reason } => {
                let at = self.now - self.start;
                self.ends.push(End { at, phone: index, by, reason: reason.clone() });
                self.phones[index].listening.remove(&call);
                if let Some(script) = self.phones[index].calls.remove(&call) {
                    *self.summary.statuses.entry(if script.answered { 200 } else { status }).or_default() += 1;
                    let spared = !self.phones[index].plan.thief;
                    if !script.answered && by == EndedBy::Lost && spared && self.expects_answers() {
                        let number = script.callee.map(number).unwrap_or_default();
                        self.audit.violate(format!(
                            "phone {index} called {number} and got no final answer from the switch: {status} {reason}"
                        ));
                    }
                }
            }
            Event::RegisterFailed { status } => {
                if self.expects_answers() && !self.phones[index].plan.thief && !self.extensions_changed {
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
        for (at, item) in said {
            self.push(at, item);
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
        self.audit.carrier_power(self.now, host, false);
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
