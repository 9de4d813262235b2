//! Where messages go: what the switch says of them and what the packet path records, in one bounded queue, so that whose
//! message a recording is stands before its first piece. Whoever takes them out writes to the disk; neither thread here does.

use std::sync::mpsc::{SyncSender, TrySendError};

use ringfort_media::relay::Relay;
use ringfort_media::types::Piece;
use ringfort_switch::voicemail::MailAsk;

/// For whoever keeps messages.
#[derive(Debug)]
pub enum Mail {
    Ask(MailAsk),
    Piece(Piece),
}

/// The end that [`Bound::keep_mail`](crate::Bound::keep_mail) takes.
pub type MailSender = SyncSender<Mail>;

/// The shard's end.
pub(crate) fn ask(sender: Option<&MailSender>, ask: MailAsk) {
    let Some(sender) = sender else { return };
    if let Err(error) = sender.try_send(Mail::Ask(ask)) {
        // A recording that nobody was told of is thrown away; a phone that waits for a message is hung up.
        tracing::error!(rule = "voicemail", alarm = true, %error, "whoever keeps messages does not keep up");
    }
}

/// The media thread's end. What finds the queue full waits here and in the relay: a slow disk costs no piece of a message.
pub(crate) struct Pieces {
    sender: Option<MailSender>,
    unsent: Option<Mail>,
}

impl Pieces {
    pub(crate) fn new(sender: Option<MailSender>) -> Self {
        Self { sender, unsent: None }
    }

    pub(crate) fn waits(&self) -> bool {
        self.unsent.is_some()
    }

    pub(crate) fn hand_over(&mut self, relay: &mut Relay) {
        while let Some(piece) = self.unsent.take().or_else(|| relay.poll_piece().map(Mail::Piece)) {
            let Some(sender) = &self.sender else { continue };
            if let Err(TrySendError::Full(piece)) = sender.try_send(piece) {
                self.unsent = Some(piece);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::{Duration, Instant};

    use ringfort_media::relay::RelayConfig;
    use ringfort_media::sound::VoiceCodec;
    use ringfort_media::types::{Command, PortId, RecordId, Recording, StreamId};

    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
    fn a_piece_that_finds_the_queue_full_is_handed_over_later_and_in_its_order() {
        let now = Instant::now();
        let mut relay = Relay::new(RelayConfig::default(), [1; 32], now, 0);
        relay.handle_command(now, Command::Open { id: StreamId(1), port: PortId(10_000) });
        for id in 1..=3 {
            let (quiet, longest) = (Duration::from_secs(10), Duration::from_secs(180));
            let recording = Recording { id: RecordId(id), payload_type: 8, codec: VoiceCodec::Pcma, quiet, longest };
            relay.handle_command(now, Command::Record { id: StreamId(1), recording });
        }
        relay.handle_command(now, Command::StopRecording { id: StreamId(1) });
        let (sender, mail) = sync_channel(1);
        let mut pieces = Pieces::new(Some(sender));
        let mut taken = Vec::new();
        for _ in 0..3 {
            pieces.hand_over(&mut relay);
            match mail.try_recv() {
                Ok(Mail::Piece(piece)) => taken.push(piece.id),
                other => panic!("expected a piece, got {other:?}"),
            }
        }
        assert_eq!(taken, [1, 2, 3].map(RecordId));
        assert!(!pieces.waits());
    }
}
