//! What a telephone is told when it is made: who it is, where its server is, what it can do and how it answers.

use std::net::IpAddr;
use std::time::Duration;

use ringfort_media::types::CryptoSuite;
use ringfort_sip::digest::Credentials;
use ringfort_sip::endpoint::{ListenerInfo, SessionTimer};
use ringfort_sip::flow::Target;

use crate::tone::Law;

/// A telephone's settings.
#[derive(Clone, Debug)]
pub struct PhoneConfig {
    /// User part of the address of record, which is registered and stands in From.
    pub user: String,
    /// Host part of the address of record and of what is dialled.
    pub domain: String,
    /// Display name in From; empty for none.
    pub display_name: String,
    /// What a 401 or 407 is answered with. `None`: such an answer is final.
    pub credentials: Option<Credentials>,
    /// Where every request outside a dialog is sent (an outbound proxy, RFC 3261 §8.1.2).
    pub server: Target,
    /// The phone's own listener, which its Contact and Via name.
    pub listener: ListenerInfo,
    /// `+sip.instance` without angle brackets: `urn:uuid:…` (RFC 5626 §4.1).
    pub instance: Option<String>,
    /// The registration that is asked for.
    pub expires: Duration,
    pub media: MediaSettings,
    pub answer: AnswerPolicy,
    /// Session timer that is asked for in calls (RFC 4028). `None`: supported, not asked for.
    pub session: Option<SessionTimer>,
    /// It knows session timers. Many phones do not: they say nothing of `timer` and pass by what is asked of them.
    pub knows_timer: bool,
    /// Offers 100rel as a caller and uses it as a called phone where the caller can (RFC 3262).
    pub reliable: bool,
    /// Max-Forwards of requests outside a dialog.
    pub max_forwards: u8,
    pub user_agent: Option<String>,
    /// Calls at once, ringing ones included; more get 486.
    pub max_calls: usize,
    /// RFC 3261 §17.1.1.1: the estimate of a round trip.
    pub t1: Duration,
}

impl PhoneConfig {
    /// A phone that answers nothing by itself, without media, with the defaults of most phones.
    pub fn new(user: &str, domain: &str, server: Target, listener: ListenerInfo) -> Self {
        let media = MediaSettings::new(listener.local.ip(), 4000);
        Self {
            user: user.to_owned(),
            domain: domain.to_owned(),
            display_name: String::new(),
            credentials: None,
            server,
            listener,
            instance: None,
            expires: Duration::from_secs(3600),
            media,
            answer: AnswerPolicy::Manual,
            session: None,
            knows_timer: true,
            reliable: false,
            max_forwards: 70,
            user_agent: None,
            max_calls: 8,
            t1: Duration::from_millis(500),
        }
    }
}

/// What happens with an incoming call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum AnswerPolicy {
    /// The owner of the phone decides, by [`crate::Phone::ring`], [`crate::Phone::answer`] and so on.
    #[default]
    Manual,
    /// 180 at once, and 200 that much later.
    Answer { after: Duration },
    /// 183 with media at once, and 200 that much later.
    EarlyMedia { after: Duration },
    /// 180 at once, never an answer.
    RingOnly,
    /// That status (300–699), that much later; 180 before where it is not at once.
    Reject { status: u16, after: Duration },
}

/// SRTP by SDES (RFC 4568).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SrtpMode {
    /// RTP/AVP only; an offer of RTP/SAVP alone is refused with 488.
    #[default]
    Off,
    /// Offers RTP/SAVP and takes either.
    Offer,
    /// Offers RTP/SAVP and takes nothing else.
    Require,
}

/// What a phone says in SDP, and the tone it sends.
#[derive(Clone, Debug)]
pub struct MediaSettings {
    /// Address in `c=`.
    pub address: IpAddr,
    /// The first RTP port, even; each further call takes the next even one.
    pub port: u16,
    /// Codecs, the preferred one first; never empty.
    pub laws: Vec<Law>,
    pub srtp: SrtpMode,
    /// Lines of video that are offered beside the audio, and taken at the most; none where there is SRTP. No video is sent.
    pub video: usize,
    /// Suites offered, the preferred one first.
    pub suites: Vec<CryptoSuite>,
    /// Frequency that is sent in a call, Hz. `None`: the phone neither sends nor counts packets (SDP alone).
    pub tone: Option<u16>,
    /// Frequencies that are listened for, Hz.
    pub listen_for: Vec<u16>,
}

impl MediaSettings {
    /// PCMA before PCMU, no SRTP, no packets.
    pub fn new(address: IpAddr, port: u16) -> Self {
        Self {
            address,
            port: port & !1,
            laws: vec![Law::A, Law::Mu],
            srtp: SrtpMode::Off,
            video: 0,
            suites: vec![CryptoSuite::AesCm128HmacSha1_80, CryptoSuite::AesCm128HmacSha1_32],
            tone: None,
            listen_for: Vec::new(),
        }
    }
}
