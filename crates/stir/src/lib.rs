//! Signed caller numbers (STIR/SHAKEN) as pure code: the PASSporT (RFC 8225, 8588, 8946) in the Identity header field
//! (RFC 8224), certificates for telephone numbers (RFC 8226), a verification service ([`Verifier`]), an authentication
//! service ([`Signer`]) and what a blocked caller is told (RFC 8197, 8688). No socket and no clock: certificates are asked
//! for by [`Query`], the time is an argument. Called by the switch, and by `ringfort stir`.

mod base64url;
mod cache;
pub mod certificate;
pub mod credential;
pub mod date;
mod der;
mod es256;
#[doc(hidden)]
pub mod fuzzing;
pub mod identity;
mod json;
pub mod number;
pub mod passport;
pub mod rejection;
pub mod sign;
pub mod tn_auth_list;
pub mod verdict;
pub mod verify;

pub use credential::{Credential, CredentialError, TrustAnchors};
pub use date::{Now, UnixTime};
pub use es256::{KeyError, SigningKey};
pub use identity::{Identity, IdentityError};
pub use number::{NumberPlan, Party, PartyError};
pub use passport::{Attestation, Claims, Fingerprint, Passport, PassportError, Ppt, Token};
pub use sign::{AttestPolicy, Caller, OrigId, SignError, Signer};
pub use verdict::{Failure, FailureKind, NotValidated, Outcome, Passed, Verdict};
pub use verify::{Event, Fetch, FetchFailure, Query, QueryId, Question, Settings, VerificationId, Verifier};
