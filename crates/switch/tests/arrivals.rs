//! Calls that come from outside, message by message: of trunks (CALL-4) and of anybody (DOM-1, DOM-4).

mod common;

use std::time::Duration;

use common::*;
use ringfort_media::types as media;
use ringfort_sip::digest::{Credentials, authorize};
use ringfort_sip::header::HeaderName;
use ringfort_sip::locate::{Answer, Record, RecordData, RecordType};
use ringfort_sip::message::Message;
use ringfort_switch::model::*;
use ringfort_switch::record::EndCause;

/// The phone of extension 102.
const B: &str = "198.51.100.20:5060";
/// The provider, another one, and somebody.
const P1: &str = "203.0.113.1:5060";
const P2: &str = "203.0.113.2:5060";
const STRANGER: &str = "203.0.113.99:5060";

const ONE: TrunkId = TrunkId(1);
const TWO: TrunkId = TrunkId(2);
const DID: &str = "sip:+442079460000@192.0.2.1:5080";

fn inbound(name: &str, trunk: Option<TrunkId>, called: Pattern, to: Destination) -> InboundRoute {
    InboundRoute { tenant: TenantId(1), name: name.into(), trunk, called, identity: Vec::new(), hours: Vec::new(), to }
}

/// One provider whose number ends at 102, a published name for the same extension and one that is not published.
fn lines() -> Site {
    let mut site = site();
    site.tenants[0].numbers = NumberPlan { country: "44".into(), national_prefix: "0".into(), ..NumberPlan::default() };
    site.trunks.insert(
        ONE,
        Trunk { health_every: std::time::Duration::ZERO, ..Trunk::new(ONE, TenantId(1), "one", "sip:203.0.113.1") },
    );
    let did = Pattern::Exact("+442079460000".into());
    site.inbound.push(inbound("main", Some(ONE), did, Destination::Extension("102".into())));
    site.aliases = vec![alias("director", "102", true), alias("102", "102", true), alias("secret", "102", false)];
    site
}

fn edit(change: impl FnOnce(&mut Site)) -> World {
    let mut site = lines();
    change(&mut site);
    let mut w = World::with(config(), site);
    w.pass(Duration::ZERO);
    w.register("user-b", B);
    w
}

fn world() -> World {
    edit(|_| {})
}

fn first_trunk(change: impl FnOnce(&mut Trunk)) -> World {
    edit(|site| change(site.trunks.get_mut(&ONE).expect("it was just put there")))
}

fn media_of(at: &str) -> String {
    sdp(at.split(':').next().expect("an address"), 6000, "0 8 101")
}

struct Asking<'a> {
    at: &'a str,
    uri: &'a str,
    from: &'a str,
    to: &'a str,
    more: &'a str,
    sdp: String,
}

/// A change of the site, and what each of two providers sends then.
type Case<'a> = (fn(&mut Site), [Asking<'a>; 2]);

/// What the provider sends.
fn asking<'a>() -> Asking<'a> {
    Asking {
        at: P1,
        uri: DID,
        from: "\"Ann\" <sip:02079460009@203.0.113.1>",
        to: "<sip:+442079460000@provider.example>",
        more: "",
        sdp: media_of(P1),
    }
}

impl Asking<'_> {
    fn text(&self, n: u32, cseq: u32, more: &str) -> String {
        let Asking { at, uri, from, to, sdp, .. } = self;
        let body = if sdp.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKp{n}x{cseq};rport\r\nFrom: {from};tag=far{n}\r\n\
             To: {to}\r\nCall-ID: far-{n}@provider.example\r\nCSeq: {cseq} INVITE\r\nContact: <sip:gw@{at}>\r\n\
             Max-Forwards: 70\r\n{}{more}{body}\r\n{sdp}",
            self.more
        )
    }

    fn send(&self, w: &mut World, n: u32) {
        w.send_to(1, OUTSIDE, self.at, &self.text(n, 1, ""));
    }

    /// A request of the far end within its dialog.
    fn within(&self, method: &str, n: u32, cseq: u32, ok: &Message) -> String {
        let to = String::from_utf8_lossy(ok.header(HeaderName::To).expect("To")).into_owned();
        let (at, from, target) = (self.at, self.from, contact_uri(ok));
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bKw{n}{method};rport\r\nFrom: {from};tag=far{n}\r\n\
             To: {to}\r\nCall-ID: far-{n}@provider.example\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\r\n"
        )
    }
}

