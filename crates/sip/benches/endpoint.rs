//! What a registration and a call cost in the endpoint: `cargo bench -p ringfort-sip --bench endpoint`. Parsing is part
//! of it, sockets are not.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use bytes::Bytes;
use divan::Bencher;
use rand::SeedableRng;
use rand::rngs::ChaCha12Rng;
use ringfort_sip::digest::{Algorithm, Challenger, ClientAuth, Credentials, Ha1Set};
use ringfort_sip::endpoint::*;
use ringfort_sip::flow::{Flow, ListenerId, Target, Transport};
use ringfort_sip::{Body, HeaderName, Headers, HostPort, Limits, Message, Method};

fn main() {
    divan::main();
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn start() -> Instant {
    Instant::now()
}

fn addr(side: u8) -> std::net::SocketAddr {
    ([192, 0, 2, side + 1], 5060).into()
}

fn endpoint(side: u8) -> Endpoint {
    seeded(side, 0)
}

fn seeded(side: u8, seed: u64) -> Endpoint {
    let advertised = HostPort::new(addr(side).ip().to_string(), Some(5060));
    let (id, transport, local) = (ListenerId(0), Transport::Udp, addr(side));
    let listeners = vec![ListenerInfo { id, transport, local, advertised, inside: None }];
    // Short waits keep the number of finished transactions small, as they would be in a long run.
    let timers = TimerTable::from_base(Duration::from_millis(2), Duration::from_millis(4), Duration::from_millis(5));
    let timers = TimerTable { d: Duration::from_millis(128), ..timers };
    let config = EndpointConfig { listeners, timers, max_transactions: 10_000_000, ..EndpointConfig::default() };
    let mut key = [side + 1; 32];
    key[..8].copy_from_slice(&seed.to_be_bytes());
    Endpoint::new(config, key)
}

fn flow(from: u8, to: u8) -> Flow {
    Flow { transport: Transport::Udp, listener: ListenerId(0), conn: None, local: addr(to), remote: addr(from) }
}

fn parse(payload: Bytes) -> Message {
    Message::parse_datagram(payload, &Limits::default()).expect("written by an endpoint")
}

fn request(method: Method<'static>) -> OutRequest {
    let target =
        Target::Connect { transport: Transport::Udp, listener: ListenerId(0), remote: addr(1), server_name: None };
    let mut r = OutRequest::new(method, "sip:192.0.2.2", target);
    r.from = "\"Anna\" <sip:anna@example.org>".into();
    r.to = "<sip:anna@example.org>".into();
    r
}

/// Carries messages until both are silent.
fn exchange(ends: &mut [Endpoint; 2], now: Instant, user: &mut dyn FnMut(&mut Endpoint, Event)) {
    loop {
        let mut quiet = true;
        for from in 0..2 {
            while let Some(event) = ends[from].poll_event() {
                user(&mut ends[from], event);
            }
            while let Some(transmit) = ends[from].poll_transmit() {
                quiet = false;
                let to = 1 - from;
                ends[to].handle_message(now, parse(transmit.payload), flow(from as u8, to as u8));
            }
        }
        if quiet {
            return;
        }
    }
}

/// The registrar's side alone: REGISTER, 401 without a transaction, REGISTER with credentials, 200.
#[divan::bench(args = [Algorithm::Md5, Algorithm::Sha256])]
fn registration_at_the_registrar(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let mut now = start();
    let mut registrar = endpoint(1);
    let mut phones = 0;
    let challenger = RefCell::new(Challenger::new("example.org", vec![algorithm], Duration::from_secs(60), [3; 32]));
    let anna = Ha1Set::new("anna", "example.org", "s3cret");
    let mut rng = ChaCha12Rng::from_seed([4; 32]);
    let credentials = Credentials { realm: None, user: "anna".into(), password: "s3cret".into() };
    bencher
        .with_inputs(|| {
            now += Duration::from_millis(1);
            phones += 1;
            let mut phone = seeded(0, phones);
            let tx = phone.send_request(now, request(Method::Register)).expect("there is room");
            let first = phone.poll_transmit().expect("just sent").payload;
            let mut headers = Headers::default();
            challenger.borrow_mut().challenge(now, std::net::Ipv4Addr::LOCALHOST.into(), false, &mut headers, false);
            let asked = parse(first.clone());
            let mut helper = endpoint(1);
            helper.respond_stateless(&asked, &flow(0, 1), Response { headers, ..Response::new(401) });
            let refused = parse(helper.poll_transmit().expect("just answered").payload);
            let mut auth = ClientAuth::new(credentials.clone());
            let extra = auth.answer(&refused, "REGISTER", "sip:192.0.2.2", &mut rng).expect("a challenge");
            phone.handle_message(now, refused, flow(1, 0));
            phone.resend_with(now, tx, extra).expect("kept for it");
            let second = phone.poll_transmit().expect("just sent").payload;
            (now, first, second)
        })
        .bench_local_values(|(now, first, second)| {
            registrar.handle_timeout(now);
            for payload in [first, second] {
                registrar.handle_message(now, parse(payload), flow(0, 1));
                while let Some(event) = registrar.poll_event() {
                    let Event::Request { tx, request, flow } = event else { unreachable!("only requests come") };
                    let Some(value) = request.header(HeaderName::Authorization) else {
                        let mut answer = Response::new(401);
                        challenger.borrow_mut().challenge(
                            now,
                            std::net::Ipv4Addr::LOCALHOST.into(),
                            false,
                            &mut answer.headers,
                            false,
                        );
                        registrar.respond_stateless(&request, &flow, answer);
                        continue;
                    };
                    challenger
                        .borrow_mut()
                        .verify(now, None, value, "REGISTER", request.request_uri(), &|_| Some(&anna))
                        .expect("the right password");
                    let answer = Response::new(200).header("Contact", "<sip:anna@192.0.2.1>;expires=600");
                    registrar.respond(now, tx, answer).expect("not answered yet");
                }
                while let Some(transmit) = registrar.poll_transmit() {
                    divan::black_box(transmit);
                }
            }
        });
}

/// Both ends of one call: INVITE, 100, 180, 200, ACK, BYE, 200; seven messages written and parsed.
#[divan::bench]
fn call_through_two_endpoints(bencher: Bencher<'_, '_>) {
    let mut now = start();
    let mut ends = [endpoint(0), endpoint(1)];
    let sdp = Body::sdp(
        &b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0\r\n"[..],
    );
    bencher.bench_local(|| {
        now += Duration::from_millis(1);
        for end in &mut ends {
            end.handle_timeout(now);
        }
        let r = OutRequest { body: Some(sdp.clone()), ..request(Method::Invite) };
        ends[0].send_request(now, r).expect("there is room");
        let mut ended = 0;
        let mut ringing = None;
        let mut user = |end: &mut Endpoint, event| match event {
            Event::Request { tx, .. } => {
                end.poll_transmit().map(divan::black_box);
                end.respond(now, tx, Response::new(180)).expect("not answered yet");
                ringing = Some(tx);
            }
            Event::Response { dialog: Some(dialog), response, .. }
                if response.status() == 200 && response.method() == Method::Invite =>
            {
                end.ack(now, dialog, Headers::default(), None);
                end.dialog_request(now, dialog, Method::Bye, Headers::default(), None).expect("in a call");
            }
            Event::DialogRequest { tx, .. } => end.respond(now, tx, Response::new(200)).expect("not answered yet"),
            Event::DialogEnded { .. } => ended += 1,
            _ => {}
        };
        exchange(&mut ends, now, &mut user);
        let tx = ringing.expect("called");
        ends[1].respond(now, tx, Response::new(200).body(sdp.clone())).expect("not answered yet");
        let mut user = |end: &mut Endpoint, event| match event {
            Event::Response { dialog: Some(dialog), response, .. }
                if response.status() == 200 && response.method() == Method::Invite =>
            {
                end.ack(now, dialog, Headers::default(), None);
                end.dialog_request(now, dialog, Method::Bye, Headers::default(), None).expect("in a call");
            }
            Event::DialogRequest { tx, .. } => end.respond(now, tx, Response::new(200)).expect("not answered yet"),
            Event::DialogEnded { .. } => ended += 1,
            _ => {}
        };
        exchange(&mut ends, now, &mut user);
        assert_eq!(ended, 2);
    });
}
