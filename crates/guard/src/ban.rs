//! The ban set: an immutable snapshot that the packet path reads before parsing (GUARD-6, GUARD-7). Whoever keeps the
//! list makes a new snapshot for every change and publishes it; nothing in here is shared or locked.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::keyed::Keyed;
use crate::source::{Cidr, SourceKey};

/// How long a ban holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    Time(Instant),
    /// Until an operator takes it back.
    Revoked,
}

/// What is new about one source, for whoever enforces bans beside the snapshot (a packet filter, a peer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BanChange {
    /// From now on, or for another time than before.
    Banned { source: SourceKey, until: Until },
    /// It may come again.
    Lifted { source: SourceKey },
}

/// Changes that a snapshot holds beside the table it shares with the one before.
const RECENT: usize = 1024;

type Table<V> = HashMap<SourceKey, V, Keyed>;

/// Banned sources with the end of their bans. Looking one up is a hash or two and a comparison.
#[derive(Clone)]
pub struct BanSet {
    bans: Arc<Table<Until>>,
    /// What is otherwise than in `bans`; `None`: not banned any more.
    recent: Table<Option<Until>>,
    /// IPv6 ranges of it alone: a neighbour in the same /64 may be banned.
    never: Arc<[Cidr]>,
}

impl BanSet {
    /// Nobody is banned.
    pub fn empty() -> Self {
        Self::new([0; 16], &[], [])
    }

    /// A snapshot of `bans`. A source that stands twice is banned for the longer time; one inside a range of `never`
    /// is left out, and stays free where its whole /64 is banned for a neighbour. `key`: random and secret, so that banned
    /// sources cannot be chosen to collide.
    pub fn new(key: [u8; 16], never: &[Cidr], bans: impl IntoIterator<Item = (IpAddr, Until)>) -> Self {
        let key = Keyed::new(key);
        let mut table = HashMap::with_hasher(key);
        for (address, until) in bans {
            if never.iter().any(|range| range.contains(address)) {
                continue;
            }
            let entry = table.entry(SourceKey::from(address)).or_insert(until);
            *entry = (*entry).max(until);
        }
        Self { bans: Arc::new(table), recent: HashMap::with_hasher(key), never: six(never) }
    }

    /// The snapshot that follows this one. It shares what has not changed, so that a change costs the same whether ten
    /// sources are banned or a million; now and then all of it is copied.
    pub fn following(&self, changes: impl IntoIterator<Item = BanChange>) -> Self {
        let mut next = self.clone();
        for change in changes {
            match change {
                BanChange::Banned { source, until } => next.recent.insert(source, Some(until)),
                BanChange::Lifted { source } => next.recent.insert(source, None),
            };
        }
        if next.recent.len() > RECENT {
            let mut table = Table::clone(&next.bans);
            for (source, until) in next.recent.drain() {
                match until {
                    Some(until) => table.insert(source, until),
                    None => table.remove(&source),
                };
            }
            next.bans = Arc::new(table);
        }
        next
    }

    /// The same bans with other exceptions.
    pub fn sparing(&self, never: &[Cidr]) -> Self {
        Self { never: six(never), ..self.clone() }
    }

    /// Whether packets of that address are to be dropped. A ban that has run out does not count, published or not.
    pub fn is_banned(&self, now: Instant, address: IpAddr) -> bool {
        if self.bans.is_empty() && self.recent.is_empty() {
            return false;
        }
        let source = SourceKey::from(address);
        let until = match self.recent.get(&source) {
            Some(changed) => *changed,
            None => self.bans.get(&source).copied(),
        };
        let banned = match until {
            Some(Until::Time(end)) => now < end,
            Some(Until::Revoked) => true,
            None => false,
        };
        banned && !self.never.iter().any(|range| range.contains(address))
    }

    /// IPv6 ranges that stay free although a source around them may be banned.
    pub fn spared(&self) -> &[Cidr] {
        &self.never
    }