fn from(message: &Message) -> String {
    String::from_utf8_lossy(message.header(HeaderName::From).expect("From")).into_owned()
}

fn shown(message: &Message) -> String {
    from(message).split(";tag=").next().unwrap_or_default().to_owned()
}

fn contact() -> String {
    format!("Contact: <sip:user-b@{B}>\r\n")
}

/// Whether RTP may go to the SDP address of the leg towards `ip` before any came.
fn sends_first(w: &World, ip: &str) -> Option<bool> {
    w.media.iter().rev().find_map(|command| match command {
        media::Command::Configure { config, .. } => {
            let here = config.remote.is_some_and(|rtp| rtp.ip().to_string() == ip);
            here.then_some(config.send_unproven)
        }
        _ => None,
    })
}

#[test]
fn a_trunks_call_reaches_the_extension_of_its_route_and_is_a_call_like_any_other_call_4() {
    let mut w = world();
    let far = asking();
    far.send(&mut w, 1);
    let invite = w.take(B);
    assert_eq!(shown(&invite), "\"Ann\" <sip:+442079460009@pbx.example>");
    let text = String::from_utf8_lossy(invite.raw()).into_owned();
    for secret in ["203.0.113.1", "provider.example", "far-1", "gw@"] {
        assert!(!text.contains(secret), "{secret} ends here (CALL-1):\n{text}");
    }
    w.send(B, &reply(&invite, 180, "b", &contact(), ""));
    assert_eq!(w.take_starting(P1, "SIP/2.0 180").status(), 180);
    w.send(B, &reply(&invite, 200, "b", &contact(), &sdp("198.51.100.20", 5000, "8 101")));
    assert!(first_line(&w.take(B)).starts_with("ACK "));
    let ok = w.take_final(P1);
    assert_eq!(ok.status(), 200);
    assert!(!String::from_utf8_lossy(ok.raw()).contains("198.51.100.20"), "our own addresses alone");
    w.send_to(1, OUTSIDE, P1, &far.within("ACK", 1, 1, &ok));
    w.pass(Duration::from_secs(5));
    w.send_to(1, OUTSIDE, P1, &far.within("BYE", 1, 2, &ok));
    assert_eq!(w.take(P1).status(), 200);
    let bye = w.take(B);
    w.send(B, &reply(&bye, 200, "", "", ""));
    w.report_closed();
    let record = w.cdrs()[0];
    assert_eq!((record.status, record.cause, record.context.as_str()), (200, Some(EndCause::Normal), "public"));
    assert_eq!(record.caller.reveal(), "+442079460009");
    assert_eq!(record.callee.reveal(), "+442079460000");
    assert_eq!(record.to_extension, Some(ExtensionId(2)));
    assert_eq!(record.trunks.from.as_deref(), Some("one"));
    w.assert_empty();
}

#[test]
fn nobody_is_a_trunk_but_from_its_address_and_on_its_profile() {
    let mut w = world();
    Asking { at: STRANGER, ..asking() }.send(&mut w, 1);
    assert_eq!(w.take_final(STRANGER).status(), 404);
    for change in [
        |trunk: &mut Trunk| trunk.enabled = false,
        |trunk: &mut Trunk| trunk.profile = Some("phones".into()),
        |trunk: &mut Trunk| trunk.server = "sip:203.0.113.50".into(),
    ] {
        let mut w = first_trunk(change);
        asking().send(&mut w, 1);
        assert_eq!(w.take_final(P1).status(), 404);
        assert!(w.nothing_for(B));
    }
    let mut w = first_trunk(|trunk| trunk.profile = Some("world".into()));
    asking().send(&mut w, 1);
    assert!(first_line(&w.take(B)).starts_with("INVITE "));
}

