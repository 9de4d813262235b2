//! Every attempt has exactly one record, and every record an attempt: compared when all has come to rest, life by life of the
//! switch. A life that ended in a crash may owe the record of an attempt that nobody was told the end of, and of no other.

use std::collections::BTreeMap;

use ringfort_switch::record::{Cdr, EndCause};

use super::Attempt;

type Pair = (String, String);

/// What there is of the calls from one party to another.
#[derive(Default)]
struct Account {
    attempts: usize,
    /// Attempts whose caller heard this status, and records with it.
    told: BTreeMap<u16, usize>,
    records: BTreeMap<u16, usize>,
    /// Answered calls that were hung up, and records that say how such a one ended.
    hung_up: usize,
    closed: usize,
}

fn accounts<'a>(
    attempts: impl Iterator<Item = &'a Attempt>,
    records: impl Iterator<Item = &'a Cdr>,
) -> BTreeMap<Pair, Account> {
    let mut accounts: BTreeMap<Pair, Account> = BTreeMap::new();
    for attempt in attempts {
        // Refused before it was an attempt: no credentials, a loop, or merged with another.
        if matches!(attempt.status(), Some(401 | 407 | 482 | 483)) {
            continue;
        }
        let account = accounts.entry((attempt.caller.clone(), attempt.callee.clone())).or_default();
        account.attempts += 1;
        if let Some(status) = attempt.status() {
            *account.told.entry(status).or_default() += 1;
            account.hung_up += usize::from(status == 200 && attempt.hung_up);
        }
    }
    // An attempt with wrong credentials has a record too.
    for cdr in records.filter(|cdr| !matches!(cdr.status, 401 | 407)) {
        let account = accounts.entry((cdr.caller.reveal().clone(), cdr.callee.reveal().clone())).or_default();
        *account.records.entry(cdr.status).or_default() += 1;
        account.closed += usize::from(cdr.status == 200 && cdr.cause != Some(EndCause::Crash));
    }
    accounts
}

/// What is wrong with the books of one life. `whole`: it did not end in a crash.
pub(super) fn compare<'a>(
    attempts: impl Iterator<Item = &'a Attempt>,
    records: impl Iterator<Item = &'a Cdr>,
    whole: bool,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for ((caller, callee), mut account) in accounts(attempts, records) {
        // A called phone that answered makes a record with 200, also where its caller had gone, or gave up, without a PRACK.
        for status in [504, 487] {
            let unheard = account.told.get(&status).copied().unwrap_or_default();
            let unheard = unheard.saturating_sub(account.records.get(&status).copied().unwrap_or_default());
            let told = account.told.get(&200).copied().unwrap_or_default();
            let spare = account.records.get(&200).copied().unwrap_or_default().saturating_sub(told);
            let same = unheard.min(spare);
            if same > 0 {
                account.told.entry(status).and_modify(|count| *count -= same);
                *account.told.entry(200).or_default() += same;
            }
        }
        let mut statuses: Vec<u16> = account.told.keys().chain(account.records.keys()).copied().collect();
        statuses.sort_unstable();
        statuses.dedup();
        for status in statuses {
            let told = account.told.get(&status).copied().unwrap_or_default();
            let recorded = account.records.get(&status).copied().unwrap_or_default();
            if recorded < told || (whole && recorded > told) {
                wrong.push(format!("{caller} to {callee}: {told} heard {status}, {recorded} records have it"));
            }
        }
        let recorded: usize = account.records.values().sum();
        if recorded > account.attempts {
            wrong.push(format!("{caller} to {callee}: {recorded} records of {} attempts", account.attempts));
        }
        if account.closed < account.hung_up {
            wrong.push(format!(
                "{caller} to {callee}: {} calls were hung up, {} records know their end",
                account.hung_up, account.closed
            ));
        }
    }
    wrong
}
