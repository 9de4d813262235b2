//! Where the other sides of running calls send from, as far as they have shown it. The packet path asks for it: what belongs
//! to a call is read from there where all else of a stranger who is over his rate is dropped unread.

use std::net::SocketAddr;

use ringfort_sip::endpoint::Peek;
use ringfort_sip::flow::Target;
use ringfort_sip::message::Message;
use rustc_hash::FxHashMap;

use crate::Switch;
use crate::model::CallId;

/// Legs of running calls by address.
#[derive(Debug, Default)]
pub(crate) struct Talkers(FxHashMap<SocketAddr, u32>);

impl Talkers {
    fn add(&mut self, address: SocketAddr) {
        *self.0.entry(address).or_default() += 1;
    }

    pub fn remove(&mut self, address: SocketAddr) {
        if let Some(legs) = self.0.get_mut(&address) {
            *legs -= 1;
            if *legs == 0 {
                self.0.remove(&address);
            }
        }
    }
}

impl Switch {
    /// Whether a side of a running call sends from there: it has acknowledged with our tag, answered our INVITE, or sent
    /// something within the call.
    pub fn is_talking(&self, remote: SocketAddr) -> bool {
        self.talkers.0.contains_key(&remote)
    }

    /// Whether a message is a running call's own: a request within its dialog (Call-ID and both tags), or an answer to a
    /// request of ours. Changes nothing.
    pub fn is_within_call(&self, message: &Message) -> bool {
        if message.is_request() {
            self.endpoint.knows_dialog(message)
        } else {
            self.endpoint.peek(message) == Peek::Known
        }
    }

    /// A leg of a call has shown that it sends from there.
    pub(super) fn talks_from(&mut self, id: CallId, leg: usize, address: SocketAddr) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        match call.legs[leg].talks_from.replace(address) {
            Some(same) if same == address => return,
            Some(other) => self.talkers.remove(other),
            None => {}
        }
        self.talkers.add(address);
    }

    /// A leg has acknowledged or answered with the tag that only it was told: it is where the call began.
    pub(super) fn talks_from_its_beginning(&mut self, id: CallId, leg: usize) {
        let known = self.calls.get(&id).map(|call| &call.legs[leg]).filter(|leg| leg.talks_from.is_none());
        if let Some(address) = known.and_then(|leg| leg.began_at.as_ref()).map(Target::remote) {
            self.talks_from(id, leg, address);
        }
    }
}