#[test]
fn a_trunk_is_known_by_further_sources_and_by_where_the_dns_says_its_host_is() {
    let mut w = first_trunk(|trunk| trunk.sources = vec!["203.0.113.96/28".into()]);
    Asking { at: STRANGER, sdp: media_of(STRANGER), ..asking() }.send(&mut w, 1);
    assert!(first_line(&w.take(B)).starts_with("INVITE "));

    let mut w = first_trunk(|trunk| trunk.server = "sip:sip.provider.example".into());
    asking().send(&mut w, 1);
    assert_eq!(w.take_final(P1).status(), 404, "not located yet");
    let answer = |w: &mut World, ip: &str| {
        while let Some(query) = w.queries.pop() {
            let answer = if query.kind == RecordType::A {
                let data = RecordData::A(ip.parse().expect("an address"));
                let records = vec![Record { owner: query.name.clone(), ttl: 60, data }];
                Answer::Records { records, no_such_name: false, negative_ttl: None, authenticated: false }
            } else {
                Answer::Absent { no_such_name: false, negative_ttl: Some(60), authenticated: false }
            };
            w.answer_dns(query.id, answer);
        }
    };
    answer(&mut w, "203.0.113.1");
    asking().send(&mut w, 2);
    assert!(first_line(&w.take(B)).starts_with("INVITE "));
    // The provider moves; its records ran out after a minute.
    w.pass(Duration::from_secs(61));
    answer(&mut w, "203.0.113.2");
    w.sent.clear();
    asking().send(&mut w, 3);
    assert_eq!(w.take_final(P1).status(), 404, "it has left this address");
    Asking { at: P2, sdp: media_of(P2), ..asking() }.send(&mut w, 4);
    assert!(first_line(&w.take(B)).starts_with("INVITE "));
    // A resolver that says nothing for a while takes nothing away.
    w.pass(Duration::from_secs(100));
    w.queries.clear();
    w.sent.clear();
    Asking { at: P2, sdp: media_of(P2), ..asking() }.send(&mut w, 5);
    assert!(first_line(&w.take(B)).starts_with("INVITE "));
}

#[test]
fn a_trunks_call_ends_here_where_no_inbound_route_fits_and_never_leads_out_again_dom_4() {
    let mut w = edit(|site| {
        site.trunks.insert(
            TWO,
            Trunk { health_every: std::time::Duration::ZERO, ..Trunk::new(TWO, TenantId(1), "two", "sip:203.0.113.2") },
        );
        site.outbound.push(route("out", vec![Pattern::Any], vec![TWO]));
    });
    let elsewhere =
        ["+442079461234", "02079461234", "112", "102", "director", "secret"].map(|n| format!("sip:{n}@192.0.2.1"));
    for (n, uri) in
        elsewhere.iter().map(String::as_str).chain(["sip:bob@other.example", "tel:+442079461234"]).enumerate()
    {
        for (k, at) in [P1, STRANGER].into_iter().enumerate() {
            if at == STRANGER && (uri.contains("102") || uri.contains("director")) {
                continue;
            }
            Asking { at, uri, ..asking() }.send(&mut w, (10 + 2 * n + k) as u32);
            assert_eq!(w.take_final(at).status(), 404, "{uri} from {at}");
        }
    }
    assert!(w.nothing_for(P2) && w.nothing_for(B), "{:?}", w.summary());
    assert!(w.queries.is_empty(), "nothing is located for somebody outside");
}

