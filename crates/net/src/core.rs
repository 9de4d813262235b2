//! What the shard loop needs of call control, as a trait, so that the loop is tested with a core of a few lines.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringfort_media::types::Event;
use ringfort_sip::endpoint::TransportError;
use ringfort_sip::flow::{ConnId, Flow, ListenerId, TransmitToken};
use ringfort_sip::locate::{Answer, QueryId};
use ringfort_sip::message::{Message, ParseError};
use ringfort_switch::identity::Stir;
use ringfort_switch::io::{Command, CommandReply, Output};
use ringfort_switch::model::Site;
use ringfort_switch::voicemail::MailNews;

/// Call control: `handle_*` changes state, `poll_*` drains what is to be done.
pub trait Core: Send + 'static {
    fn handle_message(&mut self, now: Instant, message: Message, flow: Flow);
    fn handle_malformed(&mut self, now: Instant, error: &ParseError, raw: &Bytes, flow: Flow);
    /// A stranger's connection sent more than its rate.
    fn handle_flood(&mut self, now: Instant, source: IpAddr);
    fn handle_send_failed(&mut self, now: Instant, token: TransmitToken, error: TransportError);
    /// A datagram to `remote` came back by ICMP; `quoted` is what came of it.
    fn handle_unreachable(&mut self, now: Instant, remote: SocketAddr, quoted: &[u8], error: TransportError);
    fn handle_conn_closed(&mut self, now: Instant, conn: ConnId);
    fn handle_media(&mut self, now: Instant, event: Event);
    /// A question that was put out as [`Output::Query`] is answered.
    fn handle_dns_answer(&mut self, now: Instant, query: QueryId, answer: Answer);
    /// A certificate that was asked for as [`Output::Fetch`] has come, or will not.
    fn handle_fetched(&mut self, now: Instant, query: ringfort_stir::QueryId, fetch: ringfort_stir::Fetch);
    /// Whoever keeps messages has something to say. A core that has no mailboxes passes it over.
    fn handle_mail(&mut self, _now: Instant, _news: MailNews) {}
    fn handle_command(&mut self, now: Instant, command: Command) -> CommandReply;
    fn apply_site(&mut self, now: Instant, site: Arc<Site>);
    /// Keys and certificates for signed caller numbers were read again.
    fn follow_stir(&mut self, now: Instant, stir: Stir);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_timeout(&self) -> Option<Instant>;
    fn poll_output(&mut self) -> Option<Output>;
    /// No call is left.
    fn is_idle(&self) -> bool;
    /// A registered phone or a trunk uses that source.
    fn flow_priority(&self, remote: SocketAddr) -> bool;
    /// A side of a running call sends from that address.
    fn is_talking(&self, remote: SocketAddr) -> bool;
    /// A message belongs to a running call.
    fn is_within_call(&self, message: &Message) -> bool;
    /// The listener is for others: nobody seems to listen there.
    fn is_closed_to(&self, listener: ListenerId, source: IpAddr) -> bool;
}
