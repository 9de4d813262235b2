//! The running system's core: the switch itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringfort_media::types::Event;
use ringfort_sip::endpoint::TransportError;
use ringfort_sip::flow::{ConnId, Flow, ListenerId, TransmitToken};
use ringfort_sip::locate::{Answer, QueryId};
use ringfort_sip::message::{Message, ParseError};
use ringfort_switch::Switch;
use ringfort_switch::identity::Stir;
use ringfort_switch::io::{Command, CommandReply, Output};
use ringfort_switch::model::Site;
use ringfort_switch::voicemail::MailNews;

use crate::core::Core;

impl Core for Switch {
    fn handle_message(&mut self, now: Instant, message: Message, flow: Flow) {
        Switch::handle_message(self, now, message, flow);
    }

    fn handle_malformed(&mut self, now: Instant, error: &ParseError, raw: &Bytes, flow: Flow) {
        Switch::handle_malformed(self, now, error, raw, flow);
    }

    fn handle_flood(&mut self, now: Instant, source: IpAddr) {
        Switch::handle_flood(self, now, source);
    }

    fn handle_send_failed(&mut self, now: Instant, token: TransmitToken, error: TransportError) {
        Switch::handle_send_failed(self, now, token, error);
    }

    fn handle_unreachable(&mut self, now: Instant, remote: SocketAddr, quoted: &[u8], error: TransportError) {
        Switch::handle_unreachable(self, now, remote, quoted, error);
    }

    fn handle_conn_closed(&mut self, now: Instant, conn: ConnId) {
        Switch::handle_conn_closed(self, now, conn);
    }

    fn handle_media(&mut self, now: Instant, event: Event) {
        Switch::handle_media(self, now, event);
    }

    fn handle_dns_answer(&mut self, now: Instant, query: QueryId, answer: Answer) {
        Switch::handle_dns_answer(self, now, query, answer);
    }

    fn handle_fetched(&mut self, now: Instant, query: ringfort_stir::QueryId, fetch: ringfort_stir::Fetch) {
        Switch::handle_fetched(self, now, query, fetch);
    }

    fn handle_mail(&mut self, now: Instant, news: MailNews) {
        Switch::handle_mail(self, now, news);
    }

    fn handle_command(&mut self, now: Instant, command: Command) -> CommandReply {
        Switch::handle_command(self, now, command)
    }

    fn apply_site(&mut self, now: Instant, site: Arc<Site>) {
        Switch::apply_site(self, now, site);
    }

    fn follow_stir(&mut self, _: Instant, stir: Stir) {
        Switch::follow_stir(self, stir);
    }

    fn handle_timeout(&mut self, now: Instant) {
        Switch::handle_timeout(self, now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Switch::poll_timeout(self)
    }

    fn poll_output(&mut self) -> Option<Output> {
        Switch::poll_output(self)
    }

    fn is_idle(&self) -> bool {
        Switch::is_idle(self)
    }

    fn flow_priority(&self, remote: SocketAddr) -> bool {
        Switch::flow_priority(self, remote)
    }

    fn is_talking(&self, remote: SocketAddr) -> bool {
        Switch::is_talking(self, remote)
    }

    fn is_within_call(&self, message: &Message) -> bool {
        Switch::is_within_call(self, message)
    }

    fn is_closed_to(&self, listener: ListenerId, source: IpAddr) -> bool {
        Switch::is_closed_to(self, listener, source)
    }
}
