//! Blacklists at a call: what a blocked caller hears (BLACK-4), and the codes by which a phone changes lists (BLACK-3).
//! Phones of ours only: neither a trunk's call nor a stranger's is ever looked at for a code (DOM-4).

use std::time::{Duration, Instant};

use ringfort_guard::{Admitted, Reach};
use ringfort_media::sound::{Country, Signal, Sound, Spoken};
use ringfort_sip::endpoint::ServerTx;
use ringfort_sip::flow::Flow;
use ringfort_sip::message::Message;

use super::announce::Announcement;
use super::door::Asker;
use super::setup::{CallerSide, Heard, Refusal};
use crate::Switch;
use crate::blacklist::{Blocked, has_no_full_form};
use crate::io::Level;
use crate::model::{BlacklistCode, ExtensionId, NumberForm, TenantId, Treatment, Trunk, mask};
use crate::record::{Cdr, Listed};

/// The name of the rule in logs and records.
const RULE: &str = "blacklist";
/// Of a code that changes a list.
const CODE: &str = "feature.blacklist";
/// Ringing, and then busy, for so long.
const EACH: Duration = Duration::from_secs(5);

impl Switch {
    /// A caller who is on a list hears what the trunk says.
    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one attempt")]
    pub(super) fn turn_blocked(
        &mut self,
        now: Instant,
        door: &Asker,
        tx: ServerTx,
        cdr: Box<Cdr>,
        side: CallerSide,
        (trunk, blocked, callee): (&Trunk, &Blocked, Option<ExtensionId>),
        request: &Message,
        flow: &Flow,
    ) {
        self.counters.calls_blacklisted += 1;
        let plan = self.router.plan(trunk.tenant);
        let name = plan.and_then(|plan| plan.blacklists.names.get(&blocked.list));
        let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
        let mut text = format!(
            "{} is on blacklist {}{name} by the entry {}",
            mask(&blocked.number),
            blocked.list,
            mask(&blocked.entry)
        );
        let busy = tones(plan.map_or("", |plan| &plan.country)).sound(Signal::Busy).at_most(EACH);
        let mut deposit = None;
        if let (Treatment::Voicemail, Some(mailbox)) = (trunk.blocked, callee) {
            match self.deposit_plan(mailbox, Refusal::new(486, RULE, text.clone())) {
                Ok(plan) => deposit = Some(plan),
                Err(full) => {
                    self.counters.voicemail_full += 1;
                    text.push_str(&format!("; no voicemail: {full}"));
                }
            }
        }
        let verdict = |status| Refusal::new(status, RULE, text.clone());
        let plan = match trunk.blocked {
            Treatment::Reject => return self.turn_away(now, tx, cdr, verdict(603), Heard::Kept, request, flow),
            Treatment::Reject608 => {
                let mut refusal = verdict(608);
                if let Some(card) = self.complaint(now) {
                    refusal.headers.push("Call-Info", card);
                }
                return self.turn_away(now, tx, cdr, refusal, Heard::Kept, request, flow);
            }
            Treatment::Busy => Announcement::early(EACH, busy, verdict(486)),
            Treatment::Voicemail => deposit.unwrap_or_else(|| Announcement::early(EACH, busy, verdict(486))),
            Treatment::Prompt => Announcement::early(Duration::ZERO, Spoken::CallRefused.sound(), verdict(603)),
        };
        // What he hears is played by us, and costs nobody anything.
        match door.admit(now, &mut Reach::Local) {
            Ok((proof, ())) => {
                self.start_announcement(now, proof, tx, cdr, side, plan, request, flow);
            }
            Err(refusal) => self.turn_away(now, tx, cdr, refusal.into(), Heard::Kept, request, flow),
        }
    }

    /// A phone has dialled a code: it hears whether that was done.
    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one attempt")]
    pub(super) fn on_blacklist_code(
        &mut self,
        now: Instant,
        admitted: Admitted,
        tx: ServerTx,
        cdr: Box<Cdr>,
        side: CallerSide,
        code: &BlacklistCode,
        request: &Message,
        flow: &Flow,
    ) {
        let (call, tenant) = (cdr.call, cdr.tenant);
        let number = code.number.as_deref().and_then(|number| self.listable(tenant, number));
        let lists: Vec<String> = code.lists.iter().map(u32::to_string).collect();
        let lists = lists.join(", ");
        let (sound, words) = match (&number, code.deletes) {
            (Some(number), false) => (Sound::confirmation(), format!("{} goes on blacklist {lists}", mask(number))),
            (Some(number), true) => (Sound::confirmation(), format!("{} leaves blacklist {lists}", mask(number))),
            (None, _) => (Sound::refusal(), "a code with a list and a number was expected, got none".to_owned()),
        };
        let plan = Announcement::answer(sound, Refusal::new(200, CODE, words.clone()));
        // What cannot be heard is not done: nobody would know.
        if self.start_announcement(now, admitted, tx, cdr, side, plan, request, flow)
            && let Some(number) = number
        {
            let listed = if code.deletes { Listed::Gone } else { Listed::ForEver };
            let changed = self.list_number(tenant, &code.lists, &number, listed);
            let text = format!("{words}; {changed} of {} lists changed", code.lists.len());
            self.notice(Level::Info, Some(tenant), Some(call), CODE, text);
        }
    }

    /// The number in the tenant's form, where it can be a caller's.
    fn listable(&self, tenant: TenantId, number: &str) -> Option<String> {
        let plan = self.router.plan(tenant)?;
        let number = plan.blacklists.form.apply(plan, number);
        if plan.blacklists.form == NumberForm::E164 && has_no_full_form(&number) {
            return None;
        }
        let digits = number.strip_prefix('+');
        digits.is_none_or(|digits| (7..=15).contains(&digits.len())).then_some(number)
    }
}

/// Whose tones the callers of a country know, by its calling code.
fn tones(country: &str) -> Country {
    Country::from_code(match country {
        "1" => "US",
        "7" => "RU",
        "31" => "NL",
        "33" => "FR",
        "34" => "ES",
        "39" => "IT",
        "41" => "CH",
        "43" => "AT",
        "44" => "GB",
        "46" => "SE",
        "48" => "PL",
        "49" => "DE",
        "61" => "AU",
        "81" => "JP",
        _ => "",
    })
}
