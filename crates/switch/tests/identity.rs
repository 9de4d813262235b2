//! Signed caller numbers on calls of trunks (GUARD-12): judged before anything rings, refused where that is asked for, signed
//! where a call leaves. Certificates are made here, and fetched by the test.

mod common;
#[path = "../../stir/tests/common/mod.rs"]
mod stir;

use std::time::Duration;

use common::*;
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_stir::{Fetch, FetchFailure, Identity, Settings, Signer, Verifier};
use ringfort_switch::identity::Stir;
use ringfort_switch::model::*;
use ringfort_switch::record::{Cdr, EndCause};
use stir::{Authority, CALLED, CALLER, Holder, URL, outgoing};

const PROVIDER: &str = "203.0.113.1:5060";
const DESK: &str = "198.51.100.11:5060";
const A: &str = "198.51.100.10:5060";

fn house(verify: VerifyIdentity) -> Site {
    let mut site = site();
    site.tenants[0].numbers = NumberPlan {
        country: "1".into(),
        international_prefix: "011".into(),
        national_prefix: "1".into(),
        ..NumberPlan::default()
    };
    let trunk = Trunk {
        health_every: Duration::ZERO,
        verify_identity: verify,
        caller_id: Some(format!("+{CALLER}")),
        ..Trunk::new(TrunkId(1), TenantId(1), "one", "sip:203.0.113.1")
    };
    site.trunks.insert(TrunkId(1), trunk);
    site.outbound.push(route("out", vec![Pattern::Any], vec![TrunkId(1)]));
    site.inbound.push(inbound_to("102"));
    site
}

struct Signed {
    w: World,
    root: Authority,
    holder: Holder,
    n: u32,
}

fn signed(verify: VerifyIdentity) -> Signed {
    let root = Authority::root();
    let holder = root.issue(|params| params.custom_extensions.push(stir::one(CALLER)));
    let mut w = World::at(stir::UNIX * 1000, config(), house(verify));
    let signer = Signer::new(&holder.key, URL, Some(holder.chain.as_bytes())).unwrap();
    w.switch.set_stir(Stir {
        verifier: Some(Verifier::new(Settings::default(), root.anchors())),
        signer: Some(signer),
        card_url: None,
    });
    w.pass(Duration::ZERO);
    w.register("user-b", DESK);
    w.register("user-a", A);
    Signed { w, root, holder, n: 0 }
}

impl Signed {
    /// The provider calls, with that Identity header field.
    fn call(&mut self, from: &str, identity: Option<&str>) {
        self.n += 1;
        let n = self.n;
        let identity = identity.map(|value| format!("Identity: {value}\r\n")).unwrap_or_default();
        let text = format!(
            "INVITE sip:+{CALLED}@192.0.2.1:5080 SIP/2.0\r\nVia: SIP/2.0/UDP {PROVIDER};branch=z9hG4bKi{n};rport\r\n\
             From: <sip:{from}@203.0.113.1>;tag=i{n}\r\nTo: <sip:+{CALLED}@192.0.2.1>\r\nCall-ID: i{n}\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:gw@{PROVIDER}>\r\nMax-Forwards: 70\r\n{identity}Content-Type: application/sdp\r\n\r\n{}",
            sdp("203.0.113.1", 6000, "0 8")
        );
        self.w.send_to(1, OUTSIDE, PROVIDER, &text);
    }

    fn identity(&self) -> String {
        let unix = ringfort_stir::UnixTime(stir::UNIX);
        self.holder.signer().sign(unix, &outgoing()).unwrap().to_string()
    }

    /// The certificate that was asked for comes, or does not.
    fn fetched(&mut self, fetch: Fetch) {
        let query = self.w.fetches.pop().expect("a certificate was asked for");
        assert_eq!(query.url, URL);
        self.w.fetched(query.id, fetch);
    }

    fn certificate(&self) -> Fetch {
        stir::body(&self.holder.chain)
    }

    fn rung(&mut self) -> Message {
        self.w.take_starting(DESK, "INVITE")
    }

    fn last(&self) -> Cdr {
        (*self.w.cdrs().last().expect("a record")).clone()
    }
}

