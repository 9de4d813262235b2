//! Limits of spending while calls run (DOM-8), in virtual time: what is refused, charged, warned of and ended.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use ringfort_media::types as media;
use ringfort_sip::message::Message;
use ringfort_switch::io::{Command, CommandReply, RouteAnswer, SpendingItem};
use ringfort_switch::model::*;
use ringfort_switch::money;
use ringfort_switch::record::{Account, EndCause, JournalRecord, LocalDay, Spent, SpentTotal, UnixMillis};
use ringfort_switch::{Clock, Switch};

const A: &str = "198.51.100.10:5060";
const B: &str = "198.51.100.20:5060";
const P1: &str = "203.0.113.1:5060";
const P2: &str = "203.0.113.2:5060";
const NUMBER: &str = "02079461234";
const ONE: TrunkId = TrunkId(1);
const TWO: TrunkId = TrunkId(2);
/// What the clock of a table shows at first: 2026-09-21 14:13:20 UTC, which is 23:43:20 in Darwin.
const BEGIN: u64 = 1_790_000_000_000;
const TO_MIDNIGHT: Duration = Duration::from_secs(1000);

fn amount(text: &str) -> Option<u64> {
    Some(money::parse(text).unwrap())
}

fn rate(per_minute: &str, connection: &str, first_s: u32, step_s: u32) -> Rate {
    let (per_minute, connection) = (money::parse(per_minute).unwrap(), money::parse(connection).unwrap());
    Rate { prefix: "44".into(), per_minute, connection, first_s, step_s }
}

fn table(rate: Rate) -> Arc<RateTable> {
    Arc::new(RateTable { currency: "EUR".into(), rates: vec![rate] })
}

/// Two providers: one at 0.60 a minute by the second, the other at 0.05 and 0.30 a minute by the minute.
fn lines() -> Site {
    let mut site = site();
    site.tenants[0].numbers = NumberPlan {
        country: "44".into(),
        national_prefix: "0".into(),
        time_zone: "Australia/Darwin".into(),
        ..NumberPlan::default()
    };
    for (id, name, server) in [(ONE, "one", "sip:203.0.113.1"), (TWO, "two", "sip:203.0.113.2")] {
        let trunk = Trunk { health_every: Duration::ZERO, ..Trunk::new(id, TenantId(1), name, server) };
        site.trunks.insert(id, trunk);
    }
    site.rates.insert(ONE, table(rate("0.60", "0", 1, 1)));
    site.rates.insert(TWO, table(rate("0.30", "0.05", 60, 60)));
    site.outbound.push(route(
        "outside",
        vec![Pattern::Prefix("0".into()), Pattern::Exact("112".into())],
        vec![ONE, TWO],
    ));
    for extension in site.extensions.values_mut() {
        extension.calling.international = true;
    }
    site
}

fn world(change: impl FnOnce(&mut Site)) -> World {
    let mut site = lines();
    change(&mut site);
    let mut world = World::with(config(), site);
    world.register("user-a", A);
    world.register("user-b", B);
    world
}

/// The limits of extension 101.
fn limits(site: &mut Site) -> &mut SpendLimits {
    &mut site.extensions.get_mut(&ExtensionId(1)).unwrap().calling.spend
}

fn offer() -> String {
    sdp("198.51.100.10", 4000, "0 8 101")
}

fn says(w: &mut World, provider: &str, request: &Message, status: u16) {
    let (contact, body) = match status {
        200 => (format!("Contact: <sip:{provider}>\r\n"), sdp("203.0.113.1", 6000, "8 101")),
        _ => (String::new(), String::new()),
    };
    w.send_to(1, OUTSIDE, provider, &reply(request, status, "p", &contact, &body));
}

/// 101 calls, that provider answers.
fn call(w: &mut World, provider: &str) -> Established {
    let call_id = w.invite("user-a", A, NUMBER, &offer(), "");
    let invite = w.take_starting(provider, "INVITE");
    says(w, provider, &invite, 200);
    assert!(first_line(&w.take(provider)).starts_with("ACK "));
    let ok = w.take_final(A);
    assert_eq!(ok.status(), 200);
    let call = Established::new(A, provider, call_id, invite, ok);
    w.send(A, &call.of_a("ACK", 2, "", ""));
    call
}

