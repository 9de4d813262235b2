//! Calls that were diverted on their way: by whom and why, as Diversion (RFC 5806) or History-Info (RFC 7044) tells it, with
//! the causes of RFC 4458 between the two (RFC 7544 §8). Read of trunks and written to trunks whose rules say so.

use ringfort_sip::header::HeaderName;
use ringfort_sip::message::Message;
use ringfort_sip::name_addr::NameAddr;
use ringfort_sip::write::Headers;

use crate::arrival::user_of;
use crate::line::user_part;
use crate::model::{DiversionForm, HeaderRules, NumberPlan, Pii};
use crate::number;
use crate::record::DiversionNote;

/// No more entries of a message are looked at.
const MOST: usize = 16;
/// Longest number or name of who diverted.
const LONGEST: usize = 64;

/// Why a call was diverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Unknown,
    Busy,
    NoAnswer,
    Unconditional,
    Deflection,
    Unavailable,
}

/// One diversion: the last before the call came here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diversion {
    /// In canonical form where it has one.
    pub by: String,
    pub reason: Reason,
    /// Not to be shown.
    pub hidden: bool,
}

impl Reason {
    const ALL: [Reason; 6] = [
        Reason::Unknown,
        Reason::Busy,
        Reason::NoAnswer,
        Reason::Unconditional,
        Reason::Deflection,
        Reason::Unavailable,
    ];

    /// RFC 5806 §4.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Unknown => "unknown",
            Reason::Busy => "user-busy",
            Reason::NoAnswer => "no-answer",
            Reason::Unconditional => "unconditional",
            Reason::Deflection => "deflection",
            Reason::Unavailable => "unavailable",
        }
    }

    /// RFC 4458 §2.
    fn cause(self) -> u16 {
        match self {
            Reason::Unknown => 404,
            Reason::Busy => 486,
            Reason::NoAnswer => 408,
            Reason::Unconditional => 302,
            Reason::Deflection => 480,
            Reason::Unavailable => 503,
        }
    }

    fn of_name(name: &str) -> Reason {
        let name = name.trim_matches('"');
        Self::ALL.into_iter().find(|reason| reason.as_str().eq_ignore_ascii_case(name)).unwrap_or(Reason::Unknown)
    }

    fn of_cause(cause: &str) -> Reason {
        // Deflection while it rings, and at once.
        let cause = if cause == "487" { "480" } else { cause };
        Self::ALL.into_iter().find(|reason| reason.cause().to_string() == cause).unwrap_or(Reason::Unknown)
    }
}

impl Diversion {
    /// For the call record.
    pub fn note(&self) -> DiversionNote {
        DiversionNote { by: Pii::new(self.by.clone()), reason: self.reason.as_str().to_owned() }
    }

    /// For a phone of ours: the number stands in our own domain, as the caller's does.
    pub fn for_phone(&self, realm: &str) -> Headers {
        let mut headers = Headers::default();
        if !self.hidden {
            let (user, reason) = (user_part(&self.by), self.reason.as_str());
            headers.push("Diversion", format_args!("<sip:{user}@{realm}>;reason={reason};counter=1"));
        }
        headers
    }

    /// For a trunk. `domain`: ours with it. `target`: the Request-URI of the call.
    pub fn for_trunk(&self, form: DiversionForm, domain: &str, target: &str) -> Headers {
        let mut headers = Headers::default();
        let user = user_part(&self.by);
        match form {
            DiversionForm::None => {}
            DiversionForm::Diversion => {
                let (reason, privacy) = (self.reason.as_str(), if self.hidden { "full" } else { "off" });
                headers.push(
                    "Diversion",
                    format_args!("<sip:{user}@{domain}>;reason={reason};counter=1;privacy={privacy}"),
                );
            }
            DiversionForm::HistoryInfo => {
                // RFC 7044 §10.1: privacy is asked for in the entry that it is about.
                let privacy = if self.hidden { "?Privacy=history" } else { "" };
                let cause = self.reason.cause();
                headers.push(
                    "History-Info",
                    format_args!("<sip:{user}@{domain}{privacy}>;index=1, <{target};cause={cause}>;index=1.1;mp=1"),
                );
            }
        }
        headers
    }
}

/// The diversion of a trunk's call, where its rules say that one may be told, and how.
pub(crate) fn of_trunk(plan: &NumberPlan, rules: &HeaderRules, request: &Message) -> Option<Diversion> {
    let found = match rules.diverted {
        DiversionForm::None => None,
        DiversionForm::Diversion => of_diversion(request),
        DiversionForm::HistoryInfo => of_history(request),
    }?;
    Some(Diversion { by: number::caller_from_trunk(plan, rules, &found.by), ..found })
}

/// Why a phone of ours says that it was called first and passed the call on. Whose number that is, it is not asked.
pub(crate) fn reason_of_phone(request: &Message) -> Option<Reason> {
    of_diversion(request).or_else(|| of_history(request)).map(|found| found.reason)
}

/// RFC 5806 §5: the last diversion stands first.
fn of_diversion(request: &Message) -> Option<Diversion> {
    request.name_addrs(HeaderName::Diversion).take(MOST).filter_map(Result::ok).find_map(|who| {
        let privacy = who.param("privacy").unwrap_or("off").trim_matches('"');
        Some(Diversion {
            by: by(&who)?,
            reason: Reason::of_name(who.param("reason").unwrap_or_default()),
            hidden: !privacy.eq_ignore_ascii_case("off"),
        })
    })
}

