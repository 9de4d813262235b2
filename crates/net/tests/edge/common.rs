//! A core that answers every request with 200, tells what it saw, and sends what a test gives it.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfort_media::types::Event;
use ringfort_net::config::ListenerConfig;
use ringfort_net::core::Core;
use ringfort_net::{Handle, JournalSink, NetConfig, bind};
use ringfort_sip::endpoint::TransportError;
use ringfort_sip::flow::{ConnId, Flow, ListenerId, Target, Transmit, TransmitToken, Transport};
use ringfort_sip::locate::{Answer, QueryId};
use ringfort_sip::message::{Message, ParseError};
use ringfort_switch::io::{Command, CommandReply, Output};
use ringfort_switch::model::{CallId, Site};
use ringfort_switch::record::JournalRecord;

/// Longest wait for anything; only a failure takes so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Message { flow: Flow, text: String },
    Malformed { flow: Flow, status: u16 },
    Flood(IpAddr),
    SendFailed(TransmitToken, TransportError),
    Undelivered(SocketAddr, String, TransportError),
    Closed(ConnId),
    Dns(QueryId, Answer),
    Media(Event),
    Site(u64),
}

/// What test and core share.
#[derive(Default)]
pub struct Shared {
    pub seen: Mutex<Vec<Seen>>,
    pub outputs: Mutex<VecDeque<Output>>,
    pub known: Mutex<BTreeSet<IpAddr>>,
    /// Who is in a call.
    pub talking: Mutex<BTreeSet<SocketAddr>>,
    /// Whom no listener is for.
    pub closed_to: Mutex<BTreeSet<IpAddr>>,
    /// Every answer is recorded in the journal first.
    pub journalled: Mutex<bool>,
    pub journal: Mutex<Vec<&'static str>>,
    /// So many flushes fail.
    pub failing_flushes: Mutex<u32>,
}

struct EchoCore {
    shared: Arc<Shared>,
    outputs: VecDeque<Output>,
}

impl EchoCore {
    fn see(&self, seen: Seen) {
        self.shared.seen.lock().unwrap().push(seen);
    }

    fn send(&mut self, flow: Flow, text: &str) {
        let payload = Bytes::copy_from_slice(text.as_bytes());
        self.outputs.push_back(Output::Transmit(Transmit { target: Target::Flow(flow), payload, token: None }));
    }
}

impl Core for EchoCore {
    fn handle_message(&mut self, _: Instant, message: Message, flow: Flow) {
        let text = String::from_utf8_lossy(message.raw()).into_owned();
        self.see(Seen::Message { flow, text: text.clone() });
        assert!(!text.starts_with("PANIC"), "a test asked for this panic");
        if message.is_request() {
            if *self.shared.journalled.lock().unwrap() {
                let record = JournalRecord::CallQuality { call: CallId(1), directions: Vec::new() };
                self.outputs.push_back(Output::Journal(record));
            }
            self.send(
                flow,
                &format!("SIP/2.0 200 OK\r\nCSeq: {} X\r\nContent-Length: 0\r\n\r\n", message.cseq().number),
            );
        }
    }

