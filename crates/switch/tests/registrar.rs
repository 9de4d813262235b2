//! The registrar as a phone sees it.

mod common;

use std::time::Duration;

use common::*;
use ringfort_sip::header::HeaderName;
use ringfort_switch::io::{Command, CommandReply};
use ringfort_switch::model::{CallId, Extension, ExtensionId, Secret, SipCredentials, Site, Tenant, TenantId};
use ringfort_switch::record::{Binding, JournalRecord};

const PHONE: &str = "198.51.100.10:5060";
const OTHER: &str = "198.51.100.11:5060";

fn contacts(message: &ringfort_sip::message::Message) -> Vec<String> {
    message.headers(HeaderName::Contact).map(|v| String::from_utf8_lossy(v).into_owned()).collect()
}

#[test]
fn a_phone_registers_after_a_challenge_and_sees_its_contact_rfc_3261_section_10_3() {
    let mut w = World::new();
    let ok = w.register("user-a", PHONE);
    assert_eq!(ok.status(), 200);
    assert_eq!(contacts(&ok), [format!("<sip:user-a@{PHONE}>;expires=600")]);
    assert!(ok.has(HeaderName::Date));
    assert!(matches!(&w.journal[..], [JournalRecord::Bound(b)] if b.contact == format!("sip:user-a@{PHONE}")));
}

