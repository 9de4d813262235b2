//! The posture scanner behind `ringfort audit`, usable alone.
//!
//! ```
//! use ringfort_audit::model::Limits;
//! use ringfort_audit::policy::Catalogue;
//! use ringfort_audit::scan::suppress::{Date, Suppressions};
//! use ringfort_audit::scan::{Settings, scan_text};
//!
//! let catalogue = Catalogue::built_in();
//! let suppressions = Suppressions::default();
//! let settings = Settings {
//!     catalogue: &catalogue,
//!     limits: Limits::default(),
//!     passes: false,
//!     suppressions: &suppressions,
//!     today: Date::from_unix(1_790_000_000),
//!     threads: 1,
//! };
//! let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {hostPID: true, containers: []}\n";
//! let found = scan_text("pod.yaml", pod, &settings);
//! let host_pid = found.findings.iter().find(|finding| &*finding.json_path == "spec.hostPID").expect("it is a failure");
//! assert_eq!((host_pid.at.line, host_pid.policy(&catalogue).id.as_str()), (4, "RF-K8S-0003"));
//! ```
//!
//! From below: [`model`] reads YAML and JSON within limits and keeps places, [`kube`] finds objects in it, [`iac`] resources of clouds,
//! [`pipeline`] knows what builds and ships, [`expr`] is the language
//! of predicates, [`vap`] the form that policies have in a cluster, [`policy`] the policies (data, in `policies/`), [`engine`] evaluates
//! them, [`cluster`] reads objects of a live cluster, [`scan`] judges files and keeps a ledger, [`output`] writes reports, [`view`] judges as
//! other tools do, [`serve`] answers over HTTP. Nothing but [`scan`], [`command`], [`cluster`] and [`serve`] touches a file or the network; the day is an
//! argument.

pub mod cis;
pub mod cluster;
pub mod command;
pub mod edit;
pub mod engine;
pub mod expr;
pub mod fix;
pub mod fuzzing;
pub mod iac;
pub mod kube;
pub mod model;
pub mod output;
pub mod pipeline;
pub mod policy;
pub mod scan;
pub mod serve;
pub mod vap;
pub mod view;
mod web;