#[test]
fn only_the_trunks_codecs_pass_call_4() {
    let mut w = first_trunk(|trunk| trunk.codecs = vec!["PCMA".into(), "telephone-event".into()]);
    asking().send(&mut w, 1);
    let offered = body_text(&w.take(B));
    assert!(offered.contains("PCMA/8000") && !offered.contains("PCMU/8000"), "{offered}");
    Asking { sdp: sdp("203.0.113.1", 6000, "0"), ..asking() }.send(&mut w, 2);
    assert_eq!(w.take_final(P1).status(), 488);
}

#[test]
fn a_trunk_with_credentials_for_its_far_end_is_asked_for_them() {
    let secret = SipCredentials { user: "far-end".into(), password: Secret::new("right") };
    let mut w = first_trunk(|trunk| trunk.inbound_credentials = Some(secret));
    let answered = |w: &mut World, n: u32, password: &str| {
        asking().send(w, n);
        let challenge = w.take_final(P1);
        assert_eq!(challenge.status(), 401);
        let credentials = Credentials { realm: None, user: "far-end".into(), password: password.into() };
        let mut rng: rand::rngs::ChaCha12Rng = rand::SeedableRng::seed_from_u64(5);
        let given = authorize(&challenge, &credentials, "INVITE", DID, &mut rng, 1).expect("a digest challenge");
        let given = String::from_utf8(given.as_bytes().to_vec()).expect("header fields are text");
        w.send_to(1, OUTSIDE, P1, &asking().text(n, 2, &given));
    };
    answered(&mut w, 1, "wrong");
    assert_eq!(w.take_final(P1).status(), 401);
    assert_eq!(w.cdrs().len(), 1);
    assert!(w.nothing_for(B));
    answered(&mut w, 2, "right");
    assert!(first_line(&w.take(B)).starts_with("INVITE "));
}

#[test]
fn several_providers_at_one_address_are_told_apart() {
    // Which of two trunks of one address it was is told by the route, each to an extension of its own.
    let two = |change: fn(&mut Site)| {
        let mut w = edit(|site| {
            site.trunks.insert(
                TWO,
                Trunk {
                    health_every: std::time::Duration::ZERO,
                    ..Trunk::new(TWO, TenantId(1), "two", "sip:203.0.113.1:5090")
                },
            );
            let any = |trunk, to: &str| inbound(to, Some(trunk), Pattern::Any, Destination::Extension(to.into()));
            site.inbound = vec![any(ONE, "102"), any(TWO, "103")];
            change(site);
        });
        w.register("user-c", "198.51.100.30:5060");
        w
    };
    let account = |site: &mut Site| {
        for (id, user) in [(ONE, "account-one"), (TWO, "account-two")] {
            let trunk = site.trunks.get_mut(&id).expect("both are there");
            trunk.credentials =
                Some(TrunkCredentials { user: user.into(), auth_user: None, password: Secret::new("x"), realm: None });
        }
    };
    let domains = |site: &mut Site| {
        for (id, domain) in [(ONE, "one.example"), (TWO, "two.example")] {
            site.trunks.get_mut(&id).expect("both are there").from_domain = Some(domain.into());
        }
    };
    let numbers = |site: &mut Site| {
        site.inbound[0].called = Pattern::Exact("+442079460001".into());
        site.inbound[1].called = Pattern::Exact("+442079460002".into());
    };
    let nothing = |_: &mut Site| {};
    let cases: [Case<'_>; 4] = [
        (
            account,
            [
                Asking { uri: "sip:account-one@192.0.2.1", ..asking() },
                Asking { uri: "sip:account-two@192.0.2.1", ..asking() },
            ],
        ),
        (domains, [Asking { to: "<sip:1@one.example>", ..asking() }, Asking { to: "<sip:1@Two.example>", ..asking() }]),
        (
            numbers,
            [
                Asking { uri: "sip:+442079460001@192.0.2.1", ..asking() },
                Asking { uri: "sip:+442079460002@192.0.2.1", ..asking() },
            ],
        ),
        (nothing, [asking(), Asking { at: "203.0.113.1:5090", ..asking() }]),
    ];
    for (case, (change, [first, second])) in cases.into_iter().enumerate() {
        let mut w = two(change);
        first.send(&mut w, 1);
        assert!(!w.nothing_for(B) && w.nothing_for("198.51.100.30:5060"), "case {case}, the first");
        let mut w = two(change);
        second.send(&mut w, 1);
        assert!(w.nothing_for(B) && !w.nothing_for("198.51.100.30:5060"), "case {case}, the second");
    }
}

