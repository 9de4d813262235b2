//! From what the legs agreed on to commands for the packet path: the difference between what it was told and what holds.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use super::leg::{Leg, Slot, expected};
use super::remote::MediaKind;
use super::{LegIx, Stream};
use crate::ports::PortPool;
use crate::types::{CodecHint, Command, PtSet, StreamConfig, StreamId};

/// What the packet path was told of a stream.
#[derive(Debug)]
struct Told {
    leg: LegIx,
    config: Option<Box<StreamConfig>>,
    /// The last address in the peer's SDP that was one.
    remote: Option<SocketAddr>,
    partner: Option<StreamId>,
}

/// The packet path as it should be by the commands so far, and the commands that wait.
#[derive(Debug, Default)]
pub(super) struct Relayed {
    told: BTreeMap<StreamId, Told>,
    commands: VecDeque<Command>,
}

impl Relayed {
    pub fn poll(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    pub fn leg_of(&self, stream: StreamId) -> Option<LegIx> {
        self.told.get(&stream).map(|told| told.leg)
    }

    pub fn open(&mut self, leg: LegIx, streams: &[Stream]) {
        for &Stream { id, port } in streams {
            self.told.insert(id, Told { leg, config: None, remote: None, partner: None });
            self.commands.push_back(Command::Open { id, port });
        }
    }

    /// Closes streams and gives their ports back.
    pub fn close(&mut self, now: Instant, streams: impl IntoIterator<Item = Stream>, ports: &mut PortPool) {
        for Stream { id, .. } in streams {
            self.part(id);
            self.told.remove(&id);
            self.commands.push_back(Command::Close { id });
            ports.release(now, id);
        }
    }

    /// Takes further payload types on a stream whose new offer is out (RFC 3264 §8.3.2: the offerer is ready at once).
    pub fn expect_also(&mut self, slot: &Slot) {
        let Some(stream) = slot.stream else { return };
        let Some(Told { config: Some(config), .. }) = self.told.get_mut(&stream.id) else { return };
        let Some(local) = slot.local.as_ref().filter(|local| local.active) else { return };
        let offered: PtSet = local.formats.iter().map(|format| format.payload_type).collect();
        let all = PtSet(config.payload_types.0 | offered.0);
        if all != config.payload_types {
            config.payload_types = all;
            self.commands.push_back(Command::Configure { id: stream.id, config: config.clone(), relearn: false });
        }
    }

    /// Tells what has changed in a leg that has no unanswered offer.
    pub fn configure(&mut self, leg: &Leg, ports: &mut PortPool) {
        for slot in &leg.slots {
            let (Some(stream), Some(config)) = (slot.stream, configuration(leg, slot)) else { continue };
            let Some(told) = self.told.get_mut(&stream.id) else { continue };
            if told.config.as_deref() == Some(&config) {
                continue;
            }
            let is_first = told.config.is_none();
            let relearn = !is_first && config.remote.is_some() && config.remote != told.remote;
            told.remote = config.remote.or(told.remote);
            told.config = Some(Box::new(config.clone()));
            if relearn {
                ports.relearn(stream.id);
            }
            self.commands.push_back(Command::Configure { id: stream.id, config: Box::new(config), relearn });
        }
    }

    /// Connects the streams of the two legs that talk, line by line, and no others.
    pub fn connect(&mut self, pair: Option<(&Leg, &Leg)>) {
        let mut wanted = BTreeMap::new();
        if let Some((anchor, other)) = pair {
            for (a, b) in anchor.slots.iter().zip(&other.slots) {
                if let (Some(a), Some(b)) = (self.ready(a), self.ready(b)) {
                    wanted.insert(a, b);
                    wanted.insert(b, a);
                }
            }
        }
        let stale = |(id, told): (&StreamId, &Told)| {
            told.partner.is_some_and(|partner| wanted.get(id) != Some(&partner)).then_some(*id)
        };
        let stale: Vec<StreamId> = self.told.iter().filter_map(stale).collect();
        stale.into_iter().for_each(|id| self.part(id));
        for (&a, &b) in &wanted {
            if self.told.get(&a).is_some_and(|told| told.partner.is_none()) {
                self.set_partner(a, Some(b));
                self.set_partner(b, Some(a));
                self.commands.push_back(Command::Connect { a, b });
            }
        }
    }

    /// The stream of a slot that is agreed on and was configured.
    fn ready(&self, slot: &Slot) -> Option<StreamId> {
        let id = slot.stream?.id;
        let is_configured = self.told.get(&id).is_some_and(|told| told.config.is_some());
        (is_configured && slot.agreed().is_some()).then_some(id)
    }

    fn part(&mut self, id: StreamId) {
        let Some(partner) = self.told.get_mut(&id).and_then(|told| told.partner.take()) else { return };
        self.set_partner(partner, None);
        self.commands.push_back(Command::Disconnect { id });
    }

    fn set_partner(&mut self, id: StreamId, partner: Option<StreamId>) {
        if let Some(told) = self.told.get_mut(&id) {
            told.partner = partner;
        }
    }
}

/// How the packet path treats a slot; `None` where nothing is agreed.
fn configuration(leg: &Leg, slot: &Slot) -> Option<StreamConfig> {
    let (local, remote) = slot.agreed()?;
    let preferred = if slot.answerer { &local.formats } else { &remote.formats };
    let codec = preferred.iter().map(|format| &format.codec).find(|codec| !codec.is_helper())?;
    let rx_keys = remote.crypto.as_ref().map(|crypto| crypto.keys.clone());
    let ours = rx_keys.as_ref().and_then(|rx| local.crypto.iter().find(|line| line.suite == rx.suite));
    let tx_keys = ours.and_then(|line| line.keys_of(&slot.keys));
    let mux = local.mux && remote.mux;
    Some(StreamConfig {
        remote: remote.address,
        remote_rtcp: if mux { remote.address } else { remote.rtcp },
        rtcp_mux: mux,
        signalling: Some(leg.policy.signalling),
        payload_types: expected(local, remote),
        clock_rate: codec.clock_rate(),
        codec: match remote.kind {
            MediaKind::Audio => codec.hint(),
            MediaKind::Video => CodecHint::Video,
            MediaKind::Text => CodecHint::Text,
            MediaKind::Application | MediaKind::Image | MediaKind::Other => CodecHint::Other,
        },
        rx_keys,
        tx_keys,
        sends: local.direction.send && remote.direction.recv,
        receives: local.direction.recv && remote.direction.send,
        send_unproven: leg.policy.trusted,
        pass_extensions: leg.policy.pass_extensions,
    })
}
