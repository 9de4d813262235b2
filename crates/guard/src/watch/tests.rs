use std::net::Ipv4Addr;

use super::*;

const DAY: u64 = 86_400;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn watch() -> Watch {
    Watch::new(WatchConfig::default())
}

/// So many offences of one kind at `now`; what the last of them led to.
fn offend(watch: &mut Watch, now: u64, address: &str, times: u32) -> Counted {
    let mut last = Counted::AlreadyBanned;
    for _ in 0..times {
        last = watch.offence(now, ip(address), Offence::Authentication, false);
    }
    last
}

fn changes(watch: &mut Watch) -> Vec<Change> {
    std::iter::from_fn(|| watch.poll_change()).collect()
}

#[test]
fn the_fifth_offence_within_180_seconds_bans_for_86_400() {
    let mut w = watch();
    assert_eq!(offend(&mut w, 1000, "203.0.113.7", 4), Counted::Offences(4));
    assert_eq!(changes(&mut w), []);
    let counted = w.offence(1179, ip("203.0.113.7"), Offence::Scanner, false);
    let ban = Ban { since: 1179, end: BanEnd::At(1179 + DAY), times: 1, cause: BanCause::Offence(Offence::Scanner) };
    assert_eq!(counted, Counted::Banned(ban));
    assert_eq!(changes(&mut w), [Change::Banned(ip("203.0.113.7").into(), ban)]);
    assert_eq!(offend(&mut w, 1180, "203.0.113.7", 1), Counted::AlreadyBanned);
    assert_eq!(w.bans(1179 + DAY - 1).count(), 1);
    assert_eq!(w.bans(1179 + DAY).count(), 0);
    assert_eq!(w.totals(), Totals { offences: 6, bans: 1 });
}

#[test]
fn what_is_older_than_the_window_does_not_count() {
    let mut w = watch();
    offend(&mut w, 1000, "203.0.113.7", 4);
    assert_eq!(offend(&mut w, 1180, "203.0.113.7", 1), Counted::Offences(1));
    // One a minute for ever is no attack of this kind.
    for n in 0..100 {
        let counted = offend(&mut w, 2000 + n * 60, "203.0.113.8", 1);
        assert!(matches!(counted, Counted::Offences(1..=3)), "{counted:?}");
    }
}

#[test]
fn each_further_ban_is_longer_until_the_longest_and_quiet_months_are_forgiven() {
    let mut w = watch();
    let mut now = 1_000_000;
    let mut lengths = Vec::new();
    for _ in 0..7 {
        let Counted::Banned(Ban { end: BanEnd::At(end), .. }) = offend(&mut w, now, "203.0.113.7", 5) else {
            panic!("banned each time")
        };
        lengths.push((end - now) / DAY);
        now = end + 1;
        w.sweep(now);
    }
    assert_eq!(lengths, [1, 2, 4, 8, 16, 30, 30]);
    now += 30 * DAY;
    w.sweep(now);
    let Counted::Banned(ban) = offend(&mut w, now, "203.0.113.7", 5) else { panic!("banned") };
    assert_eq!((ban.times, ban.end), (1, BanEnd::At(now + DAY)));
}

#[test]
fn an_ipv6_source_is_its_64_and_its_offences_add_up() {
    let mut w = watch();
    for n in 1..5 {
        assert_eq!(offend(&mut w, 1, &format!("2001:db8::{n}"), 1), Counted::Offences(n));
    }
    assert!(matches!(offend(&mut w, 1, "2001:db8::ffff", 1), Counted::Banned(_)));
    assert_eq!(offend(&mut w, 1, "2001:db8:0:1::1", 1), Counted::Offences(1));
}

#[test]
fn trunks_and_the_ranges_of_the_configuration_are_never_banned() {
    let mut w = watch();
    for address in ["127.0.0.1", "10.1.2.3", "192.168.1.2", "172.16.0.1", "172.31.255.255", "::1", "fd00::1"] {
        assert!(matches!(offend(&mut w, 1, address, 100), Counted::Exempt(Exempt::Never(_))), "{address}");
    }
    for _ in 0..100 {
        let counted = w.offence(1, ip("203.0.113.7"), Offence::Malformed, true);
        assert_eq!(counted, Counted::Exempt(Exempt::Trunk));
    }
    assert!(matches!(offend(&mut w, 1, "172.32.0.1", 5), Counted::Banned(_)));
    assert_eq!(w.ban(1, ip("10.0.0.1"), None, false).unwrap_err().to_string(), {
        "10.0.0.0/8 is never banned by the configuration"
    });
}

