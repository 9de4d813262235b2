//! Tests of the scanner as a library, by subject.

mod agreement;
mod agreement_iac;
mod broken;
mod cis;
mod cis_conformance;
mod cis_pgsql;
mod commands;
mod iac;
mod kccss;
mod kubeaudit;
mod kubesec;
mod metamorphic;
mod policies;
mod support;