/// RFC 7044 §8: of the last entry that has a cause, the one that it came from: `mp` names it, else it is the one above in the
/// index.
fn of_history(request: &Message) -> Option<Diversion> {
    let entries: Vec<NameAddr<'_>> =
        request.name_addrs(HeaderName::HistoryInfo).take(MOST).filter_map(Result::ok).collect();
    let (led, cause) = entries.iter().rev().find_map(|entry| Some((entry, entry.uri().ok()?.param("cause")?)))?;
    let above = led.param("mp").or_else(|| led.param("index")?.rsplit_once('.').map(|(above, _)| above))?;
    let from = entries.iter().find(|entry| entry.param("index") == Some(above))?;
    let private = |headers: &str| headers.to_ascii_lowercase().contains("privacy=");
    let hidden = from.uri.split_once('?').is_some_and(|(_, headers)| private(headers));
    Some(Diversion { by: by(from)?, reason: Reason::of_cause(cause), hidden })
}

fn by(who: &NameAddr<'_>) -> Option<String> {
    user_of(who).filter(|user| user.chars().count() <= LONGEST && !user.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use ringfort_sip::message::Limits;

    fn request(fields: &str) -> Message {
        let text = format!(
            "INVITE sip:101@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bKd\r\n\
             From: <sip:1@a>;tag=1\r\nTo: <sip:101@b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{fields}Content-Length: 0\r\n\r\n"
        );
        Message::parse_datagram(Bytes::from(text), &Limits::default()).expect("a good request")
    }

    fn of(form: DiversionForm, fields: &str) -> Option<Diversion> {
        let plan = NumberPlan { country: "44".into(), national_prefix: "0".into(), ..NumberPlan::default() };
        of_trunk(&plan, &HeaderRules { diverted: form, ..HeaderRules::default() }, &request(fields))
    }

    fn told(headers: &Headers) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        headers.iter().map(|(name, value)| format!("{}: {}", text(name), text(value))).collect()
    }

    const TWO: &str =
        "Diversion: \"Ann\" <sip:02079460001@p>;reason=no-answer;counter=1, <tel:+442079460002>;reason=user-busy\r\n";
    const HISTORY: &str = "History-Info: <sip:02079460009@p>;index=1, <sip:02079460001@p;cause=302>;index=1.1;mp=1\r\n\
        History-Info: <sip:+442079460101@p;cause=486>;index=1.1.1;mp=1.1, <sip:101@192.0.2.1>;index=1.1.1.1\r\n";

    #[test]
    fn the_last_diversion_is_read_in_the_form_that_the_trunk_has() {
        use DiversionForm as F;
        let of_diversion = of(F::Diversion, TWO).unwrap();
        assert_eq!((of_diversion.by.as_str(), of_diversion.reason), ("+442079460001", Reason::NoAnswer));
        let of_history = of(F::HistoryInfo, HISTORY).unwrap();
        assert_eq!((of_history.by.as_str(), of_history.reason), ("+442079460001", Reason::Busy));
        for (form, fields) in [(F::None, TWO), (F::None, HISTORY), (F::Diversion, HISTORY), (F::HistoryInfo, TWO)] {
            assert_eq!(of(form, fields), None, "{form:?}");
        }
    }

    #[test]
    fn what_is_odd_or_endless_is_passed_over() {
        use DiversionForm as F;
        let odd = "Diversion: nonsense\r\nDiversion: <sip:anonymous@anonymous.invalid>\r\nDiversion: <sip:7@p>;reason=odd\r\n";
        assert_eq!(of(F::Diversion, odd).map(|d| (d.by, d.reason)), Some(("7".to_owned(), Reason::Unknown)));
        let late = format!("{}Diversion: <sip:7@p>\r\n", "Diversion: <sip:p>\r\n".repeat(MOST));
        assert_eq!(of(F::Diversion, &late), None);
        let long = format!("Diversion: <sip:{}@p>\r\n", "7".repeat(LONGEST + 1));
        assert_eq!(of(F::Diversion, &long), None);
        for history in [
            "History-Info: <sip:7@p;cause=302>;index=1\r\n",
            "History-Info: <sip:7@p;cause=302>;index=1.1;mp=2\r\n",
            "History-Info: <sip:7@p;cause=302>\r\n",
        ] {
            assert_eq!(of(F::HistoryInfo, history), None, "{history}");
        }
    }

    #[test]
    fn privacy_keeps_it_from_the_phone_and_is_told_to_the_trunk() {
        use DiversionForm as F;
        let hidden = of(F::Diversion, "Diversion: <sip:02079460001@p>;privacy=full\r\n").unwrap();
        assert!(told(&hidden.for_phone("pbx.example")).is_empty());
        let by_history = "History-Info: <sip:7@p?Privacy=history>;index=1, <sip:8@p;cause=408>;index=1.1\r\n";
        assert!(of(F::HistoryInfo, by_history).unwrap().hidden);
        let out = |form| told(&hidden.for_trunk(form, "pbx.example", "sip:+1@h"));
        assert_eq!(
            out(F::Diversion),
            ["Diversion: <sip:+442079460001@pbx.example>;reason=unknown;counter=1;privacy=full"]
        );
        assert_eq!(
            out(F::HistoryInfo),
            [
                "History-Info: <sip:+442079460001@pbx.example?Privacy=history>;index=1, <sip:+1@h;cause=404>;index=1.1;mp=1"
            ]
        );
        assert!(out(F::None).is_empty());
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let rules = |diverted| HeaderRules { diverted, ..HeaderRules::default() };
        for reason in Reason::ALL {
            for form in [DiversionForm::Diversion, DiversionForm::HistoryInfo] {
                let diversion = Diversion { by: "+442079460001".into(), reason, hidden: false };
                let fields: String =
                    told(&diversion.for_trunk(form, "p", "sip:2@h")).iter().map(|line| format!("{line}\r\n")).collect();
                assert_eq!(of_trunk(&NumberPlan::default(), &rules(form), &request(&fields)), Some(diversion));
            }
        }
    }
}
