//! Where the calls of each trunk come from (CALL-4): the ranges that the administrator lists, and the addresses at which
//! its server and its proxy are located (RFC 3263).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use ringfort_guard::Cidr;
use ringfort_sip::locate::LookupId;

use crate::model::{Trunk, TrunkId};

/// One host of a trunk: 0 is its server, 1 its outbound proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HopId {
    pub trunk: TrunkId,
    pub index: u8,
}

/// A host and where it is.
#[derive(Debug)]
struct Hop {
    uri: String,
    addresses: Vec<SocketAddr>,
    lookup: Option<LookupId>,
    due: Option<Instant>,
}

/// What is known of one trunk.
#[derive(Debug)]
struct Source {
    profile: Option<String>,
    ranges: Vec<Cidr>,
    hops: Vec<Hop>,
}

/// All trunks that are enabled.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    trunks: BTreeMap<TrunkId, Source>,
}

/// A host that is not asked for any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub id: HopId,
    pub lookup: Option<LookupId>,
    pub due: Option<Instant>,
}

/// What a new revision changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub gone: Vec<Gone>,
    /// To be located.
    pub new: Vec<HopId>,
    /// Ranges that cannot be read, by the trunk's name.
    pub unreadable: Vec<(String, String)>,
}

impl Sources {
    /// Takes over what `trunks` says. Hosts that stayed as they were keep their addresses.
    pub fn follow(&mut self, trunks: &BTreeMap<TrunkId, Trunk>) -> Changes {
        let mut changes = Changes::default();
        let mut before = std::mem::take(&mut self.trunks);
        for trunk in trunks.values().filter(|t| t.enabled) {
            let mut old = before.remove(&trunk.id).map(|s| s.hops).unwrap_or_default().into_iter().zip(0..);
            let mut hops = Vec::new();
            for (uri, index) in [Some(&trunk.server), trunk.outbound_proxy.as_ref()].into_iter().flatten().zip(0..) {
                let id = HopId { trunk: trunk.id, index };
                match old.next() {
                    Some((hop, _)) if hop.uri == *uri => hops.push(hop),
                    other => {
                        changes.gone.extend(other.map(|(hop, index)| hop.gone(trunk.id, index)));
                        hops.push(Hop { uri: uri.clone(), addresses: Vec::new(), lookup: None, due: None });
                        changes.new.push(id);
                    }
                }
            }
            changes.gone.extend(old.map(|(hop, index)| hop.gone(trunk.id, index)));
            let mut ranges = Vec::new();
            for text in &trunk.sources {
                match text.parse() {
                    Ok(range) => ranges.push(range),
                    Err(error) => changes.unreadable.push((trunk.name.clone(), format!("sources: {error}"))),
                }
            }
            self.trunks.insert(trunk.id, Source { profile: trunk.profile.clone(), ranges, hops });
        }
        for (id, source) in before {
            changes.gone.extend(source.hops.into_iter().zip(0..).map(|(hop, index)| hop.gone(id, index)));
        }
        changes
    }

    /// The trunks whose calls come from an address to a profile, in the order of their ids.
    pub fn at(&self, profile: &str, ip: IpAddr) -> impl Iterator<Item = TrunkId> {
        let here = move |source: &Source| source.profile.as_deref().is_none_or(|name| name == profile);
        self.trunks.iter().filter(move |(_, s)| here(s) && s.is_at(ip)).map(|(id, _)| *id)
    }

    /// Whether an address is one of any trunk's.
    pub fn knows(&self, ip: IpAddr) -> bool {
        self.trunks.values().any(|source| source.is_at(ip))
    }

    /// Whether an address is one of any trunk's that does not claim half the world as its own.
    pub fn knows_well(&self, ip: IpAddr) -> bool {
        let narrow = |range: &Cidr| !range.is_wide() && range.contains(ip);
        self.trunks.values().any(|source| source.ranges.iter().any(narrow) || source.is_located_at(ip))
    }

    /// All addresses of all trunks that [`Self::knows_well`], in order: a trunk that takes calls from half the world must not
    /// keep that half from being banned.
    pub fn ranges(&self) -> Vec<Cidr> {
        let hosts = |source: &Source| -> Vec<Cidr> {
            source
                .hops
                .iter()
                .flat_map(|hop| &hop.addresses)
                .map(|address| address.ip().to_canonical().into())
                .collect()
        };
        let narrow =
            |source: &Source| -> Vec<Cidr> { source.ranges.iter().copied().filter(|r| !r.is_wide()).collect() };
        let mut all: Vec<Cidr> =
            self.trunks.values().flat_map(|source| narrow(source).into_iter().chain(hosts(source))).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether an address is one of the trunk's.
    pub fn is_at(&self, trunk: TrunkId, ip: IpAddr) -> bool {
        self.trunks.get(&trunk).is_some_and(|s| s.is_at(ip))
    }

    /// Whether the trunk was located at this address with this port.
    pub fn is_exactly_at(&self, trunk: TrunkId, remote: SocketAddr) -> bool {
        let same = |a: &SocketAddr| a.ip().to_canonical() == remote.ip().to_canonical() && a.port() == remote.port();
        self.trunks.get(&trunk).is_some_and(|s| s.hops.iter().flat_map(|h| &h.addresses).any(same))
    }

    pub fn located(&mut self, id: HopId, addresses: Vec<SocketAddr>) {
        if let Some(hop) = self.hop(id) {
            (hop.addresses, hop.lookup) = (addresses, None);
        }
    }

    pub fn located_not(&mut self, id: HopId) {
        if let Some(hop) = self.hop(id) {
            hop.lookup = None;
        }
    }

    /// The host whose time has come.
    pub fn due(&mut self, id: HopId) -> Option<String> {
        let hop = self.hop(id).filter(|hop| hop.lookup.is_none())?;
        hop.due = None;
        Some(hop.uri.clone())
    }

    pub fn set_due(&mut self, id: HopId, at: Option<Instant>) {
        if let Some(hop) = self.hop(id) {
            hop.due = at;
        }
    }

    pub fn asked(&mut self, id: HopId, lookup: LookupId) {
        if let Some(hop) = self.hop(id) {
            hop.lookup = Some(lookup);
        }
    }

    fn hop(&mut self, id: HopId) -> Option<&mut Hop> {
        self.trunks.get_mut(&id.trunk)?.hops.get_mut(usize::from(id.index))
    }
}

impl Source {
    fn is_at(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.ranges.iter().any(|range| range.contains(ip)) || self.is_located_at(ip)
    }

