//! A scan of one text with the built-in policies.

use std::sync::OnceLock;

use ringfort_audit::model::Limits;
use ringfort_audit::policy::Catalogue;
use ringfort_audit::scan::suppress::Suppressions;
use ringfort_audit::scan::{FileScan, Settings, scan_text};

pub fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(Catalogue::built_in)
}

pub fn settings<'s>(catalogue: &'s Catalogue, suppressions: &'s Suppressions) -> Settings<'s> {
    let today = "2026-11-25".parse().expect("a day");
    Settings { catalogue, limits: Limits::default(), passes: true, suppressions, today, threads: 1 }
}

pub fn scan(name: &str, text: &str) -> FileScan {
    scan_text(name, text, &settings(catalogue(), &Suppressions::default()))
}
