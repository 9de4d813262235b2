//! One registration with a provider (RFC 3261 §10.2) as a pure state machine: what an answer to REGISTER means and what
//! comes next. It knows no address and sends nothing; `register` does that.

use std::time::{Duration, Instant};

use rand::{Rng, RngExt};
use ringfort_sip::digest::{ClientAuth, Credentials, NoAnswer};
use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::write::Headers;

/// RFC 5626 §4.5: the base of the back-off. Its 30 s are for phones; a trunk carries everybody's calls.
const BASE: Duration = Duration::from_secs(5);
/// The longest wait after failures that may be over any time.
const MOST: Duration = Duration::from_secs(300);
/// Refused credentials seldom mend by themselves, and each try may lead to a block.
const REFUSED: Duration = Duration::from_secs(600);
/// The longest Retry-After that is heeded.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// The longest Min-Expires that is followed.
const MOST_EXPIRES: Duration = Duration::from_secs(86_400);
/// No refresh comes sooner, however short a lifetime a provider grants.
const SHORTEST_REFRESH: Duration = Duration::from_secs(5);
/// Service-Route values that are kept.
const MOST_ROUTES: usize = 8;

/// Where a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No answer yet.
    Registering,
    Registered {
        until: Instant,
    },
    /// The provider said no.
    Refused,
    /// No target answered.
    Unreachable,
}

/// What an answer leads to.
#[derive(Clone, Debug)]
pub(crate) enum Next {
    /// It holds for `granted`; a refresh is due after `refresh`.
    Registered { granted: Duration, refresh: Duration },
    /// The same request with these fields.
    Authorize(Headers),
    /// Again at once: for longer than was asked.
    Again,
    /// This target cannot; another one may.
    OtherTarget { retry_after: Option<Duration> },
    /// Not before that long.
    Refused { wait: Duration, words: String },
}

/// RFC 5626 §4.5: how long to wait after that many failures in a row; `chance` in 0..1.
pub(crate) fn back_off(failures: u32, chance: f64) -> Duration {
    let upper = BASE.saturating_mul(1 << failures.min(16)).min(MOST);
    upper.mul_f64(0.5 + chance / 2.0)
}

/// The seconds of a Retry-After (RFC 3261 §20.33), within limits.
pub(crate) fn retry_after(response: &Message) -> Option<Duration> {
    let value = response.header(HeaderName::RetryAfter)?;
    let digits = value.iter().take_while(|b| b.is_ascii_digit()).count();
    let seconds: u64 = std::str::from_utf8(&value[..digits]).ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(MOST_RETRY_AFTER))
}

#[derive(Debug)]
pub(crate) struct Registration {
    pub call_id: String,
    pub from_tag: String,
    pub cseq: u32,
    pub standing: Standing,
    /// Attempts in a row that came to nothing.
    pub failures: u32,
    auth: ClientAuth,
    /// The administrator named the realm.
    realm_is_set: bool,
    /// What a 423 asked for.
    min_expires: Duration,
    /// Within this attempt a 423 was heeded already.
    longer_asked: bool,
    /// RFC 3608: the way of outgoing calls, as the provider wants it; Route values.
    pub service_route: Vec<String>,
}

