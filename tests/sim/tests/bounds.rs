//! Peers that want more than they get: lines of media, reliable provisional answers, and a dialog that is not theirs. What
//! the switch may do is checked on every message (`audit`); here is seen that it comes to the bound, and what the caller has
//! of it.

use std::time::Duration;

use ringfort_phone::{AnswerPolicy, EndedBy};
use ringfort_sim::plan::{Action, PhonePlan, Plan, Step, Twist};
use ringfort_sim::{Outcome, run_whole};
use ringfort_sip::endpoint::MOST_WAITING;
use ringfort_sip::flow::Transport;

const CALLER: usize = 0;
const CALLEE: usize = 1;
/// Lines of media that a leg may have in the simulation.
const MOST_LINES: usize = 4;

fn step(at: u64, phone: usize, action: Action) -> Step {
    Step { at: Duration::from_secs(at), phone, action, seed: 1 }
}

/// A calls B at 5 s, and talks for a while.
#[track_caller]
fn call(caller: PhonePlan, callee: PhonePlan, more: Vec<Step>) -> Outcome {
    let mut steps = vec![
        step(0, CALLER, Action::Register),
        step(0, CALLEE, Action::Register),
        step(5, CALLER, Action::Call { extension: 1, late_offer: false, cancel_after: None }),
    ];
    steps.extend(more);
    let plan = Plan { talk: Some(Duration::from_secs(20)), ..Plan::of(vec![caller, callee], steps) };
    let outcome = run_whole(&plan);
    assert!(outcome.result.is_ok(), "{:#?}\n{}", outcome.result, outcome.trace);
    outcome
}

#[test]
fn a_leg_has_no_more_lines_of_media_than_it_may_whoever_wants_them() {
    let wide = |extension, video| PhonePlan { video, ..PhonePlan::plain(extension) };
    for (caller, callee, most) in [(6, 6, MOST_LINES), (6, 0, MOST_LINES), (2, 6, 3), (0, 6, 1)] {
        let outcome = call(wide(0, caller), wide(1, callee), Vec::new());
        let summary = outcome.result.as_ref().expect("it was just seen");
        assert_eq!((summary.answered, summary.most_lines), (1, most), "{caller} and {callee} lines of video");
    }
}

#[test]
fn a_late_offer_with_too_many_lines_is_bounded_too() {
    let wide = |extension| PhonePlan { video: 6, ..PhonePlan::plain(extension) };
    let late = Action::Call { extension: 1, late_offer: true, cancel_after: None };
    let outcome = call(wide(0), wide(1), vec![step(60, CALLER, late)]);
    let summary = outcome.result.expect("it was just seen");
    assert_eq!((summary.answered, summary.most_lines), (2, MOST_LINES));
}

#[test]
fn a_caller_that_holds_its_pracks_back_is_kept_a_bounded_number_of_answers_rfc_3262_section_3() {
    let reliable = |extension| PhonePlan { reliable: true, ..PhonePlan::plain(extension) };
    // Forty answers come within four seconds; the caller looks at the first one after six.
    let caller = PhonePlan { holds_pracks: Duration::from_secs(6), ..reliable(0) };
    let answer = AnswerPolicy::Answer { after: Duration::from_secs(15) };
    let callee = PhonePlan { chatty: 40, answer, ..reliable(1) };
    let outcome = call(caller, callee, Vec::new());
    let summary = outcome.result.expect("it was just seen");
    assert_eq!(summary.answered, 1, "{}", outcome.trace);
    // One is on its way, the others wait behind it.
    assert_eq!(summary.most_reliable, 1 + MOST_WAITING, "{}", outcome.trace);
    // With a caller that looks at once all of them arrive.
    let outcome = call(reliable(0), callee, Vec::new());
    assert!(outcome.result.is_ok_and(|summary| summary.most_reliable > 3 * MOST_WAITING), "{}", outcome.trace);
}

#[test]
fn a_2xx_for_another_dialog_is_acknowledged_and_hung_up_on_at_once_rfc_3261_section_13_2_2_4() {
    for transport in [Transport::Udp, Transport::Tcp] {
        for (foreign, first) in [(false, false), (false, true), (true, false), (true, true)] {
            let twist = Some(Twist { foreign, first });
            let callee = PhonePlan { transport, twist, ..PhonePlan::plain(1) };
            let outcome = call(PhonePlan::plain(0), callee, Vec::new());
            let summary = outcome.result.as_ref().expect("it was just seen");
            assert!(summary.strays > 0, "{twist:?}: {}", outcome.trace);
            let [record] = &outcome.records[..] else { panic!("expected one record: {}", outcome.trace) };
            // As of another dialog and first: the only phone has failed, and says nothing any more that could be believed.
            let fails = foreign && first;
            assert_eq!(record.answered.is_some(), !fails, "{twist:?}: {}", outcome.trace);
            let heard = outcome.ends.iter().filter(|end| end.phone == CALLER);
            assert_eq!(heard.filter(|end| end.by != EndedBy::Lost).count(), 1, "{twist:?}: {:?}", outcome.ends);
        }
    }
}
