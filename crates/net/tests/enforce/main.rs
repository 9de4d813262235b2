//! The real nft and the real kernel, in network namespaces that each test makes and removes: a host with the enforcer,
//! and one beside it on a virtual cable. Without root or the programs a test says so and passes, unless
//! `RINGFORT_TEST_PROGRAMS=required` is set.

mod namespace;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use namespace::{Pair, now, wait_for};
use ringfort_guard::{BanChange, Cidr, SourceKey, Until};
use ringfort_net::enforce::{Bans, EnforceConfig, EnforceError, Enforcer, TABLE, remove_table};

fn key(text: &str) -> SourceKey {
    SourceKey::from(text.parse::<IpAddr>().unwrap())
}

fn banned(source: &str, until: Until) -> BanChange {
    BanChange::Banned { source: key(source), until }
}

fn no_bans() -> EnforceConfig {
    EnforceConfig::new(Bans::default)
}

fn in_seconds(seconds: u64) -> Until {
    Until::Time(now() + Duration::from_secs(seconds))
}

/// How long until it is in the kernel.
fn time_until(mut done: impl FnMut() -> bool) -> Duration {
    let start = now();
    wait_for("the kernel", &mut done);
    Instant::elapsed(&start)
}

#[test]
fn a_banned_host_is_dropped_and_counted_and_its_neighbour_passes() {
    let Some(pair) = Pair::new() else { return };
    pair.inside(|| {
        let enforcer = Enforcer::start(EnforceConfig { check_every: Duration::from_millis(100), ..no_bans() }).unwrap();
        let socket = pair.listen();
        assert!(pair.reaches(&socket, pair.attacker4) && pair.reaches(&socket, pair.good4));

        enforcer.handle().send(banned(pair.attacker4, in_seconds(3600)));
        let took = time_until(|| pair.nft("list set inet ringfort banned4").contains(pair.attacker4));
        // Usually some 30 ms; how long it may take is measured, not tested.
        assert!(took < Duration::from_secs(5), "the ban took {took:?} to the kernel");
        assert!(!pair.reaches(&socket, pair.attacker4), "the attacker still comes through");
        assert!(pair.reaches(&socket, pair.good4), "the good host does not come through");
        wait_for("the dropped packet to be counted", || enforcer.handle().stats().dropped_v4 > 0);
        assert_eq!(enforcer.handle().stats().elements, 1);

        enforcer.handle().send(BanChange::Lifted { source: key(pair.attacker4) });
        wait_for("the ban to be lifted", || !pair.nft("list set inet ringfort banned4").contains(pair.attacker4));
        assert!(pair.reaches(&socket, pair.attacker4), "lifted, and still dropped");
        enforcer.stop();
    });
}

#[test]
fn an_ipv6_ban_holds_for_the_whole_64_but_for_a_host_that_is_never_banned() {
    let Some(pair) = Pair::new() else { return };
    pair.inside(|| {
        let free: Vec<Cidr> = vec![format!("{}/128", pair.good6).parse().unwrap()];
        let bans = move || Bans { banned: Vec::new(), free: free.clone() };
        let enforcer = Enforcer::start(EnforceConfig::new(bans)).unwrap();
        let socket = pair.listen();
        // Another address of the same network than the one that comes.
        enforcer.handle().send(banned("2001:db8:0:1::dead", Until::Revoked));
        wait_for("the ban", || pair.nft("list set inet ringfort banned6").contains("2001:db8:0:1::"));
        assert!(!pair.reaches(&socket, pair.attacker6), "the attacker comes through");
        assert!(pair.reaches(&socket, pair.good6), "who is never banned does not come through");
        enforcer.stop();
    });
}

