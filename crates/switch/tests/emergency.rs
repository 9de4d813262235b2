//! Calls for help: first, always, and by whatever trunk takes them (UC-12).

mod common;

use std::time::Duration;

use common::*;
use ringfort_switch::config::{CallConfig, SwitchConfig};
use ringfort_switch::model::*;

const A: &str = "198.51.100.10:5060";
const B: &str = "198.51.100.20:5060";
const P1: &str = "203.0.113.1:5060";
const P2: &str = "203.0.113.2:5060";
const ONE: TrunkId = TrunkId(1);
const TWO: TrunkId = TrunkId(2);

fn lines() -> Site {
    let mut site = site();
    (site.tenants[0].numbers.country, site.tenants[0].numbers.national_prefix) = ("44".into(), "0".into());
    for (id, name, server) in [(ONE, "one", "sip:203.0.113.1"), (TWO, "two", "sip:203.0.113.2")] {
        let trunk = Trunk::new(id, TenantId(1), name, server);
        site.trunks.insert(id, Trunk { health_every: Duration::ZERO, ..trunk });
    }
    site.outbound.push(route("all", vec![Pattern::Prefix("0".into()), Pattern::Exact("112".into())], vec![ONE, TWO]));
    site
}

fn world(config: SwitchConfig, site: Site) -> World {
    let mut w = World::with(config, site);
    w.register("user-a", A);
    w
}

fn dial(w: &mut World, number: &str) {
    w.sent.clear();
    w.invite("user-a", A, number, &sdp("198.51.100.10", 4000, "0 8 101"), "");
}

#[test]
fn no_limit_of_ours_is_in_the_way_of_a_call_for_help() {
    let one = |trunk: &mut Trunk| (trunk.max_calls, trunk.calls_per_second) = (1, 1);
    type Full = fn(&mut SwitchConfig, &mut Site);
    let cases: [(&str, Full); 3] = [
        ("limit.trunk_calls", |_, _| {}),
        ("limit.extension_calls", |_, site| {
            site.extensions.values_mut().for_each(|extension| extension.max_calls = 2);
        }),
        ("limit.calls", |config, _| config.calls = CallConfig { max_calls: 2, ..config.calls }),
    ];
    for (rule, full) in cases {
        let (mut config, mut site) = (config(), lines());
        site.trunks.values_mut().for_each(one);
        full(&mut config, &mut site);
        let mut w = world(config, site);
        // One call by each trunk: that is all there may be.
        dial(&mut w, "02079461234");
        dial(&mut w, "02079461235");
        assert!(first_line(&w.take_starting(P2, "INVITE")).contains("+442079461235@"));
        dial(&mut w, "02079461236");
        assert!(w.take_final(A).status() >= 400, "{rule}");
        assert!(w.notices.iter().any(|notice| notice.rule == rule), "{rule}: {:?}", w.notices);
        for number in ["*67112", "+112"] {
            dial(&mut w, number);
            assert_eq!(first_line(&w.take_starting(P1, "INVITE")), "INVITE sip:112@203.0.113.1 SIP/2.0", "{rule}");
        }
    }
}

#[test]
fn a_phone_cannot_have_calls_for_help_without_end() {
    let mut site = lines();
    site.extensions.values_mut().for_each(|extension| extension.max_calls = 1);
    let mut w = world(config(), site);
    let mut begun = 0;
    for _ in 0..10 {
        dial(&mut w, "112");
        begun += u32::from(!w.nothing_for(P1));
    }
    assert_eq!(begun, 3);
}

#[test]
fn a_trunk_that_does_not_take_a_call_for_help_is_left_whatever_it_says() {
    for status in [300, 302, 402, 403, 404, 408, 480, 484, 488, 500, 503] {
        let mut w = world(config(), lines());
        dial(&mut w, "112");
        let invite = w.take_starting(P1, "INVITE");
        w.send_to(1, OUTSIDE, P1, &reply(&invite, status, "p1", "", ""));
        let second = w.take_starting(P2, "INVITE");
        assert_eq!(first_line(&second), "INVITE sip:112@203.0.113.2 SIP/2.0", "{status}");
        // Nobody is left: the caller hears a refusal that is his own business.
        w.send_to(1, OUTSIDE, P2, &reply(&second, 302, "p2", "Contact: <sip:x@203.0.113.9>\r\n", ""));
        let heard = w.take_final(A).status();
        assert!(heard >= 400, "{status}: {heard}");
        assert_eq!(w.status().calls, 0);
    }
    for status in [486, 600, 603] {
        let mut w = world(config(), lines());
        dial(&mut w, "112");
        let invite = w.take_starting(P1, "INVITE");
        w.send_to(1, OUTSIDE, P1, &reply(&invite, status, "p1", "", ""));
        assert_eq!(w.take_final(A).status(), status, "somebody has answered so");
        assert!(w.nothing_for(P2));
    }
}

#[test]
fn an_extension_of_that_number_does_not_take_a_call_for_help() {
    let mut site = lines();
    site.extensions.get_mut(&ExtensionId(2)).expect("it is there").number = "112".into();
    let mut w = world(config(), site);
    w.register("user-b", B);
    dial(&mut w, "112");
    assert!(first_line(&w.take_starting(P1, "INVITE")).starts_with("INVITE sip:112@"));
    assert!(w.nothing_for(B), "{:?}", w.summary());
}
