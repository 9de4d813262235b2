//! Tests of the scanner as a library, by subject.

mod agreement;
mod broken;
mod commands;
mod kccss;
mod kubeaudit;
mod kubesec;
mod metamorphic;
mod policies;
mod support;