#[test]
fn the_challenge_offers_the_algorithms_in_the_order_configured() {
    let mut w = World::new();
    w.send(PHONE, &format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK1\r\nFrom: <sip:x@{DOMAIN}>;tag=1\r\n\
         To: <sip:x@{DOMAIN}>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n\r\n"));
    let challenge = w.take(PHONE);
    let offers: Vec<String> =
        challenge.headers(HeaderName::WwwAuthenticate).map(|v| String::from_utf8_lossy(v).into_owned()).collect();
    assert_eq!(offers.len(), 2);
    assert!(offers[0].contains("algorithm=SHA-256") && offers[1].contains("algorithm=MD5"), "{offers:?}");
}

#[test]
fn real_and_invented_users_get_the_same_challenge_but_for_nonce_and_tags_guard_10() {
    let shape = |user: &str| {
        let mut w = World::new();
        w.send(PHONE, &format!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK1\r\nFrom: <sip:u@{DOMAIN}>;tag=1\r\n\
             To: <sip:u@{DOMAIN}>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n\r\n"));
        let challenge = w.take(PHONE);
        let auth = w.answer_to(&challenge, user, "REGISTER", &format!("sip:{DOMAIN}")).replace("pw of", "wrong");
        w.send(PHONE, &format!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK2\r\nFrom: <sip:u@{DOMAIN}>;tag=1\r\n\
             To: <sip:u@{DOMAIN}>\r\nCall-ID: 1\r\nCSeq: 2 REGISTER\r\nMax-Forwards: 70\r\n{}\r\n",
            auth.replace("response=\"", "response=\"0")));
        let raw = String::from_utf8_lossy(w.take(PHONE).raw()).into_owned();
        let nonce = raw.split("nonce=\"").nth(1).and_then(|r| r.split('"').next()).expect("a nonce").to_owned();
        let tag = raw.split("To: ").nth(1).and_then(|r| r.split(";tag=").nth(1)).and_then(|r| r.split("\r\n").next());
        raw.replace(&nonce, "NONCE").replace(tag.expect("a To tag"), "TAG")
    };
    assert_eq!(shape("user-a"), shape("nobody"));
}

#[test]
fn a_contact_shorter_than_the_bound_is_refused_with_423_rfc_3261_section_10_3() {
    let mut w = World::new();
    let refused = w.register_with("user-a", PHONE, &format!("<sip:user-a@{PHONE}>;expires=30"), "");
    assert_eq!(refused.status(), 423);
    assert_eq!(refused.header_str(HeaderName::MinExpires).as_deref(), Some("60"));
    assert_eq!(w.status().registrations, 0);
}

#[test]
fn a_contact_longer_than_the_bound_is_shortened() {
    let mut w = World::new();
    let ok = w.register_with("user-a", PHONE, &format!("<sip:user-a@{PHONE}>;expires=999999"), "");
    assert_eq!(contacts(&ok), [format!("<sip:user-a@{PHONE}>;expires=7200")]);
}

#[test]
fn a_register_without_contact_lists_what_there_is_rfc_3261_section_10_2_3() {
    let mut w = World::new();
    w.register("user-a", PHONE);
    let fetched = w.register_with("user-a", OTHER, "<sip:gone@198.51.100.11>;expires=0", "");
    assert_eq!(contacts(&fetched), [format!("<sip:user-a@{PHONE}>;expires=600")]);
}

#[test]
fn the_wildcard_removes_all_contacts_and_wants_expires_0_rfc_3261_section_10_2_2() {
    let mut w = World::new();
    w.register("user-a", PHONE);
    w.register_with("user-a", OTHER, &format!("<sip:user-a@{OTHER}>"), "Expires: 600\r\n");
    assert_eq!(w.status().registrations, 2);
    assert_eq!(w.register_with("user-a", PHONE, "*", "Expires: 600\r\n").status(), 400);
    assert_eq!(w.status().registrations, 2);
    let ok = w.register_with("user-a", PHONE, "*", "Expires: 0\r\n");
    assert_eq!((ok.status(), contacts(&ok).len()), (200, 0));
    assert_eq!(w.status().registrations, 0);
}

#[test]
fn a_phone_with_an_instance_replaces_its_own_flow_rfc_5626_section_6() {
    let mut w = World::new();
    let contact = |from: &str| format!("<sip:user-a@{from}>;+sip.instance=\"<urn:uuid:1>\";reg-id=1");
    w.register_with("user-a", PHONE, &contact(PHONE), "Supported: path, outbound\r\n");
    let ok = w.register_with("user-a", OTHER, &contact(OTHER), "Supported: path, outbound\r\n");
    assert_eq!(contacts(&ok).len(), 1);
    assert!(contacts(&ok)[0].contains(OTHER));
    assert_eq!(ok.header_str(HeaderName::Require).as_deref(), Some("outbound"));
}

#[test]
fn the_public_gruu_names_the_instance_rfc_5627_section_5_3() {
    let mut w = World::new();
    let contact = format!("<sip:user-a@{PHONE}>;+sip.instance=\"<urn:uuid:1>\"");
    let ok = w.register_with("user-a", PHONE, &contact, "Supported: gruu\r\n");
    assert!(contacts(&ok)[0].contains(&format!("pub-gruu=\"sip:101@{DOMAIN};gr=urn:uuid:1\"")), "{:?}", contacts(&ok));
}

#[test]
fn an_extension_cannot_register_another_ones_address() {
    let mut w = World::new();
    let to = format!("sip:102@{DOMAIN}");
    w.send(PHONE, &format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK1\r\nFrom: <{to}>;tag=1\r\nTo: <{to}>\r\n\
         Call-ID: 1\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\nContact: <sip:x@{PHONE}>\r\n\r\n"));
    let challenge = w.take(PHONE);
    let auth = w.answer_to(&challenge, "user-a", "REGISTER", &format!("sip:{DOMAIN}"));
    w.send(PHONE, &format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK2\r\nFrom: <{to}>;tag=1\r\nTo: <{to}>\r\n\
         Call-ID: 1\r\nCSeq: 2 REGISTER\r\nMax-Forwards: 70\r\nContact: <sip:x@{PHONE}>\r\n{auth}\r\n"));
    assert_eq!(w.take(PHONE).status(), 403);
    assert!(w.notices.iter().any(|n| n.rule == "registrar.address"));
}

#[test]
fn a_contact_that_is_our_own_address_is_refused() {
    let mut w = World::new();
    assert_eq!(w.register_with("user-a", PHONE, &format!("<sip:user-a@{INSIDE}>"), "").status(), 403);
}

#[test]
fn nobody_registers_on_an_external_profile_guard_2() {
    let mut w = World::new();
    w.send_to(1, OUTSIDE, PHONE, &format!(
        "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {PHONE};branch=z9hG4bK1\r\nFrom: <sip:user-a@{DOMAIN}>;tag=1\r\n\
         To: <sip:user-a@{DOMAIN}>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\nMax-Forwards: 70\r\n\r\n"));
    assert_eq!(w.take(PHONE).status(), 403);
}

#[test]
fn the_oldest_contact_makes_room_where_an_extension_has_as_many_as_it_may() {
    let mut w = World::new();
    for i in 1..=4 {
        w.register_with("user-a", PHONE, &format!("<sip:p{i}@198.51.100.10>;expires={}", 600 + i), "");
    }
    let CommandReply::Registrations { items } =
        w.command(Command::Registrations { tenant: None, number: Some("101".into()) })
    else {
        panic!("registrations give registrations");
    };
    let kept: Vec<&str> = items.iter().map(|i| i.contact.as_str()).collect();
    assert_eq!(kept, ["sip:p2@198.51.100.10", "sip:p3@198.51.100.10", "sip:p4@198.51.100.10"]);
}

#[test]
fn a_registration_ends_when_it_is_not_refreshed() {
    let mut w = World::new();
    w.register("user-a", PHONE);
    w.pass(Duration::from_secs(599));
    assert_eq!(w.status().registrations, 1);
    w.pass(Duration::from_secs(10));
    assert_eq!(w.status().registrations, 0);
}

#[test]
fn the_path_of_an_edge_proxy_is_the_route_of_calls_rfc_3327() {
    let mut w = World::new();
    let ok = w.register_with(
        "user-b",
        OTHER,
        "<sip:user-b@10.1.1.1:5060>",
        "Path: <sip:edge.example;lr>\r\nSupported: path\r\n",
    );
    assert!(ok.has(HeaderName::Path));
    w.register("user-a", PHONE);
    w.invite("user-a", PHONE, "102", &sdp("198.51.100.10", 4000, "0"), "");
    let invite = w.take(OTHER);
    assert_eq!(invite.request_uri(), "sip:user-b@10.1.1.1:5060");
    assert_eq!(invite.header_str(HeaderName::Route).as_deref(), Some("<sip:edge.example;lr>"));
}

#[test]
fn calls_to_a_phone_behind_nat_go_to_where_it_registered_from() {
    let mut w = World::new();
    w.register_with("user-b", OTHER, "<sip:user-b@10.1.1.1:5060>", "");
    w.register("user-a", PHONE);
    w.invite("user-a", PHONE, "102", &sdp("198.51.100.10", 4000, "0"), "");
    assert_eq!(w.take(OTHER).request_uri(), "sip:user-b@10.1.1.1:5060");
}

#[test]
fn bindings_that_the_journal_kept_ring_after_a_restart_run_1() {
    let mut before = World::new();
    before.register("user-b", OTHER);
    let bindings = before
        .journal
        .iter()
        .filter_map(|r| if let JournalRecord::Bound(b) = r { Some(b.clone()) } else { None })
        .collect();
    let mut after = World::new();
    after.switch.restore(after.now, bindings, ringfort_switch::model::CallId(40));
    after.register("user-a", PHONE);
    after.invite("user-a", PHONE, "102", &sdp("198.51.100.10", 4000, "0"), "");
    assert_eq!(after.take(OTHER).request_uri(), format!("sip:user-b@{OTHER}"));
    let started =
        after.journal.iter().find_map(|r| if let JournalRecord::CallStarted(c) = r { Some(c.call.0) } else { None });
    assert!(started.is_some_and(|id| id >= 40), "call ids go on from those before");
}

#[test]
fn a_changed_password_and_a_removed_extension_take_effect_with_the_next_revision() {
    let mut w = World::new();
    w.register("user-b", OTHER);
    let mut next = site();
    next.extensions.remove(&ringfort_switch::model::ExtensionId(2));
    w.switch.apply_site(w.now, std::sync::Arc::new(next));
    assert_eq!(w.status().registrations, 0);
    assert_eq!(w.status().extensions, 2);
}

#[test]
fn more_contacts_than_an_extension_may_have_are_refused_at_once() {
    let mut w = World::new();
    let many: Vec<String> = (0..50).map(|i| format!("<sip:x@198.51.100.10:{}>", 6000 + i)).collect();
    assert_eq!(w.register_with("user-a", PHONE, &many.join(", "), "").status(), 403);
    assert_eq!(w.status().registrations, 0);
}

#[test]
fn overlong_fields_of_a_registration_are_refused() {
    let mut w = World::new();
    let instance = format!("<sip:user-a@{PHONE}>;+sip.instance=\"<urn:uuid:{}>\"", "a".repeat(200));
    assert_eq!(w.register_with("user-a", PHONE, &instance, "").status(), 400);
    let path = format!("Path: <sip:{}.example;lr>\r\n", "p".repeat(1500)).repeat(2);
    assert_eq!(w.register_with("user-a", PHONE, &format!("<sip:user-a@{PHONE}>"), &path).status(), 400);
    assert_eq!(w.status().registrations, 0);
}

#[test]
fn a_short_registration_is_not_pushed_out_by_the_older_ones_it_stands_beside() {
    let mut w = World::new();
    for i in 1..=3 {
        w.register_with("user-a", PHONE, &format!("<sip:p{i}@198.51.100.10>;expires=3600"), "");
    }
    let ok = w.register_with("user-a", PHONE, "<sip:new@198.51.100.10>;expires=60", "");
    assert!(contacts(&ok).iter().any(|c| c.contains("sip:new@")), "{:?}", contacts(&ok));
    assert_eq!(contacts(&ok).len(), 3);
}

#[test]
fn a_phone_with_the_old_password_does_not_ring_after_the_password_was_changed() {
    let mut w = World::new();
    w.register("user-b", OTHER);
    let mut next = site();
    let extension = next.extensions.get_mut(&ringfort_switch::model::ExtensionId(2)).expect("it is there");
    extension.credentials.password = ringfort_switch::model::Secret::new("another one altogether");
    w.switch.apply_site(w.now, std::sync::Arc::new(next));
    assert_eq!(w.status().registrations, 0);
}

#[test]
fn a_password_that_was_changed_while_the_system_was_down_lets_the_old_one_ring_no_more() {
    let mut before = World::new();
    before.register("user-a", PHONE);
    before.register("user-b", OTHER);
    let bound = |r: &JournalRecord| if let JournalRecord::Bound(b) = r { Some(b.clone()) } else { None };
    let bindings: Vec<_> = before.journal.iter().filter_map(bound).collect();
    assert!(bindings.iter().all(|b| b.credentials != 0));
    let mut next = site();
    let extension = next.extensions.get_mut(&ringfort_switch::model::ExtensionId(2)).expect("it is there");
    extension.credentials.password = ringfort_switch::model::Secret::new("another one altogether");
    let mut after = World::with(config(), next.clone());
    after.switch.restore(after.now, bindings.clone(), ringfort_switch::model::CallId(1));
    assert_eq!(after.status().registrations, 1);
    // What a journal of before this was known says is believed.
    let old = bindings.into_iter().map(|b| ringfort_switch::record::Binding { credentials: 0, ..b }).collect();
    let mut after = World::with(config(), next);
    after.switch.restore(after.now, old, ringfort_switch::model::CallId(1));
    assert_eq!(after.status().registrations, 2);
}

#[test]
fn phones_still_get_in_when_the_first_domain_of_their_tenant_has_changed() {
    let mut w = World::new();
    w.register("user-a", PHONE);
    let mut next = site();
    next.tenants[0].domains = vec!["new.example".into(), DOMAIN.into()];
    w.switch.apply_site(w.now, std::sync::Arc::new(next));
    assert_eq!(w.register("user-a", PHONE).status(), 200);
}

#[test]
fn a_binding_comes_back_on_the_listener_with_its_transport_and_address() {
    let mut before = World::new();
    before.register("user-b", OTHER);
    let bindings: Vec<_> = before
        .journal
        .iter()
        .filter_map(|r| if let JournalRecord::Bound(b) = r { Some(b.clone()) } else { None })
        .collect();
    let mut moved = config();
    moved.listeners.remove(0);
    for (i, l) in moved.listeners.iter_mut().enumerate() {
        l.sip.id = ringfort_sip::flow::ListenerId(i as u16);
    }
    let mut after = World::with(moved, site());
    after.switch.restore(after.now, bindings, ringfort_switch::model::CallId(1));
    assert_eq!(after.status().registrations, 0, "its listener is gone");
}

/// The `temp-gruu` in a 200.
fn temporary(ok: &ringfort_sip::message::Message) -> String {
    let contact = contacts(ok).into_iter().find(|c| c.contains("temp-gruu")).expect("a contact with one");
    let value = contact.split("temp-gruu=\"").nth(1).and_then(|rest| rest.split('"').next());
    value.expect("an address in quotes").to_owned()
}

/// A REGISTER of user-a with an instance under that Call-ID.
fn register_instance(w: &mut World, from: &str, call_id: &str, cseq: u32) -> ringfort_sip::message::Message {
    register_instance_for(w, from, call_id, cseq, 1, 600)
}

/// The same with an instance of that number, for that many seconds.
fn register_instance_for(
    w: &mut World,
    from: &str,
    call_id: &str,
    cseq: u32,
    instance: u32,
    expires: u32,
) -> ringfort_sip::message::Message {
    let request = |cseq: u32, auth: &str| {
        format!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKg{call_id}{cseq};rport\r\n\
             From: <sip:user-a@{DOMAIN}>;tag=g\r\nTo: <sip:user-a@{DOMAIN}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:user-a@{from}>;+sip.instance=\"<urn:uuid:{instance}>\"\r\nSupported: gruu\r\nExpires: {expires}\r\nMax-Forwards: 70\r\n{auth}\r\n"
        )
    };
    w.sent.clear();
    w.send(from, &request(cseq, ""));
    let challenge = w.take(from);
    let auth = w.answer_to(&challenge, "user-a", "REGISTER", &format!("sip:{DOMAIN}"));
    w.send(from, &request(cseq + 1, &auth));
    w.take(from)
}

/// What user-b hears who calls that address; 100 where a phone rings.
fn call_to(w: &mut World, uri: &str, n: u32) -> u16 {
    const CALLER: &str = "198.51.100.99:5060";
    w.sent.clear();
    w.send(CALLER, &invite(uri, "user-b", CALLER, &format!("t{n}"), 1, &format!("z9hG4bKt{n}x1"), "", "", ""));
    let challenge = w.take(CALLER);
    let auth = w.answer_to(&challenge, "user-b", "INVITE", uri);
    w.send(CALLER, &invite(uri, "user-b", CALLER, &format!("t{n}"), 2, &format!("z9hG4bKt{n}x2"), &auth, "", ""));
    w.take(CALLER).status()
}

#[test]
fn a_temporary_gruu_reaches_its_phone_alone_and_hides_whose_it_is_rfc_5627_section_3_1_2() {
    let mut w = World::new();
    w.register("user-a", OTHER);
    let ok = register_instance(&mut w, PHONE, "one", 1);
    assert!(!ok.header_str(HeaderName::Supported).expect("a Supported").contains("gruu"), "§5.2");
    let gruu = temporary(&ok);
    assert!(gruu.ends_with(";gr") && !gruu.contains("101") && !gruu.contains("uuid"), "{gruu}");
    assert_eq!(call_to(&mut w, &gruu, 1), 100);
    assert!(first_line(&w.take(PHONE)).starts_with("INVITE "));
    assert!(w.nothing_for(OTHER), "one instance alone");
}

#[test]
fn temporary_gruus_add_up_until_the_call_id_changes_or_the_registration_ends_rfc_5627_section_5() {
    let mut w = World::new();
    let first = temporary(&register_instance(&mut w, PHONE, "one", 1));
    let second = temporary(&register_instance(&mut w, PHONE, "one", 3));
    assert_ne!(first, second, "each registration makes a new one");
    assert_eq!((call_to(&mut w, &first, 1), call_to(&mut w, &second, 2)), (100, 100));
    let third = temporary(&register_instance(&mut w, PHONE, "another", 1));
    assert_eq!((call_to(&mut w, &first, 3), call_to(&mut w, &second, 4)), (404, 404), "another Call-ID ends them");
    assert_eq!(call_to(&mut w, &third, 5), 100);
    w.pass(Duration::from_secs(601));
    assert_eq!(call_to(&mut w, &third, 7), 404, "the registration has ended");
}

/// A flow of user-a's one instance by a connection of its own; each flow has its Call-ID (RFC 5626 §4.2).
fn register_flow(w: &mut World, conn: u64, reg_id: u32, call_id: &str, cseq: u32) -> ringfort_sip::message::Message {
    let from = format!("198.51.100.10:{}", 40_000 + conn);
    let request = |cseq: u32, auth: &str| {
        format!(
            "REGISTER sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/TLS {from};branch=z9hG4bKf{call_id}{cseq}\r\n\
             From: <sip:user-a@{DOMAIN}>;tag=f\r\nTo: <sip:user-a@{DOMAIN}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:user-a@{from};transport=tls>;reg-id={reg_id};+sip.instance=\"<urn:uuid:1>\"\r\n\
             Supported: gruu, outbound\r\nExpires: 600\r\nMax-Forwards: 70\r\n{auth}\r\n"
        )
    };
    w.sent.clear();
    w.send_tls_by(conn, &from, &request(cseq, ""));
    let challenge = w.take(&from);
    let auth = w.answer_to(&challenge, "user-a", "REGISTER", &format!("sip:{DOMAIN}"));
    w.send_tls_by(conn, &from, &request(cseq + 1, &auth));
    let ok = w.take(&from);
    assert_eq!(ok.status(), 200);
    ok
}

#[test]
fn a_temporary_gruu_belongs_to_the_instance_whichever_of_its_flows_asked_for_it_rfc_5627_section_5_3() {
    let mut busy = site();
    busy.extensions.values_mut().for_each(|e| e.max_calls = 100);
    let mut w = World::with(config(), busy);
    let first = temporary(&register_flow(&mut w, 1, 1, "flow-one", 1));
    let both = register_flow(&mut w, 2, 2, "flow-two", 1);
    let second = temporary(&both);
    let told: Vec<String> = contacts(&both).into_iter().filter(|c| c.contains("temp-gruu")).collect();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|c| c.contains(&second)), "one address for the instance: {told:?}");
    assert_eq!((call_to(&mut w, &first, 1), call_to(&mut w, &second, 3)), (100, 100), "another flow ends none of them");
    w.close_tls(1);
    assert_eq!(
        (call_to(&mut w, &first, 5), call_to(&mut w, &second, 7)),
        (100, 100),
        "nor does the end of its own flow"
    );
    let third = temporary(&register_flow(&mut w, 2, 2, "flow-two-again", 1));
    assert_eq!(
        (call_to(&mut w, &first, 9), call_to(&mut w, &second, 11)),
        (404, 404),
        "another Call-ID of a flow does"
    );
    assert_eq!(call_to(&mut w, &third, 13), 100);
    w.close_tls(2);
    assert_eq!(call_to(&mut w, &third, 15), 404, "the instance is gone");
    let fourth = temporary(&register_flow(&mut w, 3, 1, "flow-one", 9));
    assert_eq!((call_to(&mut w, &third, 17), call_to(&mut w, &fourth, 19)), (404, 100), "what it was is over");
}

