//! A built-in phone with real sockets: one UDP socket for SIP, a pair for RTP and RTCP.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringfort_phone::{AnswerPolicy, CallRef, Event, MediaReport, MediaSettings, Phone, PhoneConfig};
use ringfort_sip::digest::Credentials;
use ringfort_sip::endpoint::ListenerInfo;
use ringfort_sip::flow::{Flow, ListenerId, Target, Transport};
use ringfort_sip::message::{Limits, Message};
use ringfort_sip::uri::HostPort;

/// Largest datagram that is read.
const DATAGRAM: usize = 65_536;

/// Who a phone is.
pub struct Identity {
    pub number: String,
    pub user: String,
    pub password: String,
    pub domain: String,
}

/// A phone on the network.
pub struct Lane {
    pub phone: Phone,
    pub number: String,
    pub events: Vec<Event>,
    sip: UdpSocket,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    local: SocketAddr,
    /// What was last known of the call's media; the phone forgets it with the call.
    report: MediaReport,
}

impl Lane {
    /// Binds sockets on the address that packets to `server` leave from. `tone` is sent, `listen_for` is listened for.
    ///
    /// # Errors
    /// No sockets or no way to the server.
    pub fn open(identity: &Identity, server: SocketAddr, tone: u16, listen_for: u16, seed: u64) -> io::Result<Lane> {
        let ip = ringfort_net::advertise::interface_towards(server)?;
        let sip = bind(ip, 0)?;
        let local = sip.local_addr()?;
        let (rtp, rtcp) = media_pair(ip)?;
        let listener = ListenerInfo {
            id: ListenerId(0),
            transport: Transport::Udp,
            local,
            advertised: HostPort::from(local),
            inside: None,
        };
        let target =
            Target::Connect { transport: Transport::Udp, listener: ListenerId(0), remote: server, server_name: None };
        let config = PhoneConfig {
            credentials: Some(Credentials {
                realm: None,
                user: identity.user.clone(),
                password: identity.password.clone(),
            }),
            media: MediaSettings {
                tone: Some(tone),
                listen_for: vec![listen_for],
                ..MediaSettings::new(ip, rtp.local_addr()?.port())
            },
            answer: AnswerPolicy::Answer { after: Duration::from_millis(200) },
            expires: Duration::from_secs(120),
            user_agent: Some("Ringfort selftest".to_owned()),
            ..PhoneConfig::new(&identity.user, &identity.domain, target, listener)
        };
        let phone = Phone::new(config, seed);
        let number = identity.number.clone();
        Ok(Lane { phone, number, events: Vec::new(), sip, rtp, rtcp, local, report: MediaReport::default() })
    }

    /// What the phone heard in its last call.
    pub fn report(&self) -> MediaReport {
        self.report
    }

    /// The first event of that kind so far.
    pub fn event<T>(&self, pick: impl Fn(&Event) -> Option<T>) -> Option<T> {
        self.events.iter().find_map(pick)
    }

    /// Takes what has come, sends what is due. Nothing waits.
    pub fn turn(&mut self, now: Instant, scratch: &mut [u8]) {
        while let Ok((len, remote)) = self.sip.recv_from(scratch) {
            let flow =
                Flow { transport: Transport::Udp, listener: ListenerId(0), conn: None, local: self.local, remote };
            if let Ok(message) = Message::parse_datagram(Bytes::copy_from_slice(&scratch[..len]), &Limits::default()) {
                self.phone.handle_message(now, message, flow);
            }
        }
        for socket in [&self.rtp, &self.rtcp] {
            let Ok(port) = socket.local_addr().map(|address| address.port()) else { continue };
            while let Ok((len, _)) = socket.recv_from(scratch) {
                self.phone.handle_rtp(now, port, &mut scratch[..len]);
            }
        }
        if self.phone.poll_timeout().is_some_and(|due| due <= now) {
            self.phone.handle_timeout(now);
        }
        while let Some(transmit) = self.phone.poll_transmit() {
            let remote = match transmit.target {
                Target::Flow(flow) => flow.remote,
                Target::Connect { remote, .. } => remote,
            };
            // A lost request is sent again by its transaction, and a dead server shows as a timeout.
            let _ = self.sip.send_to(&transmit.payload, remote);
        }
        while let Some(packet) = self.phone.poll_rtp(now) {
            let rtp = self.rtp.local_addr().is_ok_and(|address| address.port() == packet.port);
            let socket = if rtp { &self.rtp } else { &self.rtcp };
            let _ = socket.send_to(&packet.payload, packet.remote);
        }
        while let Some(event) = self.phone.poll_event() {
            self.events.push(event);
        }
        let talking: Option<CallRef> = self.phone.talking().next();
        if let Some(report) = talking.and_then(|call| self.phone.media_report(call)) {
            self.report = report;
        }
    }
}

/// A buffer for [`Lane::turn`].
pub fn scratch() -> Vec<u8> {
    vec![0; DATAGRAM]
}

fn bind(ip: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddr::new(ip, port))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// An even port and the next one (RFC 3550 §11).
fn media_pair(ip: IpAddr) -> io::Result<(UdpSocket, UdpSocket)> {
    let mut error = io::Error::new(io::ErrorKind::AddrInUse, "no pair of free UDP ports");
    for _ in 0..64 {
        let first = bind(ip, 0)?;
        let port = first.local_addr()?.port();
        let pair = if port % 2 == 0 {
            bind(ip, port + 1).map(|second| (first, second))
        } else {
            bind(ip, port - 1).map(|second| (second, first))
        };
        match pair {
            Ok(pair) => return Ok(pair),
            Err(next) => error = next,
        }
    }
    Err(error)
}