fn hang_up(w: &mut World, call: &Established) {
    w.send(A, &call.of_a("BYE", 3, "", ""));
    let bye = w.take_starting(&call.b, "BYE");
    says(w, &call.b, &bye, 202);
    assert_eq!(w.take_final(A).status(), 200);
}

/// The system hangs up both sides.
fn ended_by_us(w: &mut World, provider: &str) {
    for side in [A, provider] {
        let bye = w.take_starting(side, "BYE");
        let reason = String::from_utf8_lossy(bye.raw()).into_owned();
        assert!(reason.contains("Reason: Q.850;cause=31;text=\"Spending limit reached\""), "{reason}");
        let (listener, local) = if side == A { (0, INSIDE) } else { (1, OUTSIDE) };
        w.send_to(listener, local, side, &reply(&bye, 200, "", "", ""));
    }
}

fn spent(w: &World) -> Vec<Spent> {
    let spent =
        |record: &JournalRecord| if let JournalRecord::Spent(spent) = record { Some(spent.clone()) } else { None };
    w.journal.iter().filter_map(spent).collect()
}

/// What all calls have cost, by the journal.
fn total(w: &World) -> String {
    let sum: i64 = spent(w).iter().map(|spent| spent.amount).sum();
    money::text(u64::try_from(sum).unwrap())
}

fn item(w: &mut World, account: &str) -> SpendingItem {
    match w.command(Command::Spending { account: Some(account.to_owned()), extensions: true }) {
        CommandReply::Spending { items, .. } => items.into_iter().next().unwrap(),
        other => panic!("{other:?}"),
    }
}