    /// Number of sources in the snapshot, those included whose time has run out since it was made.
    pub fn len(&self) -> usize {
        let new = |(source, until): &(&SourceKey, &Option<Until>)| until.is_some() && !self.bans.contains_key(source);
        let gone = |(source, until): &(&SourceKey, &Option<Until>)| until.is_none() && self.bans.contains_key(source);
        self.bans.len() + self.recent.iter().filter(new).count() - self.recent.iter().filter(gone).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bans in the order of their sources.
    pub fn list(&self) -> Vec<(SourceKey, Until)> {
        let old = self.bans.iter().filter(|(source, _)| !self.recent.contains_key(source));
        let old = old.map(|(source, until)| (*source, *until));
        let new = self.recent.iter().filter_map(|(source, until)| Some((*source, (*until)?)));
        let mut list: Vec<_> = old.chain(new).collect();
        list.sort_unstable();
        list
    }
}

/// IPv4 sources are single addresses: none of them has neighbours.
fn six(never: &[Cidr]) -> Arc<[Cidr]> {
    never.iter().filter(|range| !range.is_ipv4()).copied().collect()
}

impl Default for BanSet {
    fn default() -> Self {
        Self::empty()
    }
}

impl fmt::Debug for BanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BanSet").field("len", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{loopback_ranges, private_ranges};
    use std::time::Duration;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_ban_holds_for_all_of_a_64_and_ends_by_itself() {
        let t0 = start();
        let end = t0 + Duration::from_secs(86_400);
        let set =
            BanSet::new([1; 16], &[], [(ip("2001:db8::1"), Until::Time(end)), (ip("203.0.113.7"), Until::Revoked)]);
        assert!(set.is_banned(t0, ip("2001:db8::ffff")));
        assert!(!set.is_banned(t0, ip("2001:db8:0:1::1")));
        assert!(!set.is_banned(end, ip("2001:db8::1")));
        assert!(set.is_banned(end, ip("203.0.113.7")));
        assert!(set.is_banned(end, ip("::ffff:203.0.113.7")));
        assert!(!set.is_banned(end, ip("203.0.113.8")));
    }

    #[test]
    fn the_longer_of_two_bans_counts() {
        let t0 = start();
        let (short, long) = (t0 + Duration::from_secs(1), t0 + Duration::from_secs(9));
        let address = ip("203.0.113.7");
        let set = BanSet::new([1; 16], &[], [(address, Until::Time(long)), (address, Until::Time(short))]);
        assert_eq!(set.list(), [(SourceKey::from(address), Until::Time(long))]);
    }

    #[test]
    fn loopback_and_private_sources_are_never_banned_where_the_list_says_so() {
        let never: Vec<Cidr> = loopback_ranges().into_iter().chain(private_ranges()).collect();
        let set = BanSet::new([1; 16], &never, [(ip("127.0.0.1"), Until::Revoked), (ip("10.9.8.7"), Until::Revoked)]);
        assert!(set.is_empty());
    }

    #[test]
    fn a_host_that_is_never_banned_stays_free_when_its_64_is_banned_for_a_neighbour() {
        let never: Vec<Cidr> = vec!["2001:db8::5/128".parse().unwrap()];
        let set = BanSet::new([1; 16], &never, [(ip("2001:db8::bad"), Until::Revoked)]);
        assert!(set.is_banned(start(), ip("2001:db8::bad")) && set.is_banned(start(), ip("2001:db8::6")));
        assert!(!set.is_banned(start(), ip("2001:db8::5")));
    }

    #[test]
    fn a_snapshot_that_follows_has_the_changes_and_leaves_the_one_before_as_it_was() {
        let t0 = start();
        let address = |n: u32| IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0b00_0000 + n));
        let banned = |n: u32| BanChange::Banned { source: address(n).into(), until: Until::Revoked };
        let lifted = |n: u32| BanChange::Lifted { source: address(n).into() };
        let first = BanSet::new([1; 16], &[], [(address(0), Until::Revoked)]);
        let second = first.following([banned(1), banned(2), lifted(0), lifted(9)]);
        assert!(first.is_banned(t0, address(0)) && !first.is_banned(t0, address(1)));
        assert!(!second.is_banned(t0, address(0)) && second.is_banned(t0, address(2)));
        assert_eq!((first.len(), second.len(), second.list().len()), (1, 2, 2));
        let mut set = second;
        for n in 3..5000 {
            set = set.following([banned(n), lifted(n - 1)]);
            assert!(set.recent.len() <= RECENT && set.is_banned(t0, address(n)) && !set.is_banned(t0, address(n - 1)));
        }
        assert_eq!(
            set.list().into_iter().map(|(source, _)| source).collect::<Vec<_>>(),
            [SourceKey::from(address(1)), address(4999).into()]
        );
    }

    #[test]
    fn a_hundred_thousand_bans_are_found_again() {
        let t0 = start();
        let address = |n: u32| IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0b00_0000 + n * 7));
        let set = BanSet::new([4; 16], &[], (0..100_000).map(|n| (address(n), Until::Revoked)));
        assert!((0..100_000).all(|n| set.is_banned(t0, address(n))));
        assert_eq!(set.len(), 100_000);
        assert!(!set.is_banned(t0, ip("11.0.0.1")));
    }
}
