//! Voicemail in a call. A caller hears a prompt and a beep, and what he says then is recorded until he hangs up, is quiet
//! or has said enough; he can do nothing else there (DOM-4). A phone that dials the code hears its own messages.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfort_guard::Admitted;
use ringfort_media::sound::{Part, Prompt, Sound, Spoken, Tone};
use ringfort_media::types::{self as media, RecordEnd, RecordId, Recording, StreamId};
use ringfort_sip::endpoint::ServerTx;
use ringfort_sip::flow::Flow;
use ringfort_sip::message::Message;

use super::CALLER;
use super::announce::{Announcement, GRACE, LONGEST, Stage, Then};
use super::setup::{CallerSide, Refusal};
use crate::Switch;
use crate::crossing;
use crate::io::{Level, Output};
use crate::model::{CallId, ExtensionId};
use crate::record::{Cdr, EndCause};
use crate::voicemail::{Deposit, MailAsk, MessageId, RULE};

/// Of the code by which a phone hears its messages.
const CODE: &str = "feature.voicemail";

impl Switch {
    /// A caller who is to leave a message, in place of a refusal that `verdict` is: that is what he gets where nothing can be
    /// played to him.
    ///
    /// # Errors
    /// Why there is no room for his message.
    pub(super) fn deposit_plan(&self, mailbox: ExtensionId, verdict: Refusal) -> Result<Announcement, String> {
        self.mailbox_has_room(mailbox)?;
        let beep = Part::Tone(Tone::single(1000), Duration::from_millis(400));
        let parts = vec![Part::Silence(Duration::from_millis(500)), Part::Prompt(Spoken::LeaveMessage.prompt()), beep];
        let longest = LONGEST + self.config.voicemail.longest;
        let plan = Announcement::answer(Sound::once(parts), verdict);
        Ok(Announcement { then: Then::Record { mailbox }, longest, ..plan })
    }

    /// A phone wants to hear its messages.
    #[allow(clippy::too_many_arguments, reason = "each is a different fact about one attempt")]
    pub(super) fn on_mailbox_code(
        &mut self,
        now: Instant,
        admitted: Admitted,
        tx: ServerTx,
        cdr: Box<Cdr>,
        side: CallerSide,
        mailbox: ExtensionId,
        request: &Message,
        flow: &Flow,
    ) {
        let pause = Sound::once(vec![Part::Silence(Duration::from_millis(300))]);
        let verdict = Refusal::new(200, CODE, "it hears its messages");
        let plan = Announcement::answer(pause, verdict);
        let longest = self.config.calls.max_duration;
        let plan = Announcement { then: Then::Messages { mailbox, after: None }, longest, ..plan };
        self.start_announcement(now, admitted, tx, cdr, side, plan, request, flow);
    }

    /// What there was to play has been played.
    pub(super) fn after_sound(&mut self, now: Instant, id: CallId) {
        let Some(announcing) = self.announcing(id) else { return };
        match announcing.then() {
            Then::End => self.finish_announcement(now, id),
            Then::Record { mailbox } => self.begin_recording(now, id, mailbox),
            Then::Messages { mailbox, after } => {
                if let Some(message) = after {
                    self.counters.voicemail_played += 1;
                    self.outputs.push_back(Output::Mail(MailAsk::Heard { message }));
                }
                self.fetch_message(now, id, mailbox, after);
            }
        }
    }

    fn begin_recording(&mut self, now: Instant, id: CallId, mailbox: ExtensionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(ear) = call.bridge.ear(call.legs[CALLER].media) else { return self.finish_announcement(now, id) };
        let number = self.directory.extension(mailbox).map(|e| e.number.clone()).unwrap_or_default();
        let record = self.mail.record();
        let deposit = Deposit {
            record,
            call: id,
            tenant: call.tenant,
            mailbox,
            from: call.cdr.caller.clone(),
            at: self.clock.unix(now),
        };
        let text = format!("{} leaves a message for {number}", call.cdr.caller);
        let tenant = call.tenant;
        call.cdr.more.voicemail = Some(number);
        let limits = self.config.voicemail;
        let recording = Recording {
            id: record,
            payload_type: ear.payload_type,
            codec: ear.codec,
            quiet: limits.quiet,
            longest: limits.longest,
        };
        // Whose message it is stands before what comes of it.
        self.outputs.push_back(Output::Mail(MailAsk::Deposit(Box::new(deposit))));
        self.outputs.push_back(Output::Media(media::Command::Record { id: ear.stream, recording }));
        self.counters.voicemail_calls += 1;
        self.set_stage(id, Stage::Recording(record));
        self.announce_at(id, now + limits.longest + GRACE);
        self.notice(Level::Info, Some(tenant), Some(id), RULE, text);
    }

    /// The packet path has ended a recording.
    pub(crate) fn on_recorded(&mut self, now: Instant, id: StreamId, record: RecordId, end: RecordEnd) {
        let Some(id) = self.streams.call_of(id) else { return };
        if self.announcing(id).is_none_or(|announcing| announcing.stage() != Stage::Recording(record)) {
            return;
        }
        let why = match end {
            RecordEnd::Quiet => "nothing more was said",
            RecordEnd::Longest => "the longest message is over",
            RecordEnd::Stopped => "the recording was stopped",
        };
        let words = crossing::reason("Q.850", 16, "Done");
        self.end_call(now, id, None, 200, EndCause::Normal, &words, &format!("a message was left: {why}"));
    }

    fn fetch_message(&mut self, now: Instant, id: CallId, mailbox: ExtensionId, before: Option<MessageId>) {
        self.set_stage(id, Stage::Fetching);
        self.outputs.push_back(Output::Mail(MailAsk::Fetch { call: id, mailbox, before }));
        self.announce_at(id, now + GRACE);
    }

    /// A message for a phone that waits for it; the phone may have hung up.
    pub(crate) fn on_message_fetched(&mut self, now: Instant, id: CallId, found: Option<(MessageId, Arc<Prompt>)>) {
        let Some(announcing) = self.announcing(id).filter(|a| a.stage() == Stage::Fetching) else { return };
        let Then::Messages { mailbox, after } = announcing.then() else { return };
        let beep = Part::Tone(Tone::single(800), Duration::from_millis(250));
        let pause = || Part::Silence(Duration::from_millis(400));
        let (then, parts) = match found {
            Some((message, prompt)) => {
                (Then::Messages { mailbox, after: Some(message) }, vec![beep, pause(), Part::Prompt(prompt), pause()])
            }
            None if after.is_none() => (Then::End, vec![Part::Prompt(Spoken::NoMessages.prompt())]),
            None => return self.finish_announcement(now, id),
        };
        announcing.set_then(then);
        self.play_to_caller(now, id, Arc::new(Sound::once(parts)));
    }
}
