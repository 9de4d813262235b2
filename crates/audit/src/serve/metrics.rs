//! Figures of a server for Prometheus: requests by route and status, and the time that they took.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Counts requests. Routes are a site's own, so their number is bounded.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, u16), Figures>>,
}

#[derive(Debug, Default)]
struct Figures {
    count: u64,
    time: Duration,
}

impl Metrics {
    /// A request that was answered.
    pub fn count(&self, route: &'static str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let figures = requests.entry((route, status)).or_default();
        figures.count += 1;
        figures.time += took;
    }

    /// In the text format of Prometheus.
    pub fn to_text(&self) -> String {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::from(
            "# HELP ringfort_audit_requests_total Requests by route and HTTP status.\n# TYPE ringfort_audit_requests_total counter\n",
        );
        for ((route, status), Figures { count, .. }) in requests.iter() {
            let _ = writeln!(out, "ringfort_audit_requests_total{{route=\"{route}\",code=\"{status}\"}} {count}");
        }
        out.push_str(
            "# HELP ringfort_audit_request_seconds_total Seconds that those took together.\n\
             # TYPE ringfort_audit_request_seconds_total counter\n",
        );
        for ((route, status), Figures { time, .. }) in requests.iter() {
            let seconds = time.as_secs_f64();
            let _ = writeln!(
                out,
                "ringfort_audit_request_seconds_total{{route=\"{route}\",code=\"{status}\"}} {seconds:.6}"
            );
        }
        out
    }
}
