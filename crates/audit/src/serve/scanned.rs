//! The sites of views that scan: a page, the last result as JSON, and the asking for another scan. kube-scan's API is `/api/risks`,
//! `/api/refresh` and `/api/refreshing_status`; that of mkit has `/api/controls` in the first one's place.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;

use super::rescan::Rescan;
use super::{Answer, Request, Site};
use crate::web;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Workloads with their risk.
    Risks,
    /// Controls with their resources.
    Controls,
}

/// The site.
#[derive(Debug)]
pub struct ScannedSite {
    shown: Shown,
    rescan: Arc<Rescan>,
}

impl ScannedSite {
    /// A site for what this scan finds.
    pub fn new(shown: Shown, rescan: Arc<Rescan>) -> Self {
        Self { shown, rescan }
    }

    fn status(&self) -> Answer {
        let state = self.rescan.state();
        let mut status = json!({ "lastRefresh": state.last, "refreshing": state.refreshing });
        if let Some(error) = state.error {
            status["error"] = error.into();
        }
        Answer::json("/api/refreshing_status", 200, status.to_string())
    }
}

impl Site for ScannedSite {
    fn answer(&self, request: &Request) -> Answer {
        let (result, page) = match self.shown {
            Shown::Risks => ("/api/risks", web::RISKS),
            Shown::Controls => ("/api/controls", web::CONTROLS),
        };
        match (request.path.as_str(), request.is_get()) {
            ("/", true) => Answer::page("/", web::page(page)),
            (path, true) if path == result => match self.rescan.state().result {
                Some(bytes) => Answer::json(result, 200, bytes.to_vec()),
                None => Answer::empty(result),
            },
            ("/api/refreshing_status", true) => self.status(),
            ("/api/refresh", false) if request.method == "POST" => {
                self.rescan.refresh();
                Answer::empty("/api/refresh")
            }
            ("/api/refresh", _) => Answer::text("/api/refresh", 405, "only POST"),
            (path, false) if path == "/" || path == result || path == "/api/refreshing_status" => {
                Answer::text("other", 405, "only GET")
            }
            _ => Answer::text(
                "other",
                404,
                &format!("not found; there are /, {result}, /api/refresh, /api/refreshing_status"),
            ),
        }
    }

    fn metrics(&self, out: &mut String) {
        let state = self.rescan.state();
        let _ = writeln!(
            out,
            "# HELP ringfort_audit_last_scan_seconds When the last scan ended that went well, in seconds since 1970.\n\
             # TYPE ringfort_audit_last_scan_seconds gauge\nringfort_audit_last_scan_seconds {}\n\
             # HELP ringfort_audit_scan_failed Whether the last scan did not go well.\n\
             # TYPE ringfort_audit_scan_failed gauge\nringfort_audit_scan_failed {}",
            state.last,
            u8::from(state.error.is_some())
        );
    }
}
