//! Timers that fire, sends that fail, and the removal of what has ended.

use std::time::Instant;

use super::key::{Branch, Kind};
use super::{Cancel, ClientTx, Endpoint, Event, FailCause, ServerTx, Source, TransportError, clock};
use crate::dialog::{DialogId, DialogState};
use crate::timer::{Owner, Timer};
use crate::transaction::client::ClientFired;
use crate::transaction::server::ServerFired;
use crate::write::Headers;

impl Endpoint {
    pub(super) fn wake_client(&mut self, now: Instant, tx: ClientTx, timer: Timer, at: Instant) {
        let Some(client) = self.clients.get_mut(tx.0) else { return };
        let mut clock = clock(&mut self.timers, &self.config, now, Owner::Client(tx));
        match client.machine.fired(&mut clock, timer, at) {
            None => {}
            Some(ClientFired::Resend) => self.transmit_client(tx),
            Some(ClientFired::TimedOut) => self.fail_client(tx, FailCause::Timeout),
            Some(ClientFired::Ended) => {
                self.remove_client(tx);
            }
        }
    }

    pub(super) fn wake_server(&mut self, now: Instant, tx: ServerTx, timer: Timer, at: Instant) {
        if matches!(timer, Timer::Reliable | Timer::ReliableTimeout) {
            return self.wake_reliable(now, tx, timer, at);
        }
        let Some(server) = self.servers.get_mut(tx.0) else { return };
        let mut clock = clock(&mut self.timers, &self.config, now, Owner::Server(tx));
        let (kind, dialog) = (server.kind, server.dialog);
        match server.machine.fired(&mut clock, timer, at) {
            None => {}
            Some(ServerFired::Resend) => {
                let target = server.reply_target();
                if let Some(last) = server.last.clone() {
                    self.transmit(target, last);
                }
            }
            Some(ServerFired::NoAck) => {
                self.remove_server(tx);
                if let Some(id) = dialog.filter(|id| self.dialogs.get(id.0).is_some()) {
                    self.tell(Event::AckTimeout { dialog: id });
                    self.release_bye(now, id);
                }
            }
            Some(ServerFired::Ended) => {
                self.remove_server(tx);
                if let Some(id) = dialog.filter(|_| kind == Kind::Bye && timer == Timer::Unanswered) {
                    // The peer hung up and our user never said a word to it.
                    self.dialog_over(id);
                }
            }
        }
    }

    pub(super) fn wake_dialog(&mut self, _now: Instant, id: DialogId, timer: Timer, at: Instant) {
        let Some(dialog) = self.dialogs.get_mut(id.0) else { return };
        if timer == Timer::SessionRefresh && dialog.refresh_at == Some(at) {
            dialog.refresh_at = None;
            self.tell(Event::SessionRefreshDue { dialog: id });
        } else if timer == Timer::SessionExpiry && dialog.expiry_at == Some(at) {
            dialog.expiry_at = None;
            self.tell(Event::SessionExpired { dialog: id });
        }
    }

    pub(super) fn on_transport_error(&mut self, now: Instant, tx: ClientTx, reason: TransportError) {
        let Some(client) = self.clients.get_mut(tx.0).filter(|client| client.machine.is_waiting()) else { return };
        let Some(fallback) = client.fallback.take() else {
            return self.fail_client(tx, FailCause::Transport(reason));
        };
        // RFC 3261 §18.1.1: by UDP after all.
        let branch = Branch::new(tx.0, client.nonce);
        match self.writer.with_other_via(&client.payload, &fallback, branch) {
            Some(payload) => {
                client.payload = payload;
                client.target = fallback;
                // The CANCEL is for the INVITE that did not get through: this one gets its own.
                let cancel = match client.cancel {
                    Cancel::Sent(cancel) => {
                        client.cancel = Cancel::Wanted(Headers::new());
                        Some(cancel)
                    }
                    Cancel::No | Cancel::Wanted(_) => None,
                };
                if let Some(cancel) = cancel.and_then(|cancel| self.clients.get_mut(cancel.0)) {
                    cancel.cancels = None;
                }
                self.forget_conn(tx);
                self.start_client(now, tx);
            }
            None => self.fail_client(tx, FailCause::Transport(reason)),
        }
    }

    fn fail_client(&mut self, tx: ClientTx, cause: FailCause) {
        let Some(client) = self.clients.get(tx.0) else { return };
        let dialog = client.dialog;
        if !matches!(client.source, Source::Own) {
            self.tell(Event::Failed { tx, dialog, cause });
        }
        self.remove_client(tx);
    }

    /// Frees a request of ours and what hangs on it: its CANCEL, dialogs that stayed early, the dialog of a BYE.
    pub(super) fn remove_client(&mut self, tx: ClientTx) {
        self.forget_conn(tx);
        let Some(client) = self.clients.remove(tx.0) else { return };
        if let Cancel::Sent(cancel) = client.cancel {
            self.remove_client(cancel);
        }
        if let Some(invite) = client.cancels.and_then(|invite| self.clients.get_mut(invite.0)) {
            // Answered or given up; a second CANCEL would change nothing.
            invite.cancel = Cancel::Sent(tx);
        }
        for fork in client.forks {
            if self.dialogs.get(fork.0).is_some_and(|dialog| dialog.state == DialogState::Early) {
                self.dialog_over(fork);
            }
        }
        let Some(id) = client.dialog else { return };
        let Some(dialog) = self.dialogs.get_mut(id.0) else { return };
        let is_this = |pending: &Option<(ClientTx, bool)>| pending.is_some_and(|(pending, _)| pending == tx);
        if is_this(&dialog.invite_out) {
            dialog.invite_out = None;
        }
        if is_this(&dialog.update_out) {
            dialog.update_out = None;
        }
        if client.kind == Kind::Bye && dialog.state == DialogState::Closing {
            self.dialog_over(id);
        }
    }

    /// Frees a request that we have answered, or let go; gives its dialog.
    pub(super) fn remove_server(&mut self, tx: ServerTx) -> Option<DialogId> {
        let server = self.servers.remove(tx.0)?;
        self.server_keys.remove(&server.key);
        self.forget_merged(server.merge_key);
        let id = server.dialog?;
        if let Some(dialog) = self.dialogs.get_mut(id.0) {
            if dialog.invite_in == Some(tx) {
                dialog.invite_in = None;
            }
            if dialog.update_in == Some(tx) {
                dialog.update_in = None;
            }
            dialog.unacked.retain(|(_, pending, _)| *pending != tx);
        }
        Some(id)
    }

    /// True where there was such a dialog.
    pub(super) fn remove_dialog(&mut self, id: DialogId) -> bool {
        self.stop_session(id);
        let Some(dialog) = self.dialogs.remove(id.0) else { return false };
        self.dialog_keys.remove(&dialog.key);
        for (_, tx, _) in dialog.unacked {
            if let Some(server) = self.servers.get_mut(tx.0) {
                server.machine.settled();
            }
        }
        if let Some(bye) = dialog.waiting_bye {
            self.remove_client(bye);
        }
        true
    }

    /// Sends the BYE that waited for an ACK.
    pub(super) fn release_bye(&mut self, now: Instant, id: DialogId) {
        if let Some(bye) = self.dialogs.get_mut(id.0).and_then(|dialog| dialog.waiting_bye.take()) {
            self.start_client(now, bye);
        }
    }
}
