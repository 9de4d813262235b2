//! The pages: HTML with style and script inside, put together from what they share. They ask nothing of the network but their own
//! server.

/// Workloads with their risk, for a server.
pub(crate) const RISKS: &str = include_str!("risks.html");
/// Controls with their resources, for a server.
pub(crate) const CONTROLS: &str = include_str!("controls.html");
/// The report in one file; `/*DATA*/` is the place for what is in it.
pub(crate) const REPORT: &str = include_str!("report.html");

const SHARED: [(&str, &str); 3] = [
    ("/*BASE.JS*/", include_str!("base.js")),
    ("/*LIVE.JS*/", include_str!("live.js")),
    ("/*LIVE.CSS*/", include_str!("live.css")),
];

/// A page with what it shares with others.
pub(crate) fn page(text: &str) -> String {
    SHARED.iter().fold(text.to_owned(), |page, (mark, shared)| page.replace(mark, shared.trim_end()))
}