#[test]
fn a_call_waits_for_its_verdict_and_the_phone_and_the_record_are_told() {
    let mut s = signed(VerifyIdentity::Note);
    let identity = s.identity();
    s.call(&format!("+{CALLER}"), Some(&identity));
    assert!(s.w.nothing_for(DESK), "nothing rings before");
    assert_eq!(s.w.take(PROVIDER).status(), 100);
    s.fetched(s.certificate());
    let invite = s.rung();
    let from = invite.header_str(HeaderName::From).unwrap().into_owned();
    assert!(from.contains(&format!("sip:+{CALLER};verstat=TN-Validation-Passed@pbx.example")), "{from}");
    assert!(invite.header(HeaderName::Identity).is_none(), "what the provider signed stays on his side");
    s.w.send(DESK, &reply(&invite, 486, "b", "", ""));
    s.w.take_final(PROVIDER);
    let note = s.last().more.identity.expect("a verdict");
    assert_eq!(
        (note.verstat.as_deref(), note.rule.as_str(), note.attest.as_deref()),
        (Some("TN-Validation-Passed"), "stir.passed", Some("A"))
    );
    // The certificate is remembered: the next call waits for nobody.
    let identity = s.identity();
    s.call(&format!("1{}", &CALLER[1..]), Some(&identity));
    assert!(s.w.fetches.is_empty());
    assert!(s.rung().header_str(HeaderName::From).unwrap().contains("TN-Validation-Passed"), "in national form too");
}

#[test]
fn a_number_that_was_signed_for_another_caller_is_told_or_refused_as_the_trunk_wants() {
    for (verify, status) in
        [(VerifyIdentity::Note, None), (VerifyIdentity::Require, Some(438)), (VerifyIdentity::Off, None)]
    {
        let mut s = signed(verify);
        let identity = s.identity();
        s.call("+12155559999", Some(&identity));
        assert!(s.w.fetches.is_empty(), "nothing is fetched for what cannot be true");
        match status {
            Some(status) => {
                let answer = s.w.take_final(PROVIDER);
                assert_eq!(answer.status(), status);
                assert!(first_line(&answer).contains("Invalid Identity Header"), "{}", first_line(&answer));
                assert_eq!(s.last().rule.as_deref(), Some("stir.origin"));
                assert!(s.w.nothing_for(DESK));
            }
            None => {
                let from = s.rung().header_str(HeaderName::From).unwrap().into_owned();
                assert_eq!(from.contains("verstat=TN-Validation-Failed"), verify == VerifyIdentity::Note, "{from}");
            }
        }
    }
}

/// What is done, and the status, the phrase and the rule of the refusal.
type Case = (fn(&mut Signed), u16, &'static str, &'static str);

#[test]
fn where_a_signature_is_required_each_failure_has_the_answer_of_rfc_8224() {
    let cases: [Case; 4] = [
        (|s| s.call(&format!("+{CALLER}"), None), 428, "Use Identity Header", "stir.absent"),
        (
            |s| {
                s.w.pass(Duration::from_secs(61));
                let identity = s.identity();
                s.call(&format!("+{CALLER}"), Some(&identity));
            },
            403,
            "Stale Date",
            "stir.stale",
        ),
        (
            |s| {
                let identity = s.identity();
                s.call(&format!("+{CALLER}"), Some(&identity));
                s.fetched(Fetch::Failed(FetchFailure::Status(404)));
            },
            436,
            "Bad Identity Info",
            "stir.fetch",
        ),
        (
            |s| {
                let identity = s.identity();
                s.call(&format!("+{CALLER}"), Some(&identity));
                // Of somebody whom nobody here believes.
                let other = Authority::root().issue(|params| params.custom_extensions.push(stir::one(CALLER)));
                s.fetched(stir::body(&other.chain));
            },
            437,
            "Unsupported Credential",
            "stir.untrusted",
        ),
    ];
    for (act, status, phrase, rule) in cases {
        let mut s = signed(VerifyIdentity::Require);
        act(&mut s);
        let answer = s.w.take_final(PROVIDER);
        assert_eq!((answer.status(), first_line(&answer).contains(phrase)), (status, true), "{}", first_line(&answer));
        assert_eq!(s.last().rule.as_deref(), Some(rule));
        let note = s.last().more.identity.expect("a verdict");
        assert_eq!(note.rule, rule);
        assert!(s.root.pem.len() > 10);
    }
}

