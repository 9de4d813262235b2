//! Views: the same files as another tool would judge them, in its own format and with its own exit codes.

pub mod kccss;
pub mod kubeaudit;
pub mod kubesec;
pub mod mkit;
