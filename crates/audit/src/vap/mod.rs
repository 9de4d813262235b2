//! Kubernetes' `ValidatingAdmissionPolicy` (admissionregistration.k8s.io/v1): policies of users written as one, and our own policies
//! written out as one, so that a cluster refuses what a scan would find.

pub mod cel;
mod export;
mod kinds;
mod read;

pub use export::{NotExportable, export};
pub use read::{is_admission_policy, policies};
