//! A look-up whose answers are all remembered, as nearly every one of a busy system is, and the draw among SRV records.
//! `cargo bench -p ringfort-sip --bench locate`

use std::sync::Arc;
use std::time::Instant;

use divan::{Bencher, black_box};
use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;
use ringfort_sip::Uri;
use ringfort_sip::locate::*;

fn main() {
    divan::main();
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

/// Domains of the shape that `ringfort dns records` prints, for two hosts.
fn answer(query: &Query) -> Answer {
    let domain = query.name.as_str();
    let host = |n: u8| domain.replace("_sip._udp", if n == 0 { "one" } else { "two" });
    let data = match query.kind {
        RecordType::Naptr => (0..2)
            .map(|n| {
                RecordData::Naptr(Naptr {
                    order: 10,
                    preference: 50 + n,
                    flags: "s".into(),
                    services: "SIP+D2U".into(),
                    regexp: String::new(),
                    replacement: name(&format!("_sip._udp.{domain}")),
                })
            })
            .collect(),
        RecordType::Srv => (0..2)
            .map(|n| RecordData::Srv(Srv { priority: 10, weight: 5, port: 5060, target: name(&host(n)) }))
            .collect(),
        RecordType::A => vec![RecordData::A([192, 0, 2, 1].into())],
        RecordType::Aaaa => vec![],
    };
    let records: Vec<Record> =
        data.into_iter().map(|data| Record { owner: query.name.clone(), ttl: 3600, data }).collect();
    Answer::Records { records, no_such_name: false, negative_ttl: Some(3600), authenticated: false }
}

#[allow(clippy::disallowed_methods, reason = "any instant will do")]
fn warm(domains: u32) -> (Locator, Instant) {
    let now = Instant::now();
    let mut locator = Locator::new(Settings { cache: 100_000, ..Settings::default() }, [1; 32]);
    for n in 0..domains {
        locator.locate(now, Request::domain(name(&format!("d{n}.example"))));
        while let Some(query) = locator.poll_query() {
            locator.handle_answer(now, query.id, answer(&query));
        }
        let located = locator.poll_located().expect("answered");
        assert_eq!(located.result.expect("there").left().len(), 1, "both hosts have one address");
    }
    (locator, now)
}

#[divan::bench(args = [1, 10_000], sample_size = 200, sample_count = 500)]
fn cached_look_up_naptr_srv_address(bencher: Bencher<'_, '_>, domains: u32) {
    let (mut locator, now) = warm(domains);
    let uri = format!("sip:alex@d{}.example", domains / 2);
    bencher.bench_local(|| {
        let uri = Uri::parse(black_box(&uri)).expect("a URI");
        locator.locate(now, Request::of_uri(&uri).expect("a SIP URI"));
        black_box(locator.poll_located().expect("known"));
    });
    assert_eq!(locator.poll_query(), None);
}

#[divan::bench(sample_size = 200, sample_count = 500)]
fn cached_look_up_address_and_port(bencher: Bencher<'_, '_>) {
    let (mut locator, now) = warm(10_000);
    let request = Request { port: Some(5060), ..Request::domain(name("one.d77.example")) };
    bencher.bench_local(|| {
        locator.locate(now, black_box(request.clone()));
        black_box(locator.poll_located().expect("known"));
    });
}

#[divan::bench(sample_size = 200, sample_count = 500)]
fn order_of_ten_srv_records(bencher: Bencher<'_, '_>) {
    let srv = |n: u16| Srv { priority: n % 2, weight: n * 10, port: 5060, target: name(&format!("h{n}.example")) };
    let records: Vec<Arc<Srv>> = (0..10).map(srv).map(Arc::new).collect();
    let mut rng = ChaCha12Rng::from_seed([1; 32]);
    bencher.bench_local(|| black_box(order_srv(black_box(&records), &mut rng)));
}