#[test]
fn a_ban_ends_in_the_kernel_by_itself_and_never_later_than_ours() {
    let Some(pair) = Pair::new() else { return };
    pair.inside(|| {
        let enforcer = Enforcer::start(no_bans()).unwrap();
        let socket = pair.listen();
        let end = now() + Duration::from_millis(1500);
        enforcer.handle().send(banned(pair.attacker4, Until::Time(end)));
        wait_for("the ban", || pair.nft("list set inet ringfort banned4").contains(pair.attacker4));
        assert!(!pair.reaches(&socket, pair.attacker4));
        // The enforcer is gone: what ends the ban is the kernel.
        enforcer.stop();
        wait_for("the end of the ban", || now() > end + Duration::from_millis(60));
        assert!(pair.reaches(&socket, pair.attacker4), "{}", pair.nft("list ruleset"));
    });
}

#[test]
fn a_ban_that_is_made_longer_or_shorter_has_the_new_time() {
    let Some(pair) = Pair::new() else { return };
    pair.inside(|| {
        let enforcer = Enforcer::start(no_bans()).unwrap();
        let list = || pair.nft("list set inet ringfort banned4");
        for (until, shown) in [(in_seconds(86_400), " expires 23h59m"), (in_seconds(600), " expires 9m")] {
            enforcer.handle().send(banned("203.0.113.9", until));
            wait_for(shown, || list().contains(shown));
        }
        enforcer.handle().send(banned("203.0.113.9", Until::Revoked));
        wait_for("no time", || list().contains("203.0.113.9 }") && !list().contains("expires"));
        enforcer.stop();
    });
}

#[test]
fn what_others_have_in_the_packet_filter_is_not_touched_and_our_table_comes_back_when_it_is_taken_away() {
    let Some(pair) = Pair::new() else { return };
    pair.inside(|| {
        pair.feed("table inet theirs {\n set banned4 { type ipv4_addr; elements = { 192.0.2.1 }; }\n chain c { ip saddr @banned4 counter accept; }\n}\n");
        let theirs = pair.nft("list table inet theirs");
        let list = Arc::new(Mutex::new(vec![(key("203.0.113.5"), Until::Revoked)]));
        let given = list.clone();
        let bans = move || Bans { banned: given.lock().unwrap().clone(), free: Vec::new() };
        let config = EnforceConfig { check_every: Duration::from_millis(200), ..EnforceConfig::new(bans) };
        let enforcer = Enforcer::start(config).unwrap();
        let here = |address: &str| pair.nft("list table inet ringfort").contains(address);
        assert!(here("203.0.113.5"), "what was banned before is banned from the start");

        // Without a change of bans, the look at the table finds it.
        for harm in ["delete table inet ringfort", "flush table inet ringfort"] {
            pair.nft(harm);
            wait_for("the table to come back", || {
                here("203.0.113.5") && pair.nft("list chain inet ringfort bans").contains("drop")
            });
        }
        // With one, at once; the list has it by then.
        list.lock().unwrap().push((key("203.0.113.6"), Until::Revoked));
        pair.nft("delete table inet ringfort");
        enforcer.handle().send(banned("203.0.113.6", Until::Revoked));
        wait_for("both bans", || here("203.0.113.5") && here("203.0.113.6"));
        wait_for("the rebuilds to be counted", || enforcer.handle().stats().rebuilds >= 4);

        assert_eq!(pair.nft("list table inet theirs"), theirs);
        enforcer.stop();
        assert!(here("203.0.113.6"), "bans outlive the process");
        assert!(remove_table().unwrap() && !remove_table().unwrap());
        assert_eq!(pair.nft("list ruleset"), theirs);
    });
}

#[test]
fn the_table_goes_at_the_stop_where_that_is_wanted() {
    let Some(pair) = Pair::new() else { return };
    pair.inside(|| {
        let enforcer = Enforcer::start(EnforceConfig { remove_at_stop: true, ..no_bans() }).unwrap();
        assert!(pair.nft("list tables").contains(TABLE));
        enforcer.stop();
        assert_eq!(pair.nft("list ruleset"), "");
    });
}