#[test]
fn a_trunks_limit_counts_calls_that_come_in_and_gives_places_back() {
    let mut w = first_trunk(|trunk| trunk.max_calls = 1);
    asking().send(&mut w, 1);
    let invite = w.take(B);
    asking().send(&mut w, 2);
    let refused = w.take_starting(P1, "SIP/2.0 503");
    assert!(!refused.has(HeaderName::RetryAfter), "the whole provider is not to stay away");
    assert_eq!(w.cdrs()[0].rule.as_deref(), Some("limit.trunk_calls"));
    w.send(B, &reply(&invite, 486, "b", "", ""));
    assert_eq!(w.take_starting(P1, "SIP/2.0 486").status(), 486);
    w.sent.clear();
    asking().send(&mut w, 3);
    assert!(first_line(&w.take(B)).starts_with("INVITE "));
    // An offer that cannot be used takes no place.
    let mut w = first_trunk(|trunk| trunk.max_calls = 1);
    Asking { sdp: sdp("203.0.113.1", 6000, "101"), ..asking() }.send(&mut w, 1);
    w.sent.clear();
    asking().send(&mut w, 2);
    assert!(first_line(&w.take(B)).starts_with("INVITE "));
}

#[test]
fn a_hidden_caller_stays_hidden_and_the_record_keeps_his_number_rfc_3325() {
    let mut w = world();
    let more = "Privacy: id\r\nP-Asserted-Identity: \"Ann\" <sip:+442079461111@provider.example>\r\n";
    Asking { from: "\"Anonymous\" <sip:anonymous@anonymous.invalid>", more, ..asking() }.send(&mut w, 1);
    let invite = w.take(B);
    assert_eq!(shown(&invite), "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
    assert!(!String::from_utf8_lossy(invite.raw()).contains("2079461111"));
    w.send(B, &reply(&invite, 486, "b", "", ""));
    assert_eq!(w.cdrs()[0].caller.reveal(), "+442079461111");
}

#[test]
fn rtp_goes_first_to_a_trunks_own_addresses_alone_call_5() {
    let answered = |far: Asking<'_>| {
        let mut w = world();
        far.send(&mut w, 1);
        let invite = w.take(B);
        w.send(B, &reply(&invite, 200, "b", &contact(), &sdp("198.51.100.20", 5000, "8 101")));
        w
    };
    assert_eq!(sends_first(&answered(asking()), "203.0.113.1"), Some(true));
    let victim = Asking { sdp: media_of("198.51.100.66:1"), ..asking() };
    assert_eq!(sends_first(&answered(victim), "198.51.100.66"), Some(false), "a forged source could have asked for it");
    let half = sdp_with("203.0.113.1", 6000, "0 8 101", "a=rtcp:6001 IN IP4 198.51.100.66\r\n");
    assert_eq!(sends_first(&answered(Asking { sdp: half, ..asking() }), "203.0.113.1"), Some(false), "nor RTCP");
}

