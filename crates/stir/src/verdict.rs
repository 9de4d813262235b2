//! What a verification comes to: for the rules (the outcome), for a strict answer (status and phrase, RFC 8224 §6.2.2), for a
//! lenient one (Reason with protocol STIR), for the called telephone (`verstat`) and for the log (a rule's name).

use std::fmt;

use ringfort_sip::reason::Reason;

use crate::UnixTime;
use crate::number::Party;
use crate::passport::Attestation;

/// Why an Identity header field, or the chain that it belongs to, was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// The certificate could not be fetched, or its URL is not one that we fetch from.
    Fetch,
    /// Header field or PASSporT cannot be read.
    Malformed,
    /// A claim or parameter that its type requires is missing or wrong.
    Incomplete,
    /// Header field and PASSporT differ.
    Mismatch,
    /// Not ES256.
    Algorithm,
    /// Date or `iat` too far from now.
    Stale,
    /// Signed for another caller.
    Origin,
    /// Signed for another called party.
    Destination,
    /// Signed for other media keys.
    MediaKeys,
    /// A diversion that refers to no PASSporT of the request, or goes in circles.
    Diversion,
    /// What was fetched is no certificate that we support.
    Credential,
    /// No trust anchor above it.
    Untrusted,
    /// Not valid now.
    Expired,
    /// The certificate does not cover the number or domain.
    Authority,
    /// The certificate does not allow the claims.
    Constraint,
    /// The signature is not that of the certificate's key over these claims.
    Signature,
}

impl FailureKind {
    pub const ALL: [FailureKind; 16] = [
        FailureKind::Fetch,
        FailureKind::Malformed,
        FailureKind::Incomplete,
        FailureKind::Mismatch,
        FailureKind::Algorithm,
        FailureKind::Stale,
        FailureKind::Origin,
        FailureKind::Destination,
        FailureKind::MediaKeys,
        FailureKind::Diversion,
        FailureKind::Credential,
        FailureKind::Untrusted,
        FailureKind::Expired,
        FailureKind::Authority,
        FailureKind::Constraint,
        FailureKind::Signature,
    ];

    /// Status and phrase of RFC 8224 §6.2.2.
    pub const fn status(self) -> (u16, &'static str) {
        match self {
            FailureKind::Stale => (403, "Stale Date"),
            FailureKind::Fetch => (436, "Bad Identity Info"),
            FailureKind::Algorithm
            | FailureKind::Credential
            | FailureKind::Untrusted
            | FailureKind::Expired
            | FailureKind::Authority => (437, "Unsupported Credential"),
            FailureKind::Incomplete | FailureKind::Constraint => (438, "Invalid PASSporT"),
            FailureKind::Malformed
            | FailureKind::Mismatch
            | FailureKind::Origin
            | FailureKind::Destination
            | FailureKind::MediaKeys
            | FailureKind::Diversion
            | FailureKind::Signature => (438, "Invalid Identity Header"),
        }
    }

    /// The rule's name in records and logs.
    pub const fn rule(self) -> &'static str {
        match self {
            FailureKind::Fetch => "stir.fetch",
            FailureKind::Malformed => "stir.malformed",
            FailureKind::Incomplete => "stir.incomplete",
            FailureKind::Mismatch => "stir.mismatch",
            FailureKind::Algorithm => "stir.algorithm",
            FailureKind::Stale => "stir.stale",
            FailureKind::Origin => "stir.origin",
            FailureKind::Destination => "stir.destination",
            FailureKind::MediaKeys => "stir.media-keys",
            FailureKind::Diversion => "stir.diversion",
            FailureKind::Credential => "stir.credential",
            FailureKind::Untrusted => "stir.untrusted",
            FailureKind::Expired => "stir.expired",
            FailureKind::Authority => "stir.authority",
            FailureKind::Constraint => "stir.constraint",
            FailureKind::Signature => "stir.signature",
        }
    }
}

/// One failure in words. The words hold no number of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    /// Of the certificate, where it is known.
    pub url: Option<String>,
    pub words: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)?;
        match &self.url {
            Some(url) => write!(f, " ({url})"),
            None => Ok(()),
        }
    }
}