#[test]
fn changes_that_find_the_queue_full_arrive_by_the_whole_list() {
    let Some(pair) = Pair::new() else { return };
    pair.inside(|| {
        let list: Arc<Mutex<Vec<(SourceKey, Until)>>> = Arc::default();
        let given = list.clone();
        let bans = move || Bans { banned: given.lock().unwrap().clone(), free: Vec::new() };
        let enforcer = Enforcer::start(EnforceConfig { queue: 4, ..EnforceConfig::new(bans) }).unwrap();
        let handle = enforcer.handle();
        let start = now();
        for n in 0..20_000u32 {
            let source = SourceKey::V4(0x0b00_0000 + n);
            list.lock().unwrap().push((source, Until::Revoked));
            handle.send(BanChange::Banned { source, until: Until::Revoked });
        }
        let sending = Instant::elapsed(&start);
        wait_for("20,000 bans", || handle.stats().elements == 20_000);
        assert!(handle.stats().rebuilds > 1, "the queue was never full: this proves nothing");
        assert_eq!(pair.nft("list set inet ringfort banned4").matches("11.0.").count(), 20_000);
        assert!(sending < Duration::from_secs(2), "sending waited: {sending:?}");
        enforcer.stop();
    });
}

#[test]
fn a_thousand_bans_at_once_are_few_transactions() {
    let Some(pair) = Pair::new() else { return };
    pair.inside(|| {
        let enforcer = Enforcer::start(no_bans()).unwrap();
        for n in 0..1000u32 {
            enforcer.handle().send(BanChange::Banned { source: SourceKey::V4(0x0b00_0000 + n), until: in_seconds(60) });
        }
        wait_for("the bans", || enforcer.handle().stats().elements == 1000);
        assert!(enforcer.handle().stats().transactions <= 5, "{:?}", enforcer.handle().stats());
        enforcer.stop();
    });
}

/// The half of the next test that runs without the right.
#[test]
#[ignore = "run by without_the_right_the_start_says_what_is_missing_and_changes_nothing"]
fn start_without_the_right() {
    let error = Enforcer::start(no_bans()).unwrap_err();
    assert_eq!(error, EnforceError::NoCapability);
    assert!(error.to_string().contains("CAP_NET_ADMIN") && error.mend().contains("AmbientCapabilities=CAP_NET_ADMIN"));
    println!("refused as it should be");
}

#[test]
fn without_the_right_the_start_says_what_is_missing_and_changes_nothing() {
    let Some(pair) = Pair::new() else { return };
    let test = std::env::current_exe().unwrap();
    let said = pair.run(
        "setpriv",
        &["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"],
        &test,
        &["--ignored", "--exact", "start_without_the_right", "--nocapture"],
    );
    assert!(said.contains("refused as it should be"), "{said}");
    pair.inside(|| assert_eq!(pair.nft("list ruleset"), ""));
}

/// The half of the next test that runs as somebody else, with the right.
#[test]
#[ignore = "run by the_right_alone_is_enough_without_being_root"]
fn start_as_nobody() {
    let enforcer = Enforcer::start(no_bans()).unwrap();
    enforcer.handle().send(banned("203.0.113.5", Until::Revoked));
    enforcer.stop();
    println!("banned by nobody");
}

#[test]
fn the_right_alone_is_enough_without_being_root() {
    let Some(pair) = Pair::new() else { return };
    // Where the tests were built, another user may not read.
    let dir = std::env::temp_dir().join(format!("ringfort-enforce-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let copy = dir.join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let rights = ["--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"];
    let rights = [&rights[..], &["--inh-caps", "+net_admin", "--ambient-caps", "+net_admin"]].concat();
    let said = pair.run("setpriv", &rights, &copy, &["--ignored", "--exact", "start_as_nobody", "--nocapture"]);
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(said.contains("banned by nobody"), "{said}");
    pair.inside(|| assert!(pair.nft("list table inet ringfort").contains("203.0.113.5")));
}