#[test]
fn nobody_makes_up_a_temporary_gruu_from_one_that_is_good() {
    let mut w = World::new();
    let gruu = temporary(&register_instance(&mut w, PHONE, "one", 1));
    let end = gruu.find('@').expect("a user part");
    // The MAC is the last 24 digits of the user part.
    for (n, at) in (end - 24..end).enumerate() {
        let mut changed = gruu.clone().into_bytes();
        changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(changed).expect("ASCII");
        assert_eq!(changed.len(), gruu.len());
        assert_eq!(call_to(&mut w, &changed, n as u32), 404, "{changed}");
    }
    assert!(w.nothing_for(PHONE));
    assert_eq!(call_to(&mut w, &gruu, 99), 100, "the one that it was made from is good");
}

#[test]
fn a_temporary_gruu_of_a_phone_that_is_gone_does_not_ring_the_other_phone_of_the_extension() {
    let mut w = World::new();
    let first = temporary(&register_instance_for(&mut w, PHONE, "one", 1, 1, 600));
    assert_eq!(register_instance_for(&mut w, OTHER, "two", 1, 2, 600).status(), 200);
    assert_eq!(call_to(&mut w, &first, 1), 100);
    assert!(first_line(&w.take(PHONE)).starts_with("INVITE ") && w.nothing_for(OTHER));
    let left = register_instance_for(&mut w, PHONE, "one", 3, 1, 0);
    assert_eq!((left.status(), contacts(&left).len()), (200, 1));
    assert_eq!(call_to(&mut w, &first, 2), 404);
    assert!(w.nothing_for(OTHER));
}