#[test]
fn a_stranger_reaches_published_names_from_any_domain_dom_1() {
    for (n, name) in ["director", "102", "Director"].into_iter().enumerate() {
        let mut w = world();
        let uri = format!("sip:{name}@{DOMAIN}");
        let guest = Asking {
            at: STRANGER,
            uri: &uri,
            from: "\"Desk 1\" <sip:bob@other.example>",
            to: &format!("<{uri}>"),
            sdp: media_of(STRANGER),
            ..asking()
        };
        guest.send(&mut w, n as u32);
        let invite = w.take(B);
        assert_eq!(shown(&invite), "\"bob@other.example\" <sip:bob@other.example>");
        w.send(B, &reply(&invite, 200, "b", &contact(), &sdp("198.51.100.20", 5000, "8 101")));
        let ok = w.take_final(STRANGER);
        assert_eq!(ok.status(), 200);
        assert_eq!(sends_first(&w, "203.0.113.99"), Some(false), "CALL-5: an unproven guest");
        w.send_to(1, OUTSIDE, STRANGER, &guest.within("ACK", n as u32, 1, &ok));
        w.pass(Duration::from_secs(1));
        w.send_to(1, OUTSIDE, STRANGER, &guest.within("BYE", n as u32, 2, &ok));
        let bye = w.take_starting(B, "BYE ");
        w.send(B, &reply(&bye, 200, "", "", ""));
        w.report_closed();
        let record = w.cdrs()[0];
        assert_eq!((record.caller.reveal().as_str(), record.context.as_str()), ("bob@other.example", "public"));
        w.assert_empty();
    }
}

