//! Mailboxes as the switch knows them: how full each is, who leaves a message just now, and what is asked of whoever keeps
//! the messages. What is said in such a call is in `call::voicemail`; files and rows are the store's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringfort_media::sound::Prompt;
use ringfort_media::types::RecordId;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::Switch;
use crate::io::Level;
use crate::model::{CallId, ExtensionId, Pii, TenantId};
use crate::record::UnixMillis;

/// The name of the rule in logs.
pub(crate) const RULE: &str = "voicemail";

/// A stored message, for the whole of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub u64);

impl std::fmt::Display for MessageId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A message that is being left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// Its sound: what the packet path records under this id.
    pub record: RecordId,
    pub call: CallId,
    pub tenant: TenantId,
    pub mailbox: ExtensionId,
    /// The caller's number; empty where he has none.
    pub from: Pii<String>,
    pub at: UnixMillis,
}

/// What the switch asks of whoever keeps messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailAsk {
    /// A recording begins, and is this message. Answered by [`MailNews::Deposited`] when it is over.
    Deposit(Box<Deposit>),
    /// The newest message of a mailbox, or the newest that is older than `before`. Answered by [`MailNews::Fetched`].
    Fetch { call: CallId, mailbox: ExtensionId, before: Option<MessageId> },
    /// Its owner has heard it to the end.
    Heard { message: MessageId },
}

/// What whoever keeps messages says.
#[derive(Clone, Debug)]
pub enum MailNews {
    /// How full all mailboxes are; one that is not named is empty.
    Uses(Vec<MailboxUse>),
    /// What became of a recording.
    Deposited { tenant: TenantId, call: CallId, outcome: DepositOutcome },
    /// `message`: none is left.
    Fetched { call: CallId, message: Option<(MessageId, Arc<Prompt>)> },
}

/// How full a mailbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxUse {
    pub mailbox: ExtensionId,
    pub messages: u32,
    /// Of its files.
    pub octets: u64,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DepositOutcome {
    Kept {
        message: MessageId,
        length: Duration,
    },
    /// Nothing was heard in it, or too little.
    Short,
    /// It could not be written; why is in the log of whoever tried.
    Failed,
}

/// All mailboxes.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    uses: FxHashMap<ExtensionId, MailboxUse>,
    /// Calls in which a message is left, or will be.
    deposits: FxHashMap<CallId, ExtensionId>,
    next_record: u64,
}

impl Mail {
    pub fn messages(&self) -> usize {
        self.uses.values().map(|of| of.messages as usize).sum()
    }

    pub fn begin(&mut self, call: CallId, mailbox: ExtensionId) {
        self.deposits.insert(call, mailbox);
    }

    /// The call is over.
    pub fn over(&mut self, call: CallId) {
        self.deposits.remove(&call);
    }

    pub fn record(&mut self) -> RecordId {
        self.next_record += 1;
        RecordId(self.next_record)
    }
}

impl Switch {
    /// Why no message can be left in a mailbox now.
    ///
    /// # Errors
    /// In words.
    pub(crate) fn mailbox_has_room(&self, mailbox: ExtensionId) -> Result<(), String> {
        let limits = &self.config.voicemail;
        let now = self.mail.deposits.values().filter(|of| **of == mailbox).count();
        if self.mail.deposits.len() >= limits.at_once as usize {
            return Err(format!("{} messages are being left, and that is the limit", limits.at_once));
        }
        let of = self.mail.uses.get(&mailbox).copied().unwrap_or(MailboxUse { mailbox, messages: 0, octets: 0 });
        if of.messages as usize + now >= limits.messages as usize {
            return Err(format!("the mailbox has {} messages, and that is its limit", of.messages));
        }
        if of.octets >= limits.octets {
            return Err(format!("the mailbox has {} MB of messages, and that is its limit", of.octets >> 20));
        }
        Ok(())
    }

    /// What whoever keeps messages says.
    pub fn handle_mail(&mut self, now: Instant, news: MailNews) {
        match news {
            MailNews::Uses(uses) => self.mail.uses = uses.into_iter().map(|of| (of.mailbox, of)).collect(),
            MailNews::Deposited { tenant, call, outcome } => {
                let (level, text) = match outcome {
                    DepositOutcome::Kept { message, length } => {
                        self.counters.voicemail_kept += 1;
                        (Level::Info, format!("message {message} of {} s is kept", length.as_secs().max(1)))
                    }
                    DepositOutcome::Short => {
                        self.counters.voicemail_short += 1;
                        (Level::Info, "nothing was said, or less than a second: no message is kept".to_owned())
                    }
                    DepositOutcome::Failed => {
                        self.counters.voicemail_failed += 1;
                        (Level::Warn, "a message could not be kept".to_owned())
                    }
                };
                self.notice(level, Some(tenant), Some(call), RULE, text);
            }
            MailNews::Fetched { call, message } => self.on_message_fetched(now, call, message),
        }
        self.handle_events(now);
    }
}