/// A second tenant `Other` whose extension has the number of the first one's 101.
fn two_tenants() -> Site {
    let mut two = site();
    let domains = vec!["other.example".into()];
    two.tenants.push(Tenant { id: TenantId(2), name: "Other".into(), domains, ..two.tenants[0].clone() });
    let stranger = Extension {
        id: ExtensionId(9),
        tenant: TenantId(2),
        credentials: SipCredentials { user: "user-z".into(), password: Secret::new("pw of user-z".to_owned()) },
        ..two.extensions[&ExtensionId(1)].clone()
    };
    two.extensions.insert(stranger.id, stranger);
    two
}

/// CALL-11.
#[test]
fn a_number_of_several_tenants_is_asked_for_with_its_tenant() {
    let mut w = World::with(config(), two_tenants());
    w.register("user-a", PHONE);
    let unregister = |number: &str| Command::Unregister { number: number.into(), contact: None };
    let refused = |reply: CommandReply| match reply {
        CommandReply::Refused { error } => error,
        other => panic!("{other:?}"),
    };
    let error = refused(w.command(unregister("101")));
    assert!(error.contains("as TENANT/101"), "{error}");
    assert!(refused(w.command(unregister("Nobody/101"))).contains("no extension Nobody/101"));
    assert_eq!(w.command(unregister("Other/101")), CommandReply::Done { changed: 0 });
    let own = site().tenants[0].name.clone();
    let of = |w: &mut World, tenant: Option<&str>, number: Option<&str>| {
        let (tenant, number) = (tenant.map(str::to_owned), number.map(str::to_owned));
        match w.command(Command::Registrations { tenant, number }) {
            CommandReply::Registrations { items } => items.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!([None, Some(own.as_str()), Some("Other")].map(|tenant| of(&mut w, tenant, None)), [1, 1, 0]);
    assert_eq!(of(&mut w, None, Some("Other/101")), 0);
    let explain = |from: String| Command::RouteExplain { from, to: "102".into(), at: None };
    assert!(refused(w.command(explain("101".into()))).contains("as TENANT/101"));
    assert!(matches!(w.command(explain(format!("{own}/101"))), CommandReply::Route(_)));
    assert_eq!(w.command(unregister(&format!("{own}/101"))), CommandReply::Done { changed: 1 });
}

#[test]
fn a_temporary_gruu_is_worth_nothing_to_another_tenant() {
    const CALLER: &str = "198.51.100.99:5060";
    let mut w = World::with(config(), two_tenants());
    let gruu = temporary(&register_instance(&mut w, PHONE, "one", 1));
    // By our address both tenants get as far as the token itself.
    let uri = gruu.replace(DOMAIN, "192.0.2.1");
    assert_eq!(call_to(&mut w, &uri, 1), 100, "its own tenant");
    w.sent.clear();
    let text = |cseq: u32, auth: &str| {
        let branch = format!("z9hG4bKz{cseq}");
        let mine = "sip:user-z@pbx.example";
        invite(&uri, "user-z", CALLER, "z", cseq, &branch, auth, "", "").replace(mine, "sip:user-z@other.example")
    };
    w.send(CALLER, &text(1, ""));
    let challenge = w.take(CALLER);
    let auth = w.answer_to(&challenge, "user-z", "INVITE", &uri);
    w.send(CALLER, &text(2, &auth));
    assert_eq!(w.take(CALLER).status(), 404);
    assert!(w.nothing_for(PHONE));
}

#[test]
fn a_temporary_gruu_is_good_after_a_restart_as_the_registration_is() {
    let mut w = World::new();
    let gruu = temporary(&register_instance(&mut w, PHONE, "one", 1));
    let bindings: Vec<Binding> =
        w.journal.iter().filter_map(|r| if let JournalRecord::Bound(b) = r { Some(b.clone()) } else { None }).collect();
    let mut w = World::new();
    w.switch.restore(w.now, bindings, CallId(1));
    assert_eq!(call_to(&mut w, &gruu, 1), 100);
}

#[test]
fn a_contact_that_is_the_address_it_registers_for_is_refused_rfc_5627_section_5_1() {
    let mut w = World::new();
    for contact in [format!("<sip:101@{DOMAIN}>"), format!("<sip:101@{DOMAIN};gr=urn:uuid:1>")] {
        assert_eq!(w.register_with("user-a", PHONE, &contact, "").status(), 403, "{contact}");
    }
}

#[test]
fn a_message_to_a_gruu_reaches_its_instance_alone() {
    let mut w = World::new();
    w.register("user-a", OTHER);
    let gruu = temporary(&register_instance(&mut w, PHONE, "one", 1));
    let from = "198.51.100.99:5060";
    let text = |cseq: u32, auth: &str| {
        format!(
            "MESSAGE {gruu} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKm{cseq};rport\r\nFrom: <sip:user-b@{DOMAIN}>;tag=m\r\n\
             To: <{gruu}>\r\nCall-ID: m\r\nCSeq: {cseq} MESSAGE\r\nMax-Forwards: 70\r\n{auth}Content-Type: text/plain\r\n\r\nhello"
        )
    };
    w.send(from, &text(1, ""));
    let challenge = w.take(from);
    let auth = w.answer_to(&challenge, "user-b", "MESSAGE", &gruu);
    w.send(from, &text(2, &auth));
    assert!(first_line(&w.take(PHONE)).starts_with("MESSAGE "));
    assert!(w.nothing_for(OTHER));
}
