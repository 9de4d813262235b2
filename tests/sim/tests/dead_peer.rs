//! A phone that loses power in the middle of a call says no BYE. It is found dead by the session timer (RFC 4028),
//! whoever refreshes, also where it knows no session timers and where no voice is looked at; both legs end, and the
//! record says why.

use std::time::Duration;

use ringfort_phone::EndedBy;
use ringfort_sim::plan::{Action, PhonePlan, Plan, Step};
use ringfort_sim::run_whole;
use ringfort_sip::flow::Transport;
use ringfort_switch::record::EndCause;

/// Session-Expires that the switch of the simulation asks for.
const INTERVAL: u64 = 300;
const CALLER: usize = 0;
const CALLEE: usize = 1;

fn phone(extension: usize, knows_timer: bool, session_timer: Option<u32>, transport: Transport) -> PhonePlan {
    PhonePlan { transport, session_timer, knows_timer, ..PhonePlan::plain(extension) }
}

/// A calls B at 5 s; `dies` loses power at 20 s and does not come back while anybody waits.
fn plan(phones: [PhonePlan; 2], dies: usize) -> Plan {
    let step = |at, phone, action| Step { at: Duration::from_secs(at), phone, action, seed: 1 };
    let steps = vec![
        step(0, CALLER, Action::Register),
        step(0, CALLEE, Action::Register),
        step(5, CALLER, Action::Call { extension: 1, late_offer: false, cancel_after: None }),
        step(20, dies, Action::Reboot { down: Duration::from_secs(700) }),
        // Keeps the run going until long after the interval.
        step(600, 1 - dies, Action::Options),
    ];
    let talk = Some(Duration::from_secs(3600));
    // Without a relay nobody can notice that the voice is gone: media inactivity plays no part.
    Plan { talk, ..Plan::of(phones.to_vec(), steps) }
}

/// Runs it; the call has to end on the side that lives within `within` of the loss, and be recorded so.
#[track_caller]
fn is_found_dead(plan: &Plan, dies: usize, within: Duration) {
    let outcome = run_whole(plan);
    let told = || format!("{:#?}\n{}", outcome.result, outcome.trace);
    assert!(outcome.result.is_ok(), "{}", told());
    let [record] = &outcome.records[..] else { panic!("expected one record: {}", told()) };
    assert_eq!(record.cause, Some(EndCause::PeerGone), "{}", told());
    assert!(record.reason.contains("408"), "the record says why: {record:?}");
    let [end] = &outcome.ends[..] else { panic!("expected one end, of the phone that lives: {:?}", outcome.ends) };
    assert_eq!((end.phone, end.by), (1 - dies, EndedBy::Peer), "a BYE reaches it: {end:?}");
    assert!(end.at > Duration::from_secs(20) && end.at <= Duration::from_secs(20) + within, "{end:?}");
}

#[test]
fn a_phone_without_session_timers_that_loses_power_is_noticed_by_our_refresh_rfc_4028_section_7_2() {
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        // By UDP half the interval to the refresh, and 32 s until it is given up. A connection that is gone may be on its
        // way back: there the session's own end counts.
        let within = Duration::from_secs(if transport == Transport::Udp { INTERVAL / 2 + 33 } else { INTERVAL });
        for dies in [CALLER, CALLEE] {
            let phones = [phone(0, false, None, transport), phone(1, false, None, transport)];
            is_found_dead(&plan(phones, dies), dies, within);
        }
    }
}

#[test]
fn a_phone_that_refreshes_the_session_itself_is_noticed_when_it_does_not_rfc_4028_section_10() {
    // The caller asks for a timer with itself as the refresher: its silence runs into the expiry.
    let phones = [phone(0, true, Some(200), Transport::Udp), phone(1, true, None, Transport::Udp)];
    is_found_dead(&plan(phones, CALLER), CALLER, Duration::from_secs(200));
    is_found_dead(&plan(phones, CALLEE), CALLEE, Duration::from_secs(INTERVAL));
}

#[test]
fn a_call_between_phones_without_session_timers_that_live_goes_on_through_many_refreshes() {
    let phones = [phone(0, false, None, Transport::Udp), phone(1, false, None, Transport::Tcp)];
    let mut plan = plan(phones, CALLEE);
    plan.steps.retain(|step| !matches!(step.action, Action::Reboot { .. }));
    plan.steps.push(Step { at: Duration::from_secs(4000), ..plan.steps[0] });
    let outcome = run_whole(&plan);
    assert!(outcome.result.is_ok(), "{:#?}\n{}", outcome.result, outcome.trace);
    let [record] = &outcome.records[..] else { panic!("expected one record: {:?}", outcome.records) };
    // The longest call of the simulation is ten minutes.
    assert_eq!(record.cause, Some(EndCause::MaxDuration));
    assert!(outcome.ends.iter().all(|end| end.at >= Duration::from_secs(600)), "{:?}", outcome.ends);
}