/// There was nothing to validate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotValidated {
    /// No Identity header field.
    Absent,
    /// Only such with types that we do not know (RFC 8224 §6.2 step 1).
    UnsupportedType,
    /// A method that cannot be refused: ACK and CANCEL belong to another request.
    Method,
}

impl NotValidated {
    pub const fn rule(self) -> &'static str {
        match self {
            NotValidated::Absent => "stir.absent",
            NotValidated::UnsupportedType => "stir.unsupported-type",
            NotValidated::Method => "stir.method",
        }
    }
}

/// A signature that was believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// With `shaken` only; a base PASSporT says no more than that the number is right.
    pub attestation: Option<Attestation>,
    pub origid: Option<String>,
    pub orig: Party,
    pub dest: Vec<Party>,
    pub iat: UnixTime,
    /// The name in the certificate of who signed for the caller.
    pub signer: String,
    /// Service provider codes of that certificate.
    pub spcs: Vec<String>,
    pub url: String,
    /// Who was called before, the first one first, each proven by who diverted the call.
    pub diverted: Vec<Party>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed(Passed),
    /// Every Identity header field that we understand failed; this is how the one that came furthest did.
    Failed(Failure),
    NotValidated(NotValidated),
}

/// The result of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// Everything that failed, whatever the outcome: for the log.
    pub failures: Vec<Failure>,
}

impl Verdict {
    pub fn passed(&self) -> Option<&Passed> {
        match &self.outcome {
            Outcome::Passed(passed) => Some(passed),
            Outcome::Failed(_) | Outcome::NotValidated(_) => None,
        }
    }

    /// Status and phrase that a policy which requires a signature answers with (RFC 8224 §6.2.2). `None` where the call may
    /// go on.
    pub fn refusal(&self) -> Option<(u16, &'static str)> {
        match &self.outcome {
            Outcome::Passed(_) | Outcome::NotValidated(NotValidated::Method) => None,
            Outcome::Failed(failure) => Some(failure.kind.status()),
            Outcome::NotValidated(NotValidated::Absent) => Some((428, "Use Identity Header")),
            Outcome::NotValidated(NotValidated::UnsupportedType) => Some((428, "Use Supported PASSporT Format")),
        }
    }

    /// For the first provisional response or the final one of a call that goes on although its signature failed:
    /// `STIR;cause=436;text="Bad Identity Info"` (RFC 9410). `None` where nothing failed.
    pub fn reason(&self) -> Option<Reason<'static>> {
        match &self.outcome {
            Outcome::Failed(failure) => {
                let (status, text) = failure.kind.status();
                Some(Reason { protocol: "STIR", cause: Some(status), text: Some(text.into()) })
            }
            Outcome::Passed(_) | Outcome::NotValidated(_) => None,
        }
    }

    /// The value of the parameter `verstat` of a number (3GPP TS 24.229 §7.2A.20).
    pub const fn verstat(&self) -> &'static str {
        match &self.outcome {
            Outcome::Passed(_) => "TN-Validation-Passed",
            Outcome::Failed(_) => "TN-Validation-Failed",
            Outcome::NotValidated(_) => "No-TN-Validation",
        }
    }

    /// The rule's name in records and logs.
    pub const fn rule(&self) -> &'static str {
        match &self.outcome {
            Outcome::Passed(_) => "stir.passed",
            Outcome::Failed(failure) => failure.kind.rule(),
            Outcome::NotValidated(why) => why.rule(),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Passed(passed) => {
                write!(f, "signed by {:?}", passed.signer)?;
                if let Some(attestation) = passed.attestation {
                    write!(f, ", attestation {attestation}")?;
                }
                match passed.diverted.len() {
                    0 => Ok(()),
                    times => write!(f, ", diverted {times} times"),
                }
            }
            Outcome::Failed(failure) => failure.fmt(f),
            Outcome::NotValidated(NotValidated::Absent) => f.write_str("there is no Identity header field"),
            Outcome::NotValidated(NotValidated::UnsupportedType) => {
                f.write_str("expected an Identity header field without ppt, or with ppt shaken or div")
            }
            Outcome::NotValidated(NotValidated::Method) => f.write_str("not a request of its own"),
        }
    }
}