impl Registration {
    pub fn new(credentials: Credentials, rng: &mut impl Rng) -> Self {
        Self {
            call_id: format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64()),
            from_tag: format!("{:08x}", rng.next_u32()),
            cseq: rng.next_u32() & 0xFFFF,
            standing: Standing::Registering,
            failures: 0,
            realm_is_set: credentials.realm.is_some(),
            auth: ClientAuth::new(credentials),
            min_expires: Duration::ZERO,
            longer_asked: false,
            service_route: Vec::new(),
        }
    }

    /// The realm whose challenges are answered, once it is known.
    pub fn realm(&self) -> Option<&str> {
        self.auth.realm()
    }

    /// Begins an attempt over all targets.
    pub fn begin(&mut self) {
        self.longer_asked = false;
        if !self.realm_is_set && !matches!(self.standing, Standing::Registered { .. }) {
            // While it was down the provider may have become another machine with another realm.
            self.auth.free_realm();
        }
    }

    /// How long to ask for.
    pub fn expires(&self, wanted: Duration) -> Duration {
        wanted.max(self.min_expires)
    }

    /// Credentials for a request that nobody has asked for any yet.
    pub fn unasked(&mut self, uri: &str, rng: &mut impl Rng) -> Option<Headers> {
        self.auth.accepted();
        self.auth.next("REGISTER", uri, rng)
    }

    /// Answers a challenge to a REGISTER.
    ///
    /// # Errors
    /// It is for another realm, is not understood, or the credentials were refused.
    pub fn authorize(&mut self, response: &Message, uri: &str, rng: &mut impl Rng) -> Result<Headers, NoAnswer> {
        let given = self.auth.answer(response, "REGISTER", uri, rng)?;
        self.cseq += 1;
        Ok(given)
    }

    /// The final answer of a target. `contact`: the user part of our Contact, `asked`: the lifetime that was asked for.
    pub fn answered(
        &mut self,
        now: Instant,
        response: &Message,
        contact: &str,
        asked: Duration,
        uri: &str,
        rng: &mut impl Rng,
    ) -> Next {
        let status = response.status();
        let after = retry_after(response);
        match status {
            200..=299 => self.granted(now, response, contact, asked, rng),
            401 | 407 => match self.authorize(response, uri, rng) {
                Ok(given) => Next::Authorize(given),
                Err(NoAnswer::Refused) => {
                    let words = format!("user name or password refused ({status}): compare them with the provider's");
                    self.refused(REFUSED, after, words, rng)
                }
                Err(NoAnswer::NoChallenge) => {
                    let words = match self.realm() {
                        Some(realm) => format!("asks for credentials of another realm than {realm:?} ({status})"),
                        None => format!("asks for credentials in a way that is not understood ({status})"),
                    };
                    self.refused(REFUSED, after, words, rng)
                }
            },
            423 => match response.min_expires().and_then(Result::ok).map(|s| Duration::from_secs(u64::from(s))) {
                Some(min) if min > asked && min <= MOST_EXPIRES && !self.longer_asked => {
                    (self.min_expires, self.longer_asked) = (min, true);
                    Next::Again
                }
                _ => self.refused(
                    REFUSED,
                    after,
                    "wants another lifetime, and does not say a longer one (423)".into(),
                    rng,
                ),
            },
            403 => {
                let words = "refused (403): wrong user name or password, or the account is blocked".to_owned();
                self.refused(REFUSED, after, words, rng)
            }
            404 => self.refused(REFUSED, after, "does not know the user (404): check user and server".into(), rng),
            408 | 503 => Next::OtherTarget { retry_after: after },
            300..=399 => {
                let words = format!("sends us elsewhere ({status}), which is not followed: set server to where it is");
                self.refused(REFUSED, after, words, rng)
            }
            600..=699 => self.refused(REFUSED, after, format!("refused for good ({status})"), rng),
            _ => {
                self.failures += 1;
                let wait = back_off(self.failures, rng.random());
                let words = format!("answered {status} {}", response.reason_phrase().trim());
                self.refused(wait, after, words.trim_end().to_owned(), rng)
            }
        }
    }

    /// Nobody of the trunk's targets took it: how long to wait.
    pub fn exhausted(&mut self, retry_after: Option<Duration>, rng: &mut impl Rng) -> Duration {
        self.standing = Standing::Unreachable;
        self.failures += 1;
        let wait = back_off(self.failures, rng.random());
        retry_after.map_or(wait, |after| wait.max(a_little_more(after, rng)))
    }

    fn refused(&mut self, wait: Duration, after: Option<Duration>, words: String, rng: &mut impl Rng) -> Next {
        self.standing = Standing::Refused;
        let wait = wait.max(after.unwrap_or_default());
        Next::Refused { wait: a_little_more(wait, rng), words }
    }

    fn granted(
        &mut self,
        now: Instant,
        response: &Message,
        contact: &str,
        asked: Duration,
        rng: &mut impl Rng,
    ) -> Next {
        self.auth.accepted();
        self.auth.keep_realm();
        self.failures = 0;
        let granted = lifetime(response, contact).unwrap_or(asked);
        if granted.is_zero() {
            self.failures += 1;
            let wait = back_off(self.failures, rng.random());
            return self.refused(wait, None, "answered 200 and keeps no registration of ours".into(), rng);
        }
        self.standing = Standing::Registered { until: now + granted };
        self.service_route = response
            .name_addrs(HeaderName::ServiceRoute)
            .flatten()
            .take(MOST_ROUTES)
            .map(|route| format!("<{}>", route.uri))
            .collect();
        // Early enough for all repetitions and another target; not all trunks of a system at the same moment.
        let latest = (granted / 2).max(granted.saturating_sub(Duration::from_secs(60)));
        let refresh = latest.mul_f64(1.0 - rng.random::<f64>() / 10.0).max(SHORTEST_REFRESH);
        Next::Registered { granted, refresh }
    }
}

/// The lifetime of our own contact, else that of all (RFC 3261 §10.2.4).
fn lifetime(response: &Message, user: &str) -> Option<Duration> {
    let own = response.contacts().flatten().find(|c| c.uri().is_ok_and(|uri| uri.user == Some(user)));
    let seconds = own
        .and_then(|contact| contact.param("expires").and_then(|value| value.parse::<u32>().ok()))
        .or_else(|| response.expires().and_then(Result::ok));
    seconds.map(|seconds| Duration::from_secs(u64::from(seconds)).min(MOST_EXPIRES))
}

/// Up to a tenth more, so that those who were told the same do not come at the same moment.
fn a_little_more(wait: Duration, rng: &mut impl Rng) -> Duration {
    wait.mul_f64(1.0 + rng.random::<f64>() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_5626_4_5_the_wait_doubles_with_each_failure_up_to_its_bound_and_is_drawn_from_its_upper_half() {
        let span = |failures| (back_off(failures, 0.0).as_secs_f64(), back_off(failures, 1.0).as_secs_f64());
        assert_eq!(span(1), (5.0, 10.0));
        assert_eq!(span(2), (10.0, 20.0));
        assert_eq!(span(5), (80.0, 160.0));
        assert_eq!(span(6), (150.0, 300.0));
        assert_eq!(span(4_000_000_000), (150.0, 300.0));
    }
}