#[test]
fn a_certificate_that_never_comes_holds_a_call_for_two_seconds_and_a_caller_who_gives_up_is_let_go() {
    let mut s = signed(VerifyIdentity::Note);
    let identity = s.identity();
    s.call(&format!("+{CALLER}"), Some(&identity));
    s.w.pass(Duration::from_millis(1900));
    assert!(s.w.nothing_for(DESK));
    s.w.pass(Duration::from_millis(200));
    assert!(s.rung().header_str(HeaderName::From).unwrap().contains("TN-Validation-Failed"));

    let mut s = signed(VerifyIdentity::Note);
    let identity = s.identity();
    s.call(&format!("+{CALLER}"), Some(&identity));
    s.w.send_to(
        1,
        OUTSIDE,
        PROVIDER,
        &format!(
            "CANCEL sip:+{CALLED}@192.0.2.1:5080 SIP/2.0\r\nVia: SIP/2.0/UDP {PROVIDER};branch=z9hG4bKi1;rport\r\n\
             From: <sip:+{CALLER}@203.0.113.1>;tag=i1\r\nTo: <sip:+{CALLED}@192.0.2.1>\r\nCall-ID: i1\r\nCSeq: 1 CANCEL\r\n\
             Max-Forwards: 70\r\n\r\n"
        ),
    );
    s.w.take_starting(PROVIDER, "SIP/2.0 487");
    assert_eq!((s.last().status, s.last().cause), (487, Some(EndCause::Cancelled)));
    // What comes now serves the next call and nobody else.
    s.fetched(s.certificate());
    s.w.pass(Duration::from_secs(40));
    assert!(s.w.nothing_for(DESK));
    assert!(s.w.switch.is_idle());
}

#[test]
fn a_verdict_chooses_the_inbound_route() {
    let mut s = signed(VerifyIdentity::Note);
    let mut site = house(VerifyIdentity::Note);
    site.revision = 2;
    let doubted = InboundRoute {
        name: "doubted".into(),
        identity: vec![Verified::Failed, Verified::None],
        to: Destination::Reject(603),
        ..site.inbound[0].clone()
    };
    site.inbound.insert(0, doubted);
    s.w.apply(site);
    s.call(&format!("+{CALLER}"), None);
    assert_eq!(s.w.take_final(PROVIDER).status(), 603);
    let identity = s.identity();
    s.call("+12155559999", Some(&identity));
    assert_eq!(s.w.take_final(PROVIDER).status(), 603);
    s.call(&format!("+{CALLER}"), Some(&identity));
    s.fetched(s.certificate());
    s.rung();
}

#[test]
fn a_call_that_leaves_is_signed_for_its_caller_and_is_believed() {
    let mut s = signed(VerifyIdentity::Off);
    s.w.invite("user-a", A, &format!("1{}", &CALLED[1..]), &sdp("198.51.100.10", 4000, "0 8"), "");
    let invite = s.w.take_starting(PROVIDER, "INVITE");
    let identity = invite.header_str(HeaderName::Identity).expect("signed").into_owned();
    assert!(Identity::parse(&identity).is_ok() && identity.contains("ppt=shaken"), "{identity}");
    let date = invite.header_str(HeaderName::Date).expect("a date").into_owned();
    let text = |name| invite.header_str(name).unwrap().into_owned();
    let (from, asserted, to) = (text(HeaderName::From), text(HeaderName::PAssertedIdentity), text(HeaderName::To));
    let identities = [identity.as_str()];
    let question = ringfort_stir::Question {
        from: &from,
        asserted: Some(&asserted),
        to: &to,
        request_uri: invite.request_uri(),
        date: Some(&date),
        ..stir::question(&identities)
    };
    let mut verifier = Verifier::new(Settings::default(), s.root.anchors());
    let chain = s.holder.chain.clone();
    let verdict = stir::verdict(&mut verifier, stir::now(), &question, |_| stir::body(&chain));
    let passed = verdict.passed().unwrap_or_else(|| panic!("{verdict}"));
    assert_eq!((passed.attestation.map(|a| a.as_str()), passed.orig.clone()), (Some("A"), stir::tn(CALLER)));
    s.w.send_to(1, OUTSIDE, PROVIDER, &reply(&invite, 486, "x", "", ""));
    assert_eq!(s.last().more.identity.map(|note| note.rule).as_deref(), Some("stir.signed"));

    let mut unsigned = house(VerifyIdentity::Off);
    unsigned.trunks.get_mut(&TrunkId(1)).unwrap().sign_identity = false;
    unsigned.revision = 2;
    s.w.apply(unsigned);
    s.w.sent.clear();
    s.w.invite("user-a", A, &format!("1{}", &CALLED[1..]), &sdp("198.51.100.10", 4000, "0 8"), "");
    assert!(s.w.take_starting(PROVIDER, "INVITE").header(HeaderName::Identity).is_none());
}

