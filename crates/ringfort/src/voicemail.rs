//! Whoever keeps messages: a thread that takes recordings piece by piece, writes each when it is whole, fetches them for
//! phones, and deletes old ones. What a message has until then is in memory alone: a crash in the middle of one leaves
//! nothing of it.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringfort_media::sound::{Prompt, wav};
use ringfort_media::types::{Piece, RecordId, Recorded};
use ringfort_net::mail::{Mail, MailSender};
use ringfort_net::{Handle, HandleError};
use ringfort_store::VoicemailStore;
use ringfort_store::voicemail::NewMessage;
use ringfort_switch::model::ExtensionId;
use ringfort_switch::record::UnixMillis;
use ringfort_switch::voicemail::{Deposit, DepositOutcome, MailAsk, MailNews, MessageId};

use crate::time;

/// Pieces and questions that may wait: at half a second a piece, the disk may stand still for some seconds.
const QUEUE: usize = 512;
/// A message has to have so much in it.
const SHORTEST: Duration = Duration::from_secs(1);
/// What is kept of the quiet behind the last word.
const REST: Duration = Duration::from_millis(500);
/// How often messages that are too old are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(600);
/// The switch's queue of commands may be full for a moment.
const TRIES: u32 = 50;
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// The queue from the switch and the packet path.
pub fn queue() -> (MailSender, Receiver<Mail>) {
    sync_channel(QUEUE)
}

/// What the thread and operators share.
pub struct Mailroom {
    store: Arc<VoicemailStore>,
    handle: Handle,
    /// Zero: for ever.
    keep_for: Duration,
    /// Keeps what is told of mailboxes in order.
    telling: Mutex<()>,
}

/// A message that is being left.
struct Taking {
    deposit: Box<Deposit>,
    wide: bool,
    samples: Vec<i16>,
}

impl Mailroom {
    pub fn new(store: Arc<VoicemailStore>, handle: Handle, keep_for: Duration) -> Arc<Self> {
        Arc::new(Self { store, handle, keep_for, telling: Mutex::default() })
    }

    /// Tells the switch how full the mailboxes are. To be called after each change.
    pub fn tell_uses(&self) {
        let _order = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        match self.store.uses() {
            Ok(uses) => self.say(MailNews::Uses(uses)),
            Err(error) => tracing::warn!(rule = "voicemail", %error, "how full the mailboxes are is not known"),
        }
    }

    fn say(&self, news: MailNews) {
        for _ in 0..TRIES {
            match self.handle.mail_news(news.clone()) {
                Err(HandleError::Busy) => std::thread::sleep(BETWEEN_TRIES),
                // A switch that has stopped need not know.
                Ok(()) | Err(_) => return,
            }
        }
        tracing::warn!(rule = "voicemail", "the switch does not take what it is told of messages");
    }

    /// Starts the thread. It ends when both ends that write into the queue are gone.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn spawn(self: Arc<Self>, mail: Receiver<Mail>) -> std::io::Result<JoinHandle<()>> {
        std::thread::Builder::new().name("voicemail".to_owned()).spawn(move || self.run(&mail))
    }

    #[allow(clippy::disallowed_methods, reason = "the edge: this thread has no other source of time")]
    fn run(&self, mail: &Receiver<Mail>) {
        let mut taking: BTreeMap<RecordId, Taking> = BTreeMap::new();
        self.purge();
        self.tell_uses();
        let mut purge_at = Instant::now() + PURGE_EVERY;
        loop {
            match mail.recv_timeout(purge_at.saturating_duration_since(Instant::now())) {
                Ok(Mail::Ask(MailAsk::Deposit(deposit))) => {
                    taking.insert(deposit.record, Taking { deposit, wide: false, samples: Vec::new() });
                }
                Ok(Mail::Ask(MailAsk::Fetch { call, mailbox, before })) => {
                    let message = self.fetch(mailbox, before);
                    self.say(MailNews::Fetched { call, message });
                }
                Ok(Mail::Ask(MailAsk::Heard { message })) => {
                    if let Err(error) = self.store.set_heard(message) {
                        tracing::warn!(rule = "voicemail", %message, %error, "not marked as heard");
                    }
                }
                Ok(Mail::Piece(piece)) => self.take(&mut taking, piece),
                Err(RecvTimeoutError::Timeout) => {
                    purge_at = Instant::now() + PURGE_EVERY;
                    if self.purge() > 0 {
                        self.tell_uses();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&self, taking: &mut BTreeMap<RecordId, Taking>, piece: Piece) {
        // One that nobody was told of, because the queue was full then.
        let Some(of) = taking.get_mut(&piece.id) else { return };
        of.wide = piece.wide;
        of.samples.extend_from_slice(&piece.samples);
        if let Some(last) = piece.last
            && let Some(of) = taking.remove(&piece.id)
        {
            let (tenant, call) = (of.deposit.tenant, of.deposit.call);
            let outcome = self.keep(of, last);
            self.tell_uses();
            self.say(MailNews::Deposited { tenant, call, outcome });
        }
    }

    fn keep(&self, taking: Taking, last: Recorded) -> DepositOutcome {
        if last.heard < SHORTEST {
            return DepositOutcome::Short;
        }
        let Taking { deposit, wide, mut samples } = taking;
        let rate = if wide { 16_000 } else { 8_000 };
        let kept = (last.heard + REST).as_millis() * rate / 1_000;
        samples.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
        let length = Duration::from_micros(samples.len() as u64 * 1_000_000 / rate as u64);
        let Deposit { tenant, mailbox, call, from, at, record: _ } = *deposit;
        let message = NewMessage { tenant, mailbox, call, from, at, length };
        match self.store.add(message, &wav(&samples, wide)) {
            Ok(stored) => DepositOutcome::Kept { message: stored.id, length },
            Err(error) => {
                tracing::error!(rule = "voicemail", alarm = true, %call, %error, "a message is lost");
                DepositOutcome::Failed
            }
        }
    }

    /// The next message that can be read.
    fn fetch(&self, mailbox: ExtensionId, mut before: Option<MessageId>) -> Option<(MessageId, Arc<Prompt>)> {
        loop {
            let stored = match self.store.newest(mailbox, before) {
                Ok(stored) => stored?,
                Err(error) => {
                    tracing::error!(rule = "voicemail", alarm = true, %error, "messages cannot be read");
                    return None;
                }
            };
            match self.store.sound(stored.id).map(|file| Prompt::from_wav(&file)) {
                Ok(Ok(prompt)) => return Some((stored.id, Arc::new(prompt))),
                Ok(Err(error)) => tracing::error!(rule = "voicemail", message = %stored.id, %error, "passed over"),
                Err(error) => tracing::error!(rule = "voicemail", message = %stored.id, %error, "passed over"),
            }
            before = Some(stored.id);
        }
    }

    /// Deletes what is too old. How many there were.
    fn purge(&self) -> usize {
        if self.keep_for.is_zero() {
            return 0;
        }
        let age = u64::try_from(self.keep_for.as_millis()).unwrap_or(u64::MAX);
        match self.store.purge(UnixMillis(time::now().0.saturating_sub(age))) {
            Ok(0) => 0,
            Ok(gone) => {
                tracing::info!(
                    rule = "voicemail",
                    messages = gone,
                    "deleted: they were kept for as long as they may be"
                );
                gone
            }
            Err(error) => {
                tracing::warn!(rule = "voicemail", %error, "old messages are not deleted");
                0
            }
        }
    }
}
