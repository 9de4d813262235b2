//! Tests of the scanner as a library, by subject.

mod agreement;
mod agreement_builds;
mod agreement_iac;
mod api_server;
mod broken;
mod broken_languages;
mod cis;
mod cis_conformance;
mod cis_managed;
mod cis_pgsql;
mod cluster;
mod commands;
mod iac;
mod iac_json;
mod kccss;
mod kubeaudit;
mod kubesec;
mod metamorphic;
mod policies;
mod reports;
mod serve;
mod support;
mod tools;
mod vap;
mod watch;