#[test]
fn keys_that_are_read_again_judge_the_calls_that_wait_and_sign_the_next_ones() {
    let mut s = signed(VerifyIdentity::Require);
    let identity = s.identity();
    s.call(&format!("+{CALLER}"), Some(&identity));
    // The authority is not believed any more.
    let other = Authority::root();
    let renewed = other.issue(|params| params.custom_extensions.push(stir::one(CALLER)));
    let stir_of = |holder: &Holder, root: &Authority| {
        let signer = Signer::new(&holder.key, URL, Some(holder.chain.as_bytes())).unwrap();
        let verifier = Verifier::new(Settings::default(), root.anchors());
        Stir { verifier: Some(verifier), signer: Some(signer), card_url: None }
    };
    s.w.switch.follow_stir(stir_of(&renewed, &other));
    s.fetched(s.certificate());
    assert_eq!(s.w.take_final(PROVIDER).status(), 437, "judged once, by what is believed now");
    // What was kept of the certificate is forgotten with the authorities that it was looked up among.
    s.w.switch.follow_stir(stir_of(&renewed, &s.root));
    s.w.sent.clear();
    s.call(&format!("+{CALLER}"), Some(&identity));
    s.fetched(s.certificate());
    s.rung();

    s.w.sent.clear();
    s.w.invite("user-a", A, &format!("1{}", &CALLED[1..]), &sdp("198.51.100.10", 4000, "0 8"), "");
    let invite = s.w.take_starting(PROVIDER, "INVITE");
    let identity = invite.header_str(HeaderName::Identity).expect("signed").into_owned();
    let mut verifier = Verifier::new(Settings::default(), other.anchors());
    let text = |name| invite.header_str(name).unwrap().into_owned();
    let (from, to, date) = (text(HeaderName::From), text(HeaderName::To), text(HeaderName::Date));
    let identities = [identity.as_str()];
    let question = ringfort_stir::Question {
        from: &from,
        to: &to,
        request_uri: invite.request_uri(),
        date: Some(&date),
        ..stir::question(&identities)
    };
    let verdict = stir::verdict(&mut verifier, stir::now(), &question, |_| stir::body(&renewed.chain));
    assert!(verdict.passed().is_some(), "{verdict}");
}

#[test]
fn a_hidden_caller_is_not_signed_for_everybody_to_read_rfc_8224_section_11() {
    let mut s = signed(VerifyIdentity::Off);
    s.w.invite("user-a", A, &format!("*671{}", &CALLED[1..]), &sdp("198.51.100.10", 4000, "0 8"), "");
    let invite = s.w.take_starting(PROVIDER, "INVITE");
    assert_eq!(invite.header_str(HeaderName::Privacy).as_deref(), Some("id"));
    assert!(invite.header(HeaderName::Identity).is_none());
}

#[test]
fn where_a_signature_is_required_and_nothing_is_there_to_judge_it_by_the_call_is_refused() {
    let mut s = signed(VerifyIdentity::Require);
    s.w.switch.set_stir(Stir::default());
    let identity = s.identity();
    s.call(&format!("+{CALLER}"), Some(&identity));
    assert_eq!(s.w.take_final(PROVIDER).status(), 503);
    assert_eq!(s.last().rule.as_deref(), Some("stir.no-trust"));
    assert!(s.w.nothing_for(DESK));
}
