//! Session timers (RFC 4028): who refreshes, how often, and the header fields that say so. Called by the endpoint.

use crate::header::HeaderName;
use crate::message::Message;
use crate::params::Params;
use crate::write::Headers;

/// RFC 4028 §4: no interval below it, in seconds.
pub const LEAST_INTERVAL: u32 = 90;

/// The longest interval that a peer can make us ask for, in seconds: a day. Beyond it a session timer watches nothing.
pub const LONGEST_INTERVAL: u32 = 86_400;

/// Which side of the transaction that negotiates refreshes the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refresher {
    Uac,
    Uas,
}

impl Refresher {
    const fn as_str(self) -> &'static str {
        match self {
            Refresher::Uac => "uac",
            Refresher::Uas => "uas",
        }
    }
}

/// What we ask for, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionTimer {
    pub expires: u32,
    pub min_se: u32,
    /// In terms of the transaction: in a request of ours `Uac` is us, in one that we answer `Uas` is.
    pub refresher: Option<Refresher>,
}

impl SessionTimer {
    /// The usual half hour.
    pub const DEFAULT: SessionTimer = SessionTimer { expires: 1800, min_se: LEAST_INTERVAL, refresher: None };

    /// Raises the interval to what a 422 wants (RFC 4028 §7.3).
    pub(crate) fn raise(&mut self, min_se: u32) {
        self.min_se = self.min_se.max(min_se);
        self.expires = self.expires.max(self.min_se);
    }

    /// Writes the fields of a request (RFC 4028 §7.1).
    pub(crate) fn write(&self, headers: &mut Headers) {
        match self.refresher {
            Some(refresher) => {
                headers.push("Session-Expires", format_args!("{};refresher={}", self.expires, refresher.as_str()))
            }
            None => headers.push("Session-Expires", self.expires),
        };
        if self.min_se > LEAST_INTERVAL {
            headers.push("Min-SE", self.min_se);
        }
    }
}

/// A session timer in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// Seconds.
    pub interval: u32,
    /// Whether we send the refreshes.
    pub we_refresh: bool,
    /// The largest Min-SE that was heard in this dialog (RFC 4028 §7.4).
    pub min_se: u32,
}

impl Session {
    /// What a refresh of ours asks for: the roles stay as they are (RFC 4028 §7.4).
    pub(crate) fn again(&self) -> SessionTimer {
        let refresher = if self.we_refresh { Refresher::Uac } else { Refresher::Uas };
        SessionTimer { expires: self.interval, min_se: self.min_se, refresher: Some(refresher) }
    }

    /// Seconds after a 2xx at which the refresher sends the next request.
    pub const fn refresh_after(&self) -> u32 {
        self.interval / 2
    }

    /// Seconds after a 2xx at which either side gives up (RFC 4028 §10).
    pub const fn expires_after(&self) -> u32 {
        let third = self.interval / 3;
        self.interval - if third < 32 { third } else { 32 }
    }
}

/// Interval and refresher of a Session-Expires field; `None` where there is none or it is unreadable.
fn session_expires(message: &Message) -> Option<(u32, Option<Refresher>)> {
    let interval = message.number(HeaderName::SessionExpires)?.ok()?;
    let value = message.header(HeaderName::SessionExpires)?;
    let params = value.iter().position(|&b| b == b';').and_then(|at| Params::parse(&value[at..]).ok());
    let refresher = params.and_then(|params| params.get("refresher")).and_then(|name| {
        [Refresher::Uac, Refresher::Uas].into_iter().find(|known| known.as_str().eq_ignore_ascii_case(name))
    });
    Some((interval, refresher))
}

fn supports_timer(message: &Message) -> bool {
    message.has_option(HeaderName::Supported, "timer") || message.has_option(HeaderName::Require, "timer")
}

/// The Min-SE for a 422, where the interval that a request asks for is too small. A 422 is only for peers that know
/// what it means (RFC 4028 §9).
pub(crate) fn too_small(request: &Message, wanted: Option<&SessionTimer>) -> Option<u32> {
    let (interval, _) = session_expires(request)?;
    let least = wanted.map_or(LEAST_INTERVAL, |wanted| wanted.min_se.max(LEAST_INTERVAL));
    (interval < least && supports_timer(request)).then_some(least)
}

/// What our 2xx to a request says (RFC 4028 §9); the fields are appended to `headers`.
pub(crate) fn accept(request: &Message, wanted: Option<&SessionTimer>, headers: &mut Headers) -> Option<Session> {
    let supported = supports_timer(request);
    let asked = session_expires(request);
    let least = request.min_se().and_then(Result::ok).unwrap_or(LEAST_INTERVAL).max(LEAST_INTERVAL);
    let (interval, refresher) = match (asked, wanted) {
        (None, None) => return None,
        (None, Some(wanted)) => (wanted.expires.max(least), None),
        (Some((interval, refresher)), None) => (interval.max(LEAST_INTERVAL), refresher),
        // It may be made shorter, but not shorter than Min-SE, and never longer.
        (Some((interval, refresher)), Some(wanted)) => {
            (interval.min(wanted.expires.max(least)).max(LEAST_INTERVAL), refresher)
        }
    };
    let refresher = match (supported, refresher) {
        (false, _) => Refresher::Uas,
        (true, Some(refresher)) => refresher,
        (true, None) => wanted.and_then(|wanted| wanted.refresher).unwrap_or(Refresher::Uac),
    };
    if refresher == Refresher::Uac {
        headers.push("Require", "timer");
    }
    headers.push("Session-Expires", format_args!("{interval};refresher={}", refresher.as_str()));
    Some(Session { interval, we_refresh: refresher == Refresher::Uas, min_se: least })
}

/// What a 2xx to a request of ours has settled (RFC 4028 §7.2). A peer that says nothing does not know session timers;
/// then we refresh for ourselves, so that its silence is noticed.
pub(crate) fn settled(asked: Option<&SessionTimer>, response: &Message) -> Option<Session> {
    let min_se = asked.map_or(LEAST_INTERVAL, |asked| asked.min_se.max(LEAST_INTERVAL));
    match session_expires(response) {
        Some((interval, refresher)) => Some(Session {
            interval: interval.max(LEAST_INTERVAL),
            we_refresh: refresher != Some(Refresher::Uas),
            min_se,
        }),
        None => asked.map(|asked| Session { interval: asked.expires.max(LEAST_INTERVAL), we_refresh: true, min_se }),
    }
}
