//! Whatever the DNS answers, in whatever order and however late: a look-up ends, within bounds, and by the rules.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use proptest::prelude::*;
use ringfort_sip::flow::Transport;
use ringfort_sip::locate::*;

use crate::world::{name, start};

/// Few names, so that records meet, alias each other and loop.
fn any_name() -> impl Strategy<Value = Name> {
    prop_oneof![
        (0..4u8).prop_map(|n| name(&format!("h{n}.example"))),
        Just(name("example")),
        Just(name("_sip._udp.example")),
        Just(name("_sip._tcp.example")),
        Just(name("_sips._tcp.example")),
        Just(Name::root()),
    ]
}

fn data() -> impl Strategy<Value = RecordData> {
    let services = prop_oneof!["SIP\\+D2[UTSW]", "SIPS\\+D2[TW]", "[a-zA-Z+]{0,8}"];
    prop_oneof![
        (0..3u16, 0..3u16, "[sSaAuU]?", services, "!?", any_name()).prop_map(
            |(order, preference, flags, services, regexp, replacement)| RecordData::Naptr(Naptr {
                order,
                preference,
                flags,
                services,
                regexp,
                replacement
            })
        ),
        (0..3u16, any::<u16>(), 0..3u16, any_name())
            .prop_map(|(priority, weight, port, target)| RecordData::Srv(Srv { priority, weight, port, target })),
        any::<u32>().prop_map(|bits| RecordData::A(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| RecordData::Aaaa(Ipv6Addr::from_bits(bits))),
        any_name().prop_map(RecordData::Cname),
    ]
}

fn answer() -> impl Strategy<Value = Answer> {
    let records = prop::collection::vec((any_name(), any::<u32>(), data()), 0..12);
    let negative = prop::option::of(any::<u32>());
    prop_oneof![
        4 => (records, any::<bool>(), negative.clone(), any::<bool>()).prop_map(|(records, nx, negative_ttl, dnssec)| {
            let records = records.into_iter().map(|(owner, ttl, data)| Record { owner, ttl, data }).collect();
            Answer::Records { records, no_such_name: nx, negative_ttl, authenticated: dnssec }
        }),
        1 => (any::<bool>(), negative).prop_map(|(no_such_name, negative_ttl)| Answer::Absent {
            no_such_name,
            negative_ttl,
            authenticated: false
        }),
        1 => Just(Answer::Failed(QueryFailure::ServerFailure)),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Locate {
        secure: bool,
        transport: Option<Transport>,
        port: Option<u16>,
        address: bool,
    },
    /// To one of the questions that wait; a wrong number is an answer to none.
    Answer(usize, Answer),
    Pass(u64),
    Cancel(u64),
    Report(usize, Attempt),
}

fn step() -> impl Strategy<Value = Step> {
    let transport = prop::option::of(prop::sample::select(vec![Transport::Udp, Transport::Tcp, Transport::Tls]));
    let attempt = prop_oneof![
        Just(Attempt::TimedOut),
        Just(Attempt::Answered),
        (0..1_000u64).prop_map(|s| Attempt::Unavailable { retry_after: Some(Duration::from_secs(s)) }),
    ];
    prop_oneof![
        3 => (any::<bool>(), transport, prop::option::of(1..9u16), prop::bool::weighted(0.1))
            .prop_map(|(secure, transport, port, address)| Step::Locate { secure, transport, port, address }),
        8 => (0..12usize, answer()).prop_map(|(at, answer)| Step::Answer(at, answer)),
        2 => (0..8_000u64).prop_map(Step::Pass),
        1 => (0..20u64).prop_map(Step::Cancel),
        1 => (0..5usize, attempt).prop_map(|(at, attempt)| Step::Report(at, attempt)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_look_up_ends_in_time_with_targets_that_are_allowed(steps in prop::collection::vec(step(), 1..60)) {
        let settings = Settings { cache: 8, dead: 4, ..Settings::default() };
        let deadline = settings.deadline;
        let mut locator = Locator::new(settings, [3; 32]);
        let mut now = start();
        let mut running = std::collections::BTreeMap::new();
        let mut waiting: Vec<Query> = Vec::new();
        let mut seen: Vec<Target> = Vec::new();
        for step in steps {
            match step {
                Step::Locate { secure, transport, port, address } => {
                    let host = if address { Destination::Address([192, 0, 2, 1].into()) } else { Destination::Name(name("example")) };
                    let request = Request { host, port, transport, secure, ..Request::domain(name("example")) };
                    let id = locator.locate(now, request.clone());
                    running.insert(id, (request, now));
                }
                Step::Answer(at, answer) if at < waiting.len() => {
                    let query = waiting.swap_remove(at);
                    locator.handle_answer(now, query.id, answer);
                }
                Step::Answer(at, answer) => locator.handle_answer(now, QueryId(1 << 40 | at as u64), answer),
                Step::Pass(millis) => {
                    now += Duration::from_millis(millis);
                    locator.handle_timeout(now);
                    prop_assert!(locator.poll_timeout().is_none_or(|at| at > now));
                }
                Step::Cancel(id) => {
                    locator.cancel(LookupId(id));
                    running.remove(&LookupId(id));
                }
                Step::Report(at, attempt) => {
                    if let Some(target) = seen.get(at) {
                        locator.report(now, target, attempt);
                    }
                }
            }
            waiting.extend(std::iter::from_fn(|| locator.poll_query()));
            while let Some(located) = locator.poll_located() {
                // One that was cancelled after it had ended was taken here before.
                let Some((request, _)) = running.remove(&located.id) else {
                    return Err(TestCaseError::fail("an end of a look-up that does not run"));
                };
                prop_assert!(located.trace.asked.len() <= 80);
                if let Ok(mut targets) = located.result {
                    prop_assert!((1..=64).contains(&targets.left().len()));
                    let mut places = std::collections::BTreeSet::new();
                    while let Some(target) = locator.next_target(now, &mut targets) {
                        prop_assert!(target.transport.is_secure() || !request.secure, "{target:?}");
                        prop_assert!(request.transport.is_none_or(|named| named == target.transport), "{target:?}");
                        prop_assert!(request.port.is_none_or(|port| port == target.address.port()), "{target:?}");
                        prop_assert!(target.address.port() != 0);
                        prop_assert_eq!(target.server_name.is_some(), target.transport.is_secure() && target.why.host.is_some());
                        prop_assert!(places.insert((target.transport, target.address)), "twice: {target:?}");
                        seen.push(target);
                    }
                }
            }
            for (id, (_, begun)) in &running {
                prop_assert!(now <= *begun + deadline, "{id:?} waits beyond its deadline");
            }
            let [cache, dead, searches, _] = locator.sizes();
            prop_assert!(cache <= 8 && dead <= 4 && searches == running.len());
        }
        // Left alone, everything ends.
        now += Duration::from_secs(60);
        locator.handle_timeout(now);
        prop_assert_eq!(&locator.sizes()[2..], &[0, 0][..]);
        prop_assert_eq!(locator.poll_timeout(), None);
        prop_assert_eq!(std::iter::from_fn(|| locator.poll_located()).count(), running.len());
    }

    #[test]
    fn an_order_of_srv_records_is_a_permutation_by_priority(
        records in prop::collection::vec((0..4u16, any::<u16>(), 1..9u16, 0..5u8), 0..20),
        seed in any::<u8>(),
    ) {
        use rand::SeedableRng as _;
        let records: Vec<_> = records
            .into_iter()
            .map(|(priority, weight, port, host)| std::sync::Arc::new(Srv { priority, weight, port, target: name(&format!("h{host}")) }))
            .collect();
        let ordered = order_srv(&records, &mut rand::rngs::ChaCha12Rng::from_seed([seed; 32]));
        prop_assert!(ordered.is_sorted_by_key(|srv| srv.priority));
        let (mut before, mut after) = (records, ordered);
        before.sort();
        after.sort();
        prop_assert_eq!(before, after);
    }
}
