//! What is remembered: answers for their TTL, absences by their SOA (RFC 2308), failed targets for a while; all bounded.

use std::time::Duration;

use ringfort_sip::locate::*;

use crate::world::{World, name, request, show};

const ZONE: &str = "
    example.org 3600 NAPTR 10 50 \"s\" \"SIP+D2U\" \"\" _sip._udp.example.org
    _sip._udp.example.org 600 SRV 1 1 5060 one.example.org
    _sip._udp.example.org 600 SRV 2 1 5060 two.example.org
    one.example.org 60 A 192.0.2.1
    two.example.org 60 A 192.0.2.2
";

fn asked(world: &mut World) -> usize {
    std::mem::take(&mut world.asked).len()
}

#[test]
fn rfc1035_3_2_1_answers_are_good_for_their_ttl_and_not_longer() {
    let mut world = World::new(ZONE);
    let located = world.locate("sip:a@example.org");
    let expires = located.result.unwrap().left().next().unwrap().expires;
    assert_eq!(expires, Some(world.now + Duration::from_secs(60)), "the first record of the way to run out");
    assert_eq!(asked(&mut world), 6, "NAPTR, SRV, A and AAAA of two hosts");
    world.pass(59);
    let again = world.locate("sip:a@example.org");
    assert_eq!((show(&again).len(), asked(&mut world)), (2, 0));
    assert!(again.trace.asked.iter().all(|asked| asked.cached));
    world.pass(1);
    world.locate("sip:a@example.org");
    assert_eq!(asked(&mut world), 2, "the A records; AAAA were absent for 300 s");
    world.pass(600);
    world.locate("sip:a@example.org");
    assert_eq!(asked(&mut world), 5, "all but the NAPTR record");
}

#[test]
fn a_change_in_the_zone_is_seen_when_the_ttl_is_over() {
    let mut world = World::new("a.example 30 A 192.0.2.1");
    assert_eq!(world.targets("sip:x@a.example:5060"), ["UDP 192.0.2.1:5060"]);
    world.zone = crate::world::Zone::new("a.example 30 A 192.0.2.2");
    world.pass(29);
    assert_eq!(world.targets("sip:x@a.example:5060"), ["UDP 192.0.2.1:5060"]);
    world.pass(1);
    assert_eq!(world.targets("sip:x@a.example:5060"), ["UDP 192.0.2.2:5060"]);
}

#[test]
fn a_ttl_of_zero_is_for_one_look_up_and_a_negative_one_counts_as_zero() {
    for ttl in [0, 0x8000_0000_u32] {
        let mut world = World::new(&format!("a.example {ttl} A 192.0.2.1"));
        world.zone.negative_ttl = None;
        for _ in 0..2 {
            assert_eq!(world.targets("sip:x@a.example:5060"), ["UDP 192.0.2.1:5060"], "RFC 2181 §8");
        }
        assert_eq!(asked(&mut world), 4);
    }
}

#[test]
fn a_ttl_of_a_year_is_cut_to_a_day() {
    let mut world = World::new("a.example 31536000 A 192.0.2.1");
    world.locate("sip:x@a.example:5060");
    world.pass(86_399);
    world.locate("sip:x@a.example:5060");
    world.asked.retain(|(_, kind)| *kind == RecordType::A);
    assert_eq!(asked(&mut world), 1);
    world.pass(1);
    world.locate("sip:x@a.example:5060");
    assert!(asked(&mut world) >= 1);
}

#[test]
fn rfc2308_5_that_a_name_does_not_exist_is_remembered_by_its_soa() {
    let mut world = World::new("");
    world.zone.negative_ttl = Some(120);
    assert_eq!(world.locate("sip:a@nowhere.example").result, Err(LocateError::NoSuchName));
    let first = asked(&mut world);
    assert!(first > 0);
    world.pass(119);
    assert_eq!(world.locate("sip:a@nowhere.example").result, Err(LocateError::NoSuchName));
    assert_eq!(asked(&mut world), 0);
    world.pass(1);
    world.locate("sip:a@nowhere.example");
    assert_eq!(asked(&mut world), first);
    world.zone.negative_ttl = Some(1_000_000);
    world.pass(120);
    world.locate("sip:a@nowhere.example");
    world.pass(3_600);
    asked(&mut world);
    world.locate("sip:a@nowhere.example");
    assert_eq!(asked(&mut world), first, "an hour at most");
}

#[test]
fn rfc2308_5_without_a_soa_an_absence_is_not_remembered() {
    let mut world = World::new("");
    world.zone.negative_ttl = None;
    world.locate("sip:a@nowhere.example");
    let first = asked(&mut world);
    world.locate("sip:a@nowhere.example");
    assert_eq!(asked(&mut world), first);
}

#[test]
fn rfc2308_7_a_failing_name_server_is_left_alone_for_a_few_seconds() {
    let mut world = World::new("a.example 30 A 192.0.2.1");
    world.zone.broken.insert((name("a.example"), RecordType::A));
    assert!(world.locate("sip:x@a.example:5060").result.is_err());
    asked(&mut world);
    world.zone.broken.clear();
    assert!(world.locate("sip:x@a.example:5060").result.is_err());
    assert_eq!(asked(&mut world), 0);
    world.pass(5);
    assert_eq!(world.targets("sip:x@a.example:5060"), ["UDP 192.0.2.1:5060"]);
}

