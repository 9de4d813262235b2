//! ENUM (RFC 6116): from a number to SIP addresses.

use std::time::Duration;

use ringfort_sip::locate::*;

use crate::world::*;

const NUMBER: &str = "+442079460148";
const KEY: &str = "8.4.1.0.6.4.9.7.0.2.4.4.e164.arpa";

fn world(rules: &str) -> World {
    World::new(&rules.replace("KEY", KEY))
}

fn uris(resolved: &Resolved) -> Vec<&str> {
    let found = resolved.result.as_ref().unwrap_or_else(|error| panic!("{error}"));
    found.iter().map(|address| address.uri.as_str()).collect()
}

fn notes(resolved: &Resolved) -> Vec<String> {
    resolved.trace.notes.iter().map(ToString::to_string).collect()
}

#[test]
fn a_number_is_asked_for_beneath_the_domain_with_its_digits_reversed() {
    let mut w = world(r#"KEY 300 NAPTR 100 50 "u" "E2U+sip" "!^(\+442079460148)$!sip:\1@example.com!" ."#);
    assert_eq!(uris(&w.number(NUMBER)), ["sip:+442079460148@example.com"]);
    assert_eq!(w.asked, [(name(KEY), RecordType::Naptr)]);
    assert_eq!(uris(&w.number(NUMBER)), ["sip:+442079460148@example.com"]);
    assert_eq!(w.asked.len(), 1, "it is remembered");
    for wrong in ["442079460148", "+", "+44x", "+1234567890123456"] {
        assert_eq!(NumberRequest::new(wrong, &name("e164.arpa")), Err(NumberError::NoNumber), "{wrong}");
    }
    let long = name(&vec!["x".repeat(30); 8].join("."));
    assert_eq!(NumberRequest::new(NUMBER, &long), Err(NumberError::LongDomain));
}

#[test]
fn rules_are_taken_by_order_then_preference_and_other_services_left_out() {
    let mut w = world(
        r#"KEY 300 NAPTR 100 52 "u" "E2U+email:mailto" "!^.*$!mailto:info@example.com!" .
        KEY 300 NAPTR 101 10 "u" "e2u+sip" "!^.*$!sip:last@example.com!" .
        KEY 300 NAPTR 100 51 "U" "E2U+h323+sip" "!^.*$!sips:second@example.com!" .
        KEY 300 NAPTR 100 50 "u" "sip+E2U" "!^.*$!sip:first@example.com!" .
        KEY 300 NAPTR 100 50 "s" "SIP+D2U" "" _sip._udp.example.com
        KEY 300 NAPTR 100 60 "u" "E2U+sip" "!^.*$!tel:+1!" .
        KEY 300 NAPTR 100 61 "u" "E2U+sip" "!^\+1!sip:us@example.com!" .
        KEY 300 NAPTR 100 62 "u" "E2U+sips" "!^.*$!sip:no@example.com!" ."#,
    );
    let resolved = w.number(NUMBER);
    assert_eq!(uris(&resolved), ["sip:first@example.com", "sips:second@example.com", "sip:last@example.com"]);
    let notes = notes(&resolved);
    assert_eq!(notes.len(), 5, "{notes:#?}");
    for why in ["E2U+sip (RFC", "flags are not \"u\"", "no SIP address", "does not fit the number"] {
        assert!(notes.iter().any(|note| note.contains(why)), "{why}: {notes:#?}");
    }
}

#[test]
fn non_terminal_rules_are_followed_in_their_place_and_not_without_bound() {
    let mut w = world(
        r#"KEY 300 NAPTR 10 1 "" "" "" 1.carrier.example
        KEY 300 NAPTR 10 2 "u" "E2U+sip" "!^.*$!sip:own@example.com!" .
        1.carrier.example 300 NAPTR 10 1 "u" "E2U+sip" "!^.*$!sip:carrier@example.com!" .
        1.carrier.example 300 NAPTR 10 2 "" "" "" KEY
        1.carrier.example 300 NAPTR 10 3 "" "" "" 1.carrier.example"#,
    );
    let resolved = w.number(NUMBER);
    assert_eq!(uris(&resolved), ["sip:carrier@example.com", "sip:own@example.com"]);
    assert_eq!(notes(&resolved).iter().filter(|note| note.contains("in a circle")).count(), 2);

    let mut chain = r#"KEY 300 NAPTR 10 1 "" "" "" n1.example"#.to_owned();
    for n in 1..20 {
        chain.push_str(&format!("\nn{n}.example 300 NAPTR 10 1 \"\" \"\" \"\" n{}.example", n + 1));
    }
    let mut w = world(&chain);
    assert_eq!(w.number(NUMBER).result, Err(LocateError::NoRule));
    assert_eq!(w.asked.len(), 6, "five steps from the number's own name");
}

#[test]
fn a_tree_of_rules_that_doubles_at_each_step_ends() {
    let mut rules = String::new();
    for depth in 0..6 {
        let owner = if depth == 0 { KEY.to_owned() } else { format!("d{depth}.example") };
        for n in 0..16 {
            rules.push_str(&format!("{owner} 300 NAPTR {n} 1 \"\" \"\" \"\" d{}.example\n", depth + 1));
        }
    }
    let mut w = World::new(&rules);
    assert_eq!(w.number(NUMBER).result, Err(LocateError::NoRule));
    assert!(w.asked.len() <= 8, "{}", w.asked.len());
}

#[test]
fn no_answer_is_told_from_no_such_number() {
    let mut w = world(r#"other.example 300 A 192.0.2.1"#);
    assert_eq!(w.number(NUMBER).result, Err(LocateError::NoSuchName));
    w.pass(3_601);
    w.zone.broken.insert((name(KEY), RecordType::Naptr));
    let result = w.number(NUMBER).result;
    assert_eq!(result, Err(LocateError::Unanswered(QueryFailure::ServerFailure)));
    assert!(result.unwrap_err().is_temporary());

    // A branch of the tree that fails does not cost what the rest has.
    let mut w = world(
        r#"KEY 300 NAPTR 10 1 "" "" "" broken.example
        KEY 300 NAPTR 10 2 "u" "E2U+sip" "!^.*$!sip:own@example.com!" ."#,
    );
    w.zone.broken.insert((name("broken.example"), RecordType::Naptr));
    assert_eq!(uris(&w.number(NUMBER)), ["sip:own@example.com"]);
}

#[test]
fn a_number_that_nobody_answers_for_is_given_up_in_its_time() {
    let mut w = world("");
    let request = NumberRequest::new(NUMBER, &name("e164.arpa")).unwrap();
    w.locator.resolve_number(w.now, request.within(Duration::from_secs(2)));
    assert!(w.locator.poll_query().is_some());
    w.pass(1);
    assert_eq!(w.locator.poll_resolved(), None);
    w.pass(1);
    assert_eq!(w.locator.poll_resolved().unwrap().result, Err(LocateError::TooLate));
}