    fn is_located_at(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.hops.iter().flat_map(|h| &h.addresses).any(|a| a.ip().to_canonical() == ip)
    }
}

impl Hop {
    fn gone(self, trunk: TrunkId, index: u8) -> Gone {
        Gone { id: HopId { trunk, index }, lookup: self.lookup, due: self.due }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TenantId;

    fn trunk(id: u32, server: &str) -> Trunk {
        Trunk::new(TrunkId(id), TenantId(1), format!("t{id}"), server)
    }

    fn site(trunks: impl IntoIterator<Item = Trunk>) -> BTreeMap<TrunkId, Trunk> {
        trunks.into_iter().map(|t| (t.id, t)).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("a test writes good addresses")
    }

    fn hop(trunk: u32, index: u8) -> HopId {
        HopId { trunk: TrunkId(trunk), index }
    }

    #[test]
    fn a_trunk_is_known_by_its_ranges_and_by_where_its_hosts_are() {
        let mut sources = Sources::default();
        let one = Trunk { sources: vec!["203.0.113.0/28".into(), "nonsense".into()], ..trunk(1, "sip:a.example") };
        let changes = sources.follow(&site([one]));
        assert_eq!(changes.new, [hop(1, 0)]);
        assert_eq!(changes.unreadable.len(), 1, "{:?}", changes.unreadable);
        sources.located(hop(1, 0), vec!["198.51.100.7:5060".parse().unwrap()]);
        let at = |ip_text: &str| sources.at("world", ip(ip_text)).collect::<Vec<_>>();
        assert_eq!(at("203.0.113.15"), [TrunkId(1)]);
        assert_eq!(at("203.0.113.16"), []);
        assert_eq!(at("198.51.100.7"), [TrunkId(1)]);
        assert_eq!(at("::ffff:198.51.100.7"), [TrunkId(1)], "an IPv6 socket shows IPv4 peers so");
        assert!(sources.is_exactly_at(TrunkId(1), "198.51.100.7:5060".parse().unwrap()));
        assert!(!sources.is_exactly_at(TrunkId(1), "198.51.100.7:5061".parse().unwrap()));
    }

    #[test]
    fn a_trunk_of_one_profile_is_not_known_on_another_and_a_disabled_one_nowhere() {
        let mut sources = Sources::default();
        let range = vec!["203.0.113.1".to_owned()];
        let bound = Trunk { profile: Some("carriers".into()), sources: range.clone(), ..trunk(1, "sip:a.example") };
        let off = Trunk { enabled: false, sources: range, ..trunk(2, "sip:b.example") };
        sources.follow(&site([bound, off]));
        assert_eq!(sources.at("world", ip("203.0.113.1")).count(), 0);
        assert_eq!(sources.at("carriers", ip("203.0.113.1")).collect::<Vec<_>>(), [TrunkId(1)]);
    }

    #[test]
    fn a_revision_locates_what_changed_and_keeps_the_rest() {
        let mut sources = Sources::default();
        let proxied = Trunk { outbound_proxy: Some("sip:proxy.example".into()), ..trunk(1, "sip:a.example") };
        assert_eq!(sources.follow(&site([proxied.clone(), trunk(2, "sip:b.example")])).new.len(), 3);
        for id in [hop(1, 0), hop(1, 1), hop(2, 0)] {
            sources.located(id, vec![SocketAddr::new(ip("198.51.100.7"), 5060)]);
        }
        let moved = Trunk { outbound_proxy: None, ..proxied };
        let changes = sources.follow(&site([moved, trunk(2, "sip:c.example")]));
        assert_eq!(changes.new, [hop(2, 0)]);
        assert_eq!(changes.gone.iter().map(|g| g.id).collect::<Vec<_>>(), [hop(1, 1), hop(2, 0)]);
        assert_eq!(sources.at("world", ip("198.51.100.7")).collect::<Vec<_>>(), [TrunkId(1)]);
        let gone = sources.follow(&BTreeMap::new()).gone;
        assert_eq!(gone.len(), 2);
        assert_eq!(sources.at("world", ip("198.51.100.7")).count(), 0);
    }
}