    fn handle_malformed(&mut self, _: Instant, error: &ParseError, _: &Bytes, flow: Flow) {
        self.see(Seen::Malformed { flow, status: error.status });
        if error.reply.is_some() {
            self.send(flow, "SIP/2.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    }

    fn handle_flood(&mut self, _: Instant, source: IpAddr) {
        self.see(Seen::Flood(source));
    }

    fn handle_send_failed(&mut self, _: Instant, token: TransmitToken, error: TransportError) {
        self.see(Seen::SendFailed(token, error));
    }

    fn handle_unreachable(&mut self, _: Instant, remote: SocketAddr, quoted: &[u8], error: TransportError) {
        self.see(Seen::Undelivered(remote, String::from_utf8_lossy(quoted).into_owned(), error));
    }

    fn handle_dns_answer(&mut self, _: Instant, query: QueryId, answer: Answer) {
        self.see(Seen::Dns(query, answer));
    }

    fn handle_conn_closed(&mut self, _: Instant, conn: ConnId) {
        self.see(Seen::Closed(conn));
    }

    fn handle_media(&mut self, _: Instant, event: Event) {
        self.see(Seen::Media(event));
    }

    fn handle_fetched(&mut self, _: Instant, _: ringfort_stir::QueryId, _: ringfort_stir::Fetch) {}

    fn handle_command(&mut self, _: Instant, _: Command) -> CommandReply {
        self.outputs.append(&mut self.shared.outputs.lock().unwrap());
        CommandReply::Done { changed: 7 }
    }

    fn apply_site(&mut self, _: Instant, site: Arc<Site>) {
        self.see(Seen::Site(site.revision));
    }

    fn follow_stir(&mut self, _: Instant, _: ringfort_switch::identity::Stir) {}

    fn handle_timeout(&mut self, _: Instant) {}

    fn is_closed_to(&self, _: ListenerId, source: IpAddr) -> bool {
        self.shared.closed_to.lock().unwrap().contains(&source)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    fn is_idle(&self) -> bool {
        true
    }

    fn flow_priority(&self, remote: SocketAddr) -> bool {
        self.shared.known.lock().unwrap().contains(&remote.ip())
    }

    fn is_talking(&self, remote: SocketAddr) -> bool {
        self.shared.talking.lock().unwrap().contains(&remote)
    }

    fn is_within_call(&self, message: &Message) -> bool {
        message.to_tag().is_some()
    }
}

struct Journal(Arc<Shared>);

impl JournalSink for Journal {
    fn append(&mut self, _: &JournalRecord) {
        self.0.journal.lock().unwrap().push("append");
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.journal.lock().unwrap().push("flush");
        let mut failing = self.0.failing_flushes.lock().unwrap();
        if *failing > 0 {
            *failing -= 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

/// A running edge; stopped when dropped.
pub struct Edge {
    pub handle: Handle,
    pub shared: Arc<Shared>,
}

impl Edge {
    pub fn start(config: NetConfig) -> Edge {
        let shared = Arc::new(Shared::default());
        let core = EchoCore { shared: shared.clone(), outputs: VecDeque::new() };
        let handle = bind(config).unwrap().start(core, Journal(shared.clone()), ()).unwrap();
        Edge { handle, shared }
    }

    pub fn local(&self, listener: usize) -> SocketAddr {
        self.handle.locals()[listener]
    }

    /// Has the core put these out.
    pub fn put_out(&self, outputs: impl IntoIterator<Item = Output>) {
        self.shared.outputs.lock().unwrap().extend(outputs);
        assert_eq!(self.handle.command(Command::Status), Ok(CommandReply::Done { changed: 7 }));
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The first thing seen that the test looks for.
    pub fn wait_seen<T>(&self, what: &str, pick: impl Fn(&Seen) -> Option<T>) -> T {
        until(what, || self.shared.seen.lock().unwrap().iter().find_map(&pick))
    }

    pub fn wait_failed(&self, token: u64) -> TransportError {
        self.wait_seen("a failed send", |seen| match seen {
            Seen::SendFailed(TransmitToken(of), error) if *of == token => Some(*error),
            _ => None,
        })
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.handle.stop();
    }
}

/// Asks until there is an answer.
#[allow(clippy::disallowed_methods)]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    until(what, || condition().then_some(()));
}

pub fn listeners(binds: &[(Transport, &str)]) -> NetConfig {
    let listeners =
        binds.iter().map(|(transport, bind)| ListenerConfig { transport: *transport, bind: bind.parse().unwrap() });
    NetConfig { listeners: listeners.collect(), ..NetConfig::default() }
}

pub fn options(cseq: u32) -> String {
    format!(
        "OPTIONS sip:a@example.net SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{cseq}\r\nFrom: <sip:b@example.net>;tag=1\r\n\
         To: <sip:a@example.net>\r\nCall-ID: c{cseq}\r\nCSeq: {cseq} OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

pub fn client(bind: &str) -> UdpSocket {
    let socket = UdpSocket::bind(bind).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

pub fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 4096];
    let (len, from) = socket.recv_from(&mut buffer).unwrap();
    (String::from_utf8_lossy(&buffer[..len]).into_owned(), from)
}

pub fn connect_to(transport: Transport, listener: u16, remote: SocketAddr, name: Option<&str>, token: u64) -> Output {
    let target =
        Target::Connect { transport, listener: ListenerId(listener), remote, server_name: name.map(Arc::from) };
    let payload = Bytes::from(options(token as u32));
    Output::Transmit(Transmit { target, payload, token: Some(TransmitToken(token)) })
}

/// A folder of one test, removed at its end.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringfort-edge-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