#[test]
fn two_look_ups_of_one_domain_share_their_questions() {
    let mut world = World::new(ZONE);
    for _ in 0..50 {
        world.locator.locate(world.now, request("sip:a@example.org"));
    }
    while let Some(query) = world.locator.poll_query() {
        let answer = world.zone.answer(&query.name, query.kind);
        world.locator.handle_answer(world.now, query.id, answer);
    }
    let done = std::iter::from_fn(|| world.locator.poll_located()).filter(|located| located.result.is_ok()).count();
    assert_eq!((done, world.locator.counters().queries), (50, 6));
}

#[test]
fn a_target_that_failed_stands_back_until_its_time_is_over_or_it_answers() {
    let mut world = World::new(ZONE);
    let first = |world: &mut World| {
        let mut targets = world.locate("sip:a@example.org").result.unwrap();
        world.locator.next_target(world.now, &mut targets).unwrap()
    };
    let one = first(&mut world);
    assert_eq!(one.address.to_string(), "192.0.2.1:5060");
    world.locator.report(world.now, &one, Attempt::TransportError);
    let two = first(&mut world);
    assert_eq!(two.address.to_string(), "192.0.2.2:5060");
    world.locator.report(world.now, &two, Attempt::Unavailable { retry_after: Some(Duration::from_secs(3_000)) });
    assert_eq!(first(&mut world), one, "where all failed, the first of them");
    world.pass(30);
    let again = first(&mut world);
    assert_eq!(again.address, one.address);
    world.locator.report(world.now, &again, Attempt::TimedOut);
    world.locator.report(world.now, &again, Attempt::Answered);
    assert_eq!(first(&mut world).address, one.address, "it answered: nothing is held against it");
    assert!(world.locator.is_dead(world.now, &two), "Retry-After is heeded");
    world.pass(270);
    assert!(!world.locator.is_dead(world.now, &two), "for five minutes at most");
}

#[test]
fn a_target_that_dies_meanwhile_is_passed_over_by_look_ups_that_are_done_already() {
    let mut world = World::new(ZONE);
    let mut mine = world.locate("sip:a@example.org").result.unwrap();
    let mut other = mine.clone();
    let one = world.locator.next_target(world.now, &mut other).unwrap();
    world.locator.report(world.now, &one, Attempt::TimedOut);
    let order: Vec<String> = std::iter::from_fn(|| world.locator.next_target(world.now, &mut mine))
        .map(|target| target.address.ip().to_string())
        .collect();
    assert_eq!(order, ["192.0.2.2", "192.0.2.1"], "last, but not lost");
    assert!(mine.is_empty());
}

#[test]
fn nothing_grows_without_bound_however_many_domains_are_asked() {
    let settings = Settings { cache: 100, dead: 10, ..Settings::default() };
    let mut world = World::with("", settings, 1);
    for n in 0..2_000 {
        let mut targets = world.locate(&format!("sip:a@192.0.2.1:{}", 5_000 + n)).result.unwrap();
        let target = world.locator.next_target(world.now, &mut targets).unwrap();
        world.locator.report(world.now, &target, Attempt::TimedOut);
        world.locate(&format!("sip:a@d{n}.example"));
    }
    assert_eq!(world.locator.sizes(), [100, 10, 0, 0]);
}

#[test]
fn more_look_ups_and_questions_than_there_is_room_for_are_refused_at_once() {
    let settings = Settings { lookups: 3, queries: 2, ..Settings::default() };
    let mut world = World::with(ZONE, settings, 1);
    let ids: Vec<LookupId> =
        (0..5).map(|n| world.locator.locate(world.now, request(&format!("sip:a@d{n}.example:5060")))).collect();
    // The first has both questions; the others find none free, and end.
    let ends: Vec<(LookupId, Result<Targets, LocateError>)> =
        std::iter::from_fn(|| world.locator.poll_located()).map(|located| (located.id, located.result)).collect();
    let busy = || Err(LocateError::Unanswered(QueryFailure::Busy));
    assert_eq!(ends, ids[1..].iter().map(|id| (*id, busy())).collect::<Vec<_>>());
    let settings = Settings { lookups: 1, ..Settings::default() };
    let mut world = World::with(ZONE, settings, 1);
    world.locator.locate(world.now, request("sip:a@example.org"));
    world.locator.locate(world.now, request("sip:a@example.net"));
    assert_eq!(world.locator.poll_located().unwrap().result, Err(LocateError::Busy));
}

#[test]
fn a_cancelled_look_up_is_silent_and_its_answers_serve_the_next() {
    let mut world = World::new(ZONE);
    let id = world.locator.locate(world.now, request("sip:a@one.example.org:5060"));
    world.locator.cancel(id);
    while let Some(query) = world.locator.poll_query() {
        let answer = world.zone.answer(&query.name, query.kind);
        world.locator.handle_answer(world.now, query.id, answer);
    }
    assert!(world.locator.poll_located().is_none());
    assert_eq!(world.targets("sip:a@one.example.org:5060"), ["UDP 192.0.2.1:5060"]);
    assert_eq!(asked(&mut world), 0);
}