#[test]
fn whatever_else_a_stranger_asks_for_he_gets_one_and_the_same_answer_dom_4() {
    let mut w = world();
    let mut answers = Vec::new();
    let names = ["secret", "101", "103", "nobody", "user-b", "+442079460000", "112", "*97", ""];
    let uris = names.iter().map(|n| format!("sip:{n}@{DOMAIN}").replace("sip:@", "sip:"));
    for (n, uri) in uris.chain(["sip:director@other.example".to_owned(), "tel:+442079460000".to_owned()]).enumerate() {
        Asking { at: STRANGER, uri: &uri, to: "<sip:x@pbx.example>", ..asking() }.send(&mut w, n as u32);
        let answer = w.take_final(STRANGER);
        assert_eq!(answer.status(), 404, "{uri}");
        let text = String::from_utf8_lossy(answer.raw()).into_owned();
        let kept: Vec<String> = text
            .lines()
            .filter(|l| !["Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|own| l.starts_with(own)))
            .map(str::to_owned)
            .collect();
        answers.push(kept);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
    assert!(w.nothing_for(B));
    assert_eq!((w.status().calls, w.status().dialogs), (0, 0));
}

#[test]
fn strangers_never_take_the_last_call_that_a_phone_can_have() {
    let mut w = world();
    let uri = format!("sip:director@{DOMAIN}");
    for n in 1..=3 {
        Asking { at: STRANGER, uri: &uri, ..asking() }.send(&mut w, n);
        assert!(first_line(&w.take(B)).starts_with("INVITE "), "{n}");
    }
    w.sent.clear();
    Asking { at: STRANGER, uri: &uri, ..asking() }.send(&mut w, 4);
    assert_eq!(w.take_final(STRANGER).status(), 486);
    assert_eq!(w.cdrs()[0].rule.as_deref(), Some("limit.guest_calls"));
    assert_eq!(w.status().calls, 3);
}

#[test]
fn a_stranger_who_claims_to_be_of_the_house_is_nobody() {
    let mut w = world();
    let uri = format!("sip:director@{DOMAIN}");
    Asking { at: STRANGER, uri: &uri, from: "\"Boss\" <sip:101@pbx.example>", ..asking() }.send(&mut w, 1);
    assert_eq!(shown(&w.take(B)), "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
}

#[test]
fn a_route_that_refuses_says_so_with_its_status() {
    let mut w = edit(|site| {
        site.inbound.insert(0, inbound("closed", None, Pattern::Any, Destination::Reject(603)));
    });
    asking().send(&mut w, 1);
    assert_eq!(w.take_final(P1).status(), 603);
    assert_eq!(w.cdrs()[0].rule.as_deref(), Some("route.reject"));
    assert_eq!(w.cdrs()[0].trunks.from.as_deref(), Some("one"));
}

#[test]
fn a_trunk_that_is_taken_out_of_the_site_is_a_stranger_from_then_on_and_its_call_goes_on() {
    let mut w = world();
    let far = asking();
    far.send(&mut w, 1);
    let invite = w.take(B);
    let mut without = lines();
    without.trunks.clear();
    w.switch.apply_site(w.now, std::sync::Arc::new(without));
    w.pass(Duration::from_secs(1));
    asking().send(&mut w, 2);
    w.take_starting(P1, "SIP/2.0 404");
    w.send(B, &reply(&invite, 200, "b", &contact(), &sdp("198.51.100.20", 5000, "8 101")));
    let ok = w.take_starting(P1, "SIP/2.0 200");
    assert_eq!(ok.status(), 200);
    w.send_to(1, OUTSIDE, P1, &far.within("ACK", 1, 1, &ok));
    w.send_to(1, OUTSIDE, P1, &far.within("BYE", 1, 2, &ok));
    let bye = w.take_starting(B, "BYE ");
    w.send(B, &reply(&bye, 200, "", "", ""));
    w.report_closed();
    let record = *w.cdrs().last().expect("the call is recorded");
    assert_eq!((record.status, record.trunks.from.as_deref()), (200, Some("one")), "its record keeps the trunk's name");
}

/// Whatever is drawn, in every place where a request can name something.
#[test]
fn no_request_from_outside_reaches_a_trunk_or_another_domain_dom_4() {
    let mut w = edit(|site| {
        site.trunks.insert(
            TWO,
            Trunk { health_every: std::time::Duration::ZERO, ..Trunk::new(TWO, TenantId(1), "two", "sip:203.0.113.2") },
        );
        for (name, patterns) in [("all", vec![Pattern::Any]), ("emergency", vec![Pattern::Exact("112".into())])] {
            site.outbound.push(route(name, patterns, vec![TWO, ONE]));
        }
        for extension in site.extensions.values_mut() {
            extension.calling = Calling { international: true, domains: true, ..Calling::default() };
        }
    });
    let mut rng: rand::rngs::ChaCha12Rng = rand::SeedableRng::seed_from_u64(11);
    let mut draw = |from: &[&'static str]| from[rand::RngExt::random_range(&mut rng, 0..from.len())];
    let users =
        ["112", "+442079461234", "004930123456", "101", "102", "director", "secret", "*67112", "user-b", "a%40b", ""];
    let hosts =
        [DOMAIN, "192.0.2.1", "192.0.2.1:5080", "203.0.113.2", "other.example", "localhost", "203.0.113.2:5060"];
    let mut reached = 0;
    for n in 0..1_500 {
        let address = |draw: &mut dyn FnMut(&[&'static str]) -> &'static str| {
            let (user, host) = (draw(&users), draw(&hosts));
            let at = if user.is_empty() { "" } else { "@" };
            format!(
                "{}:{user}{at}{host}{}",
                draw(&["sip", "sip", "sips"]),
                draw(&["", "", ";transport=tcp", ";maddr=203.0.113.2"])
            )
        };
        let (uri, from, to) = (address(&mut draw), address(&mut draw), address(&mut draw));
        let route = format!("Route: <{};lr>\r\n", address(&mut draw));
        let identity = format!("P-Asserted-Identity: <{}>\r\n", address(&mut draw));
        let diversion = format!("Diversion: <{}>\r\n", address(&mut draw));
        let more =
            [route, identity, diversion].into_iter().filter(|_| draw(&["yes", "no"]) == "yes").collect::<String>();
        let at = draw(&[P1, STRANGER, "203.0.113.1:6060"]);
        let far = Asking {
            at,
            uri: &uri,
            from: &format!("<{from}>"),
            to: &format!("<{to}>"),
            more: &more,
            sdp: media_of(at),
        };
        far.send(&mut w, n);
        let own = [at, B].map(common::at);
        assert!(w.sent.iter().all(|s| own.contains(&s.to)), "{uri} from {at}, {more}: {:?}", w.summary());
        assert!(
            w.sent.iter().all(|s| s.to == common::at(B) || s.message.is_response()),
            "{uri} from {at}: {:?}",
            w.summary()
        );
        assert!(w.queries.is_empty(), "{uri}: {:?}", w.queries);
        while let Some(message) = w.try_take(B) {
            if message.is_request() {
                reached += 1;
                w.send(B, &reply(&message, 486, "b", "", ""));
            }
        }
        w.sent.clear();
    }
    assert!(reached > 20, "some of it does reach the phone: {reached}");
}

#[test]
fn a_diversion_is_shown_and_noted_where_the_trunk_tells_it_so_and_crosses_nowhere_else() {
    const FIELDS: &str = "Diversion: \"Ann\" <sip:02079460777@10.1.2.3>;reason=no-answer;counter=2\r\n\
        History-Info: <sip:02079460888@10.1.2.3>;index=1, <sip:1@10.1.2.3;cause=302>;index=1.1\r\n";
    use DiversionForm as F;
    for (form, number, reason) in [
        (F::None, "", ""),
        (F::Diversion, "+442079460777", "no-answer"),
        (F::HistoryInfo, "+442079460888", "unconditional"),
    ] {
        let mut w = first_trunk(|trunk| trunk.headers.diverted = form);
        Asking { more: FIELDS, ..asking() }.send(&mut w, 1);
        let invite = w.take(B);
        let told = invite.header_str(HeaderName::Diversion).map(|value| value.into_owned());
        let expected = format!("<sip:{number}@{DOMAIN}>;reason={reason};counter=1");
        assert_eq!(told, (form != F::None).then_some(expected), "{form:?}");
        assert!(invite.header(HeaderName::HistoryInfo).is_none());
        assert!(!String::from_utf8_lossy(invite.raw()).contains("10.1.2.3"));
        w.send(B, &reply(&invite, 486, "b", "", ""));
        let note = w.cdrs()[0].more.diverted.as_ref();
        let noted = note.map(|note| (note.by.reveal().as_str(), note.reason.as_str()));
        assert_eq!(noted, (form != F::None).then_some((number, reason)));
    }
}

#[test]
fn a_trunks_caller_who_claims_a_number_or_name_of_the_house_is_shown_as_nobody() {
    for (claimed, shows) in [
        ("\"Desk 1\" <sip:101@203.0.113.1>", "\"Anonymous\" <sip:anonymous@anonymous.invalid>"),
        ("\"Boss\" <sip:Director@203.0.113.1>", "\"Anonymous\" <sip:anonymous@anonymous.invalid>"),
        ("\"Ann\" <sip:1010@203.0.113.1>", "\"Ann\" <sip:1010@pbx.example>"),
    ] {
        let mut w = world();
        Asking { from: claimed, ..asking() }.send(&mut w, 1);
        assert_eq!(shown(&w.take(B)), shows, "{claimed}");
        let said = w.notices.iter().any(|notice| notice.rule == "trunk.claims_extension");
        assert_eq!(said, shows.contains("anonymous"), "{claimed}");
    }
}

#[test]
fn of_trunks_at_one_address_a_call_is_for_the_one_that_names_its_number_and_not_for_one_that_takes_all() {
    let any = inbound("all", Some(ONE), Pattern::Any, Destination::Extension("101".into()));
    let country = inbound("country", Some(ONE), Pattern::Prefix("+44".into()), Destination::Extension("101".into()));
    for first in [any, country] {
        let mut w = edit(|site| {
            site.trunks.insert(TWO, Trunk { id: TWO, name: "two".into(), ..site.trunks[&ONE].clone() });
            let did = Pattern::Exact("+442079460000".into());
            site.inbound = vec![first.clone(), inbound("did", Some(TWO), did, Destination::Extension("102".into()))];
        });
        asking().send(&mut w, 1);
        let invite = w.take_starting(B, "INVITE");
        w.send(B, &reply(&invite, 486, "b", "", ""));
        assert_eq!(w.cdrs()[0].trunks.from.as_deref(), Some("two"), "{}", first.name);
    }
}
