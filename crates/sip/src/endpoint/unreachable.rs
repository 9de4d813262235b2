//! ICMP errors for what was sent over UDP (RFC 3261 §18.4). Anybody can forge one (RFC 5927): it counts where it quotes the
//! branch of a request of ours, which nobody guesses, that went there and has heard nothing yet.

use std::net::SocketAddr;
use std::time::Instant;

use super::key::Branch;
use super::{ClientTx, Endpoint, TransportError};
use crate::flow::Transport;

/// As far into a quoted message the topmost Via is looked for: behind the longest Request-URI that is usual.
const QUOTED: usize = 1024;

impl Endpoint {
    /// A datagram to `remote` could not be delivered. `quoted`: what came back of it, perhaps not whole. `true`: a request of
    /// ours has failed by that.
    pub fn handle_unreachable(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        quoted: &[u8],
        reason: TransportError,
    ) -> bool {
        let Some(tx) = self.quoted(remote, quoted) else { return false };
        self.on_transport_error(now, tx, reason);
        true
    }

    fn quoted(&self, remote: SocketAddr, quoted: &[u8]) -> Option<ClientTx> {
        let quoted = &quoted[..quoted.len().min(QUOTED)];
        let at = memchr::memmem::find(quoted, b"branch=")? + b"branch=".len();
        let branch = std::str::from_utf8(quoted.get(at..at + Branch::LEN)?).ok()?;
        let (number, nonce) = Branch::read(branch)?;
        let client = self.clients.get(number).filter(|client| client.nonce == nonce)?;
        let same =
            |a: SocketAddr, b: SocketAddr| a.ip().to_canonical() == b.ip().to_canonical() && a.port() == b.port();
        let went_there = client.target.transport() == Transport::Udp && same(client.target.remote(), remote);
        let tx = ClientTx(number);
        (went_there && self.is_unheard(tx)).then_some(tx)
    }
}