#[test]
fn an_operator_bans_allows_and_lifts() {
    let mut w = watch();
    let ban = w.ban(100, ip("203.0.113.7"), Some(Duration::from_secs(60)), false).unwrap();
    assert_eq!((ban.end, ban.cause), (BanEnd::At(160), BanCause::Operator));
    assert_eq!(w.ban(100, ip("203.0.113.9"), None, false).unwrap().end, BanEnd::Never);
    changes(&mut w);
    let range: Cidr = "203.0.113.0/24".parse().unwrap();
    assert!(w.allow(range) && !w.allow(range));
    let lifted = |address: &str| Change::Lifted(ip(address).into());
    assert_eq!(changes(&mut w), [Change::Allowed(range), lifted("203.0.113.7"), lifted("203.0.113.9")]);
    assert_eq!(offend(&mut w, 101, "203.0.113.7", 9), Counted::Exempt(Exempt::Allowed(range)));
    assert!(w.unallow(range) && !w.unallow(range));
    assert!(matches!(offend(&mut w, 102, "203.0.113.7", 5), Counted::Banned(Ban { times: 1, .. })), "forgiven");
    assert!(w.unban(103, ip("203.0.113.7")) && !w.unban(103, ip("203.0.113.7")));
    assert_eq!(offend(&mut w, 104, "203.0.113.7", 4), Counted::Offences(4));
    assert!(w.unban(104, ip("203.0.113.7")), "offences are forgotten too");
    assert_eq!(offend(&mut w, 104, "203.0.113.7", 1), Counted::Offences(1));
}

#[test]
fn what_was_kept_is_in_force_again_and_what_became_exempt_is_let_go() {
    let mut w = watch();
    offend(&mut w, 100, "203.0.113.7", 5);
    offend(&mut w, 100, "203.0.113.8", 5);
    let kept: Vec<_> = w.bans(101).collect();
    let mut again = watch();
    again.restore(kept.clone(), ["198.51.100.0/24".parse().unwrap()]);
    assert_eq!(changes(&mut again), []);
    assert_eq!(again.bans(101).collect::<Vec<_>>(), kept);
    assert_eq!(again.allowed().count(), 1);
    assert_eq!(offend(&mut again, 101, "203.0.113.7", 1), Counted::AlreadyBanned);
    again.pardon(|source| source == SourceKey::from(ip("203.0.113.8")));
    assert_eq!(changes(&mut again), [Change::Lifted(ip("203.0.113.8").into())]);
    let known = again.why(101, ip("203.0.113.7"), false);
    assert_eq!(known.ban.map(|ban| ban.times), Some(1));
}

#[test]
fn a_million_offenders_stay_within_the_bounds() {
    let config = WatchConfig { sources: 1000, bans: 500, ..WatchConfig::default() };
    let mut w = Watch::new(config);
    for n in 0..1_000_000u32 {
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + n));
        w.offence(u64::from(n / 1000), address, Offence::Malformed, false);
        if n % 100 == 0 {
            let _ = w.ban(u64::from(n), address, Some(Duration::from_secs(u64::from(n))), false);
        }
        w.poll_change();
        assert!(w.records.len() <= 1000 && w.bans.len() <= 500);
        assert_eq!((w.latest.len(), w.forgotten.len()), (w.records.len(), w.bans.len()));
    }
    w.sweep(u64::from(u32::MAX) * 10);
    assert_eq!((w.records.len(), w.bans.len()), (0, 0));
}

#[test]
fn a_ban_that_makes_room_for_another_is_told_as_lifted() {
    let mut w = Watch::new(WatchConfig { bans: 2, ..WatchConfig::default() });
    for (n, seconds) in [(1, 50), (2, 10), (3, 30)] {
        w.ban(0, ip(&format!("203.0.113.{n}")), Some(Duration::from_secs(seconds)), false).unwrap();
    }
    assert!(changes(&mut w).contains(&Change::Lifted(ip("203.0.113.2").into())));
    assert_eq!(w.bans(1).count(), 2);
}

#[test]
fn causes_are_read_back_by_their_names() {
    for cause in Offence::ALL.into_iter().map(BanCause::Offence).chain([BanCause::Operator]) {
        assert_eq!(BanCause::from_name(cause.name()), Some(cause));
    }
    assert_eq!(BanCause::from_name("bad luck"), None);
}