fn explain(w: &mut World, to: &str) -> RouteAnswer {
    match w.command(Command::RouteExplain { from: "101".into(), to: to.into(), at: None }) {
        CommandReply::Route(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn beeps(w: &World) -> usize {
    w.media.iter().filter(|command| matches!(command, media::Command::Play { .. })).count()
}

#[test]
fn a_call_costs_what_its_rate_says_and_the_record_and_the_accounts_know_it() {
    let mut w = world(|_| {});
    let first = call(&mut w, P1);
    w.pass(Duration::from_millis(83_400));
    hang_up(&mut w, &first);
    assert_eq!(
        w.cdrs()[0].cost.as_ref().map(|cost| (money::text(cost.amount), cost.currency.as_str())),
        Some(("0.84".into(), "EUR"))
    );
    assert_eq!(total(&w), "0.84", "84 seconds at 0.01");
    for account in ["101", "trunk:one", "tenant:Acme"] {
        let item = item(&mut w, account);
        assert_eq!((item.spent_today.as_str(), item.spent_this_month.as_str()), ("0.84", "0.84"), "{account}");
        assert_eq!((item.reserved.as_str(), item.calls, item.left_today), ("0.00", 0, None));
    }
    assert_eq!(item(&mut w, "trunk:two").spent_today, "0.00");
    assert!(matches!(
        w.command(Command::Spending { account: Some("trunk:three".into()), extensions: true }),
        CommandReply::Refused { error } if error.contains("trunk:NAME")
    ));
    w.assert_empty();
}

#[test]
fn a_call_is_warned_a_minute_before_its_money_is_gone_and_ended_then() {
    let mut w = world(|site| limits(site).per_day = amount("2"));
    call(&mut w, P1);
    w.pass(Duration::from_secs(135));
    assert_eq!(beeps(&w), 0);
    w.pass(Duration::from_secs(7));
    assert_eq!(beeps(&w), 1, "200 s are paid for at 0.01 a second");
    let warned = w.notices.iter().find(|notice| notice.rule == "spending.warning").unwrap();
    assert!(warned.text.contains("101 is warned"), "{}", warned.text);
    w.pass(Duration::from_secs(57));
    w.pass(Duration::from_millis(400));
    assert!(w.cdrs().is_empty(), "199.4 s");
    w.pass(Duration::from_millis(200));
    ended_by_us(&mut w, P1);
    let cdr = w.cdrs()[0].clone();
    assert_eq!((cdr.cause, cdr.rule.as_deref(), cdr.status), (Some(EndCause::Spending), Some("spending.day"), 200));
    assert_eq!((total(&w).as_str(), beeps(&w)), ("2.00", 1));
    let item = item(&mut w, "101");
    assert_eq!((item.spent_today.as_str(), item.left_today.as_deref()), ("2.00", Some("0.00")));
    assert!(w.notices.iter().any(|n| n.rule == "spending" && n.text.contains("0.00 EUR left of the 2.00")));
    w.assert_empty();
}

#[test]
fn the_limit_of_a_call_counts_from_its_connection_on() {
    let mut w = world(|site| {
        site.trunks.get_mut(&TWO).unwrap().spend.per_call = amount("1");
        site.outbound[0].trunks = vec![TWO];
    });
    call(&mut w, P2);
    // 0.05, and 0.30 for each minute: the fourth would make 1.25.
    w.pass(Duration::from_millis(179_000));
    assert_eq!((w.cdrs().len(), beeps(&w)), (0, 1));
    w.pass(Duration::from_secs(1));
    ended_by_us(&mut w, P2);
    assert_eq!((w.cdrs()[0].rule.as_deref(), total(&w).as_str()), (Some("spending.call"), "0.95"));
    w.assert_empty();
}

#[test]
fn a_trunk_that_is_too_dear_is_passed_over_for_one_that_is_not() {
    let mut w = world(|site| limits(site).per_call = amount("0.20"));
    site_is_refused_by_two(&mut w);
    let _call = call(&mut w, P1);
    w.pass(Duration::from_secs(25));
    ended_by_us(&mut w, P1);
    assert_eq!(total(&w), "0.20");
    w.assert_empty();
}

/// The second trunk's first minute costs more than the limit: what `ctl route explain` says of it.
fn site_is_refused_by_two(w: &mut World) {
    let answer = explain(w, NUMBER);
    assert_eq!(answer.refused_by, None);
    let passed: Vec<_> = answer.trunks.iter().map(|t| (t.trunk.as_str(), t.passed_over_by.as_deref())).collect();
    assert_eq!(passed, [("one", None), ("two", Some("spending.call"))]);
    assert_eq!(answer.trunks[0].cost_per_minute.as_deref(), Some("0.60"));
    assert_eq!(answer.trunks[0].currency.as_deref(), Some("EUR"));
    let step = answer.steps.iter().find(|step| step.rule == "spending trunk two").unwrap();
    assert!(!step.fits && step.why.contains("extension 101 has 0.20 EUR left of the 0.20"), "{}", step.why);
}

#[test]
fn a_call_that_no_trunk_may_be_paid_for_is_refused_with_the_rule() {
    let mut w = world(|site| {
        site.tenants[0].numbers.spend.per_month = amount("0.005");
        limits(site).per_day = amount("10");
    });
    w.invite("user-a", A, NUMBER, &offer(), "");
    assert_eq!(w.take_final(A).status(), 403);
    assert!(w.nothing_for(P1) && w.nothing_for(P2), "no provider hears of it");
    let cdr = w.cdrs()[0];
    assert_eq!((cdr.cause, cdr.rule.as_deref()), (Some(EndCause::Refused), Some("spending.month")));
    assert!(
        cdr.reason.contains("tenant Acme has 0.005 EUR left of the 0.005 that it may spend in a month"),
        "{}",
        cdr.reason
    );
    let answer = explain(&mut w, NUMBER);
    assert_eq!(answer.refused_by.as_deref(), Some("spending.month"));
    assert!(answer.outcome.starts_with("is refused with 403: tenant Acme has"), "{}", answer.outcome);
    match w.command(Command::Spending { account: None, extensions: true }) {
        CommandReply::Spending { counts, items } => {
            assert_eq!(counts.refused.get("spending.month"), Some(&1));
            assert!(items.iter().any(|item| item.account == "tenant:Acme"));
            assert!(!items.iter().any(|item| item.account == "102"), "it has no limit and has spent nothing");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_number_without_a_rate_is_refused_where_a_limit_applies_unless_the_tenant_allows_it() {
    for (limited, unrated, passes) in
        [(false, Unrated::Refuse, true), (true, Unrated::Refuse, false), (true, Unrated::Allow, true)]
    {
        let mut w = world(|site| {
            site.tenants[0].numbers.unrated = unrated;
            limits(site).per_day = limited.then_some(1);
        });
        w.invite("user-a", A, "0012125550100", &offer(), "");
        if passes {
            let invite = w.take(P1);
            says(&mut w, P1, &invite, 200);
            assert_eq!(w.take_final(A).status(), 200);
            assert!(spent(&w).is_empty());
        } else {
            assert_eq!(w.take_final(A).status(), 403);
            assert_eq!(w.cdrs()[0].rule.as_deref(), Some("spending.unrated"));
            assert!(w.cdrs()[0].reason.contains("trunk one has no rate for the number"), "{}", w.cdrs()[0].reason);
        }
    }
}

#[test]
fn a_call_for_help_is_never_refused_for_what_it_costs() {
    let mut w = world(|site| {
        let zero = SpendLimits { per_call: Some(0), per_day: Some(0), per_month: Some(0) };
        *limits(site) = zero;
        site.tenants[0].numbers.spend = zero;
        site.trunks.values_mut().for_each(|trunk| trunk.spend = zero);
    });
    let call_id = w.invite("user-a", A, "112", &offer(), "");
    let invite = w.take(P1);
    says(&mut w, P1, &invite, 200);
    let ok = w.take_final(A);
    let call = Established::new(A, P1, call_id, invite, ok);
    w.send(A, &call.of_a("ACK", 2, "", ""));
    w.pass(Duration::from_secs(600));
    assert!(w.cdrs().is_empty(), "it goes on");
    assert_eq!(explain(&mut w, "112").refused_by, None);
}

#[test]
fn what_one_call_holds_another_cannot_spend() {
    let mut w = world(|site| {
        site.outbound[0].trunks = vec![TWO];
        site.trunks.get_mut(&TWO).unwrap().spend.per_day = amount("0.60");
    });
    let call_id = w.invite("user-a", A, NUMBER, &offer(), "");
    let invite = w.take(P2);
    assert_eq!((item(&mut w, "trunk:two").reserved.as_str(), item(&mut w, "101").reserved.as_str()), ("0.35", "0.35"));
    w.invite("user-b", B, NUMBER, &offer(), "");
    assert_eq!(w.take_final(B).status(), 403, "0.35 and 0.35 are more than 0.60");
    w.cancel("user-a", A, &format!("sip:{NUMBER}@{DOMAIN}"), &call_id);
    assert_eq!(item(&mut w, "trunk:two").reserved, "0.35", "its answer may be on the way");
    says(&mut w, P2, &invite, 100);
    let cancel = w.take_starting(P2, "CANCEL");
    says(&mut w, P2, &cancel, 200);
    says(&mut w, P2, &invite, 487);
    assert_eq!((item(&mut w, "trunk:two").reserved.as_str(), total(&w).as_str()), ("0.00", "0.00"));
    w.invite("user-b", B, NUMBER, &offer(), "");
    let invite = w.take_starting(P2, "INVITE");
    says(&mut w, P2, &invite, 486);
    assert_eq!(item(&mut w, "trunk:two").reserved, "0.00", "busy costs nothing");
}

#[test]
fn an_answer_that_comes_after_the_call_was_given_up_is_charged() {
    let mut w = world(|site| site.outbound[0].trunks = vec![TWO]);
    let call_id = w.invite("user-a", A, NUMBER, &offer(), "");
    let invite = w.take(P2);
    says(&mut w, P2, &invite, 100);
    w.cancel("user-a", A, &format!("sip:{NUMBER}@{DOMAIN}"), &call_id);
    says(&mut w, P2, &invite, 200);
    assert!(first_line(&w.take_starting(P2, "BYE")).starts_with("BYE "));
    assert_eq!((total(&w).as_str(), item(&mut w, "101").reserved.as_str()), ("0.35", "0.00"));
}

#[test]
fn a_silent_trunk_keeps_what_is_held_for_it_while_the_next_one_is_tried() {
    let mut w = world(|site| site.trunks.values_mut().for_each(|t| t.spend.per_day = amount("5")));
    w.invite("user-a", A, NUMBER, &offer(), "");
    let late = w.take(P1);
    w.pass(Trunk::ANSWER_WITHIN);
    let invite = w.take_starting(P2, "INVITE");
    assert_eq!(item(&mut w, "101").reserved, "0.36", "0.01 by the first, 0.35 by the second");
    says(&mut w, P2, &invite, 200);
    assert_eq!(w.take_final(A).status(), 200);
    assert_eq!((item(&mut w, "101").reserved.as_str(), total(&w).as_str()), ("0.01", "0.35"));
    says(&mut w, P1, &late, 200);
    assert_eq!((item(&mut w, "101").reserved.as_str(), total(&w).as_str()), ("0.00", "0.36"), "both were answered");
}

#[test]
fn a_call_over_midnight_is_paid_by_two_days_and_a_new_day_has_its_own_money() {
    let mut w = world(|site| limits(site).per_day = amount("1"));
    w.pass(TO_MIDNIGHT - Duration::from_secs(60));
    let first = call(&mut w, P1);
    w.pass(Duration::from_secs(120));
    assert!(w.cdrs().is_empty(), "a limit of 100 s a day, and midnight after 60 s");
    hang_up(&mut w, &first);
    let by_day = |day| spent(&w).iter().filter(|s| s.day == LocalDay(day)).map(|s| s.amount).sum::<i64>();
    assert_eq!((by_day(20_260_921), by_day(20_260_922)), (600_000, 600_000));
    let item = item(&mut w, "101");
    assert_eq!((item.day.as_str(), item.spent_today.as_str()), ("2026-09-22", "0.60"));
    assert_eq!((item.spent_this_month.as_str(), item.left_today.as_deref()), ("1.20", Some("0.40")));
}

#[test]
fn a_lower_limit_ends_the_calls_that_run_over_it() {
    let mut w = world(|site| limits(site).per_day = amount("100"));
    call(&mut w, P1);
    w.pass(Duration::from_secs(100));
    let mut site = lines();
    limits(&mut site).per_day = amount("1.10");
    site.revision = 2;
    let now = w.now;
    w.switch.apply_site(now, Arc::new(site));
    w.pass(Duration::from_secs(11));
    ended_by_us(&mut w, P1);
    assert_eq!((w.cdrs()[0].rule.as_deref(), total(&w).as_str()), (Some("spending.day"), "1.10"));
}

/// The provider has forked a call: another phone there answers as well.
fn answers_too(w: &mut World, provider: &str, invite: &Message, tag: &str) {
    let contact = format!("Contact: <sip:{provider}>\r\n");
    w.send_to(1, OUTSIDE, provider, &reply(invite, 200, tag, &contact, &sdp("203.0.113.1", 6000, "8 101")));
}

#[test]
fn every_answer_of_a_providers_fork_is_hung_up_and_charged_and_the_limit_counts_it() {
    let mut w = world(|site| {
        limits(site).per_day = amount("1.10");
        site.outbound[0].trunks = vec![TWO];
    });
    let up = call(&mut w, P2);
    for (tag, sum) in [("q", "0.70"), ("r", "1.05")] {
        answers_too(&mut w, P2, &up.invite, tag);
        assert!(first_line(&w.take(P2)).starts_with("ACK "));
        let bye = w.take(P2);
        assert!(first_line(&bye).starts_with("BYE "));
        says(&mut w, P2, &bye, 202);
        assert_eq!(total(&w), sum);
        // Its 2xx comes again, as over UDP it may: it is the same answer.
        answers_too(&mut w, P2, &up.invite, tag);
        assert_eq!(total(&w), sum);
    }
    assert_eq!(item(&mut w, "101").left_today.as_deref(), Some("0.05"));
    assert_eq!(w.notices.iter().filter(|notice| notice.rule == "spending.fork").count(), 2);
    w.sent.clear();
    // 0.05 and 0.30 for a minute were paid; the next minute is not covered any more.
    w.pass(Duration::from_secs(60));
    ended_by_us(&mut w, P2);
    assert_eq!(w.cdrs()[0].cost.as_ref().map(|cost| money::text(cost.amount)).as_deref(), Some("1.05"));
    w.assert_empty();
}

#[test]
fn a_forks_answer_is_charged_after_the_call_was_over_too_and_once_it_cannot_come_it_is_forgotten() {
    let mut w = world(|site| site.outbound[0].trunks = vec![TWO]);
    let up = call(&mut w, P2);
    hang_up(&mut w, &up);
    answers_too(&mut w, P2, &up.invite, "q");
    let bye = w.take_starting(P2, "BYE");
    says(&mut w, P2, &bye, 202);
    assert_eq!(total(&w), "0.70");
    // It comes once more when all is over: the same answer, and no further charge.
    answers_too(&mut w, P2, &up.invite, "q");
    while let Some(message) = w.try_take(P2) {
        if first_line(&message).starts_with("BYE ") {
            says(&mut w, P2, &message, 202);
        }
    }
    assert_eq!(total(&w), "0.70");

    // A call that was given up, and that two phones of the provider's answer all the same.
    let call_id = w.invite("user-a", A, NUMBER, &offer(), "");
    let invite = w.take_starting(P2, "INVITE");
    says(&mut w, P2, &invite, 100);
    w.cancel("user-a", A, &format!("sip:{NUMBER}@{DOMAIN}"), &call_id);
    for tag in ["x", "y"] {
        answers_too(&mut w, P2, &invite, tag);
        let bye = w.take_starting(P2, "BYE");
        says(&mut w, P2, &bye, 202);
    }
    assert_eq!((total(&w).as_str(), item(&mut w, "101").reserved.as_str()), ("1.40", "0.00"));
    w.pass(Duration::from_secs(70));
    answers_too(&mut w, P2, &invite, "z");
    assert_eq!(total(&w), "1.40", "nobody knows it any more");
    w.assert_empty();
}

/// Begins a test call of trunk two, up to its INVITE.
fn begin_test(w: &mut World) -> (u64, Message) {
    let ask = Command::TrunkTest { name: "two".into(), number: Some(NUMBER.into()) };
    let CommandReply::TrunkTest(trial) = w.command(ask) else { panic!("a test begins") };
    let asked = w.take_starting(P2, "OPTIONS ");
    says(w, P2, &asked, 202);
    (trial.test, w.take_starting(P2, "INVITE "))
}

fn test_steps(w: &mut World, test: u64) -> Vec<String> {
    match w.command(Command::TrunkTestResult { test }) {
        CommandReply::TrunkTest(trial) => trial.steps,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_test_call_of_a_trunk_is_paid_for_like_any_other() {
    let mut w = world(|site| site.trunks.get_mut(&TWO).unwrap().spend.per_day = amount("1"));
    let reserved = |w: &mut World| (item(w, "trunk:two").reserved, total(w));
    let (_, invite) = begin_test(&mut w);
    assert_eq!(reserved(&mut w), ("0.35".to_owned(), "0.00".to_owned()));
    says(&mut w, P2, &invite, 404);
    assert_eq!(reserved(&mut w), ("0.00".to_owned(), "0.00".to_owned()), "refused costs nothing");

    let (_, invite) = begin_test(&mut w);
    says(&mut w, P2, &invite, 200);
    let bye = w.take_starting(P2, "BYE ");
    says(&mut w, P2, &bye, 202);
    assert_eq!(reserved(&mut w), ("0.00".to_owned(), "0.35".to_owned()), "answered");

    // It rings, and is answered while our CANCEL is on its way.
    let (_, invite) = begin_test(&mut w);
    w.send_to(1, OUTSIDE, P2, &reply(&invite, 180, "p", &format!("Contact: <sip:{P2}>\r\n"), ""));
    assert!(first_line(&w.take(P2)).starts_with("CANCEL "));
    assert_eq!(reserved(&mut w), ("0.35".to_owned(), "0.35".to_owned()), "its answer may be on the way");
    says(&mut w, P2, &invite, 200);
    assert_eq!(reserved(&mut w), ("0.00".to_owned(), "0.70".to_owned()));
    w.sent.clear();

    let CommandReply::TrunkTest(trial) =
        w.command(Command::TrunkTest { name: "two".into(), number: Some(NUMBER.into()) })
    else {
        panic!("a test begins")
    };
    let asked = w.take_starting(P2, "OPTIONS ");
    says(&mut w, P2, &asked, 202);
    assert!(w.nothing_for(P2), "no INVITE");
    let steps = test_steps(&mut w, trial.test);
    let last = steps.last().unwrap();
    assert!(last.contains("no call: trunk two has 0.30 EUR left of the 1.00"), "{last}");
    assert_eq!(item(&mut w, "trunk:two").spent_today, "0.70");
    w.assert_empty();
}

#[test]
fn another_currency_begins_with_sums_of_its_own_and_the_old_ones_stay_apart() {
    let mut w = world(|site| limits(site).per_day = amount("1"));
    let first = call(&mut w, P1);
    w.pass(Duration::from_millis(79_500));
    hang_up(&mut w, &first);
    let running = call(&mut w, P1);
    let mut site = lines();
    limits(&mut site).per_day = amount("1");
    for table in site.rates.values_mut() {
        *table = Arc::new(RateTable { currency: "GBP".into(), ..(**table).clone() });
    }
    site.revision = 2;
    w.apply(site.clone());
    let told = w.notices.iter().find(|notice| notice.rule == "spending.currency").unwrap();
    assert!(told.text.contains("in GBP now") && told.text.contains("spent in EUR is kept apart"), "{}", told.text);
    // The call that began in EUR is still counted, and ended, there.
    w.pass(Duration::from_millis(19_600));
    ended_by_us(&mut w, P1);
    assert_eq!(w.cdrs()[1].cost.as_ref().map(|cost| cost.currency.as_str()), Some("EUR"));
    drop(running);

    let second = call(&mut w, P1);
    w.pass(Duration::from_millis(29_500));
    hang_up(&mut w, &second);
    let items = |w: &mut World| match w.command(Command::Spending { account: Some("101".into()), extensions: true }) {
        CommandReply::Spending { items, .. } => items,
        other => panic!("{other:?}"),
    };
    let sums = |w: &mut World| -> Vec<(Option<String>, String, Option<String>)> {
        items(w).into_iter().map(|item| (item.currency, item.spent_today, item.left_today)).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    let expected = [(text("GBP"), "0.30".to_owned(), text("0.70")), (text("EUR"), "1.00".to_owned(), None)].to_vec();
    assert_eq!(sums(&mut w), expected);

    // A restart, by sums of which the oldest were written without a currency.
    let mut kept = totals(&spent(&w));
    w.switch = Switch::new(config(), Arc::new(site), Clock { instant: w.now, unix: UnixMillis(BEGIN) }, [9; 32]);
    w.switch.restore_spending(&kept);
    assert_eq!(sums(&mut w), expected);
    kept.retain(|total| total.currency == "GBP");
    kept.iter_mut().for_each(|total| total.currency.clear());
    w.switch.restore_spending(&kept);
    assert_eq!(sums(&mut w)[0], (text("GBP"), "0.60".to_owned(), text("0.40")), "that of the rates");
}

/// The sums that the database makes of the journal.
fn totals(journal: &[Spent]) -> Vec<SpentTotal> {
    let mut sums = std::collections::BTreeMap::new();
    for spent in journal {
        for account in spent.accounts() {
            *sums.entry((account, spent.day, spent.currency.clone())).or_insert(0i64) += spent.amount;
        }
    }
    let total = |((account, day, currency), amount): ((Account, LocalDay, String), i64)| SpentTotal {
        account,
        day,
        amount: u64::try_from(amount).unwrap(),
        currency,
    };
    sums.into_iter().map(total).collect()
}

#[test]
fn a_restart_does_not_make_spent_money_new() {
    let mut site = lines();
    limits(&mut site).per_day = amount("1");
    let mut w = World::with(config(), site.clone());
    let begin = w.now;
    w.register("user-a", A);
    call(&mut w, P1);
    w.pass(Duration::from_secs(40));
    // The process is killed; what is journaled is all that is left of it.
    let kept = totals(&spent(&w));
    let unix = UnixMillis(BEGIN + u64::try_from((w.now - begin).as_millis()).unwrap());
    w.switch = Switch::new(config(), Arc::new(site), Clock { instant: w.now, unix }, [9; 32]);
    w.switch.restore_spending(&kept);
    w.sent.clear();
    let left: f64 = item(&mut w, "101").left_today.unwrap().parse().unwrap();
    assert!((0.49..=0.60).contains(&left), "{left}: 40 s, and at most a slice that was paid ahead");
    w.register("user-a", A);
    call(&mut w, P1);
    w.pass(Duration::from_secs(61));
    ended_by_us(&mut w, P1);
    assert!(money::parse(&total(&w)).unwrap() <= 1_000_000, "{}", total(&w));
}
