//! Objects of a live cluster as inputs of a scan. Lists are read page by page; what may not be read is an input that says so, and
//! so has its line in the ledger. Only `list` on what is scanned is asked for, and `watch` where a cluster is watched.

mod connection;
mod follow;
mod kinds;
mod list;
mod version;
mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::scan::input::{Input, Source};
use connection::{Connection, Got};
pub(crate) use follow::fuzz_watch;
use kinds::{KINDS, SECRETS, Served};
use list::List;
pub use version::version;
pub use watch::{Seen, watch};

/// Which cluster, and what of it.
#[derive(Debug, Clone, Default)]
pub struct ClusterOptions {
    /// Without it `KUBECONFIG` or `~/.kube/config`; where there is none either, the service account of the pod that this runs in.
    pub kubeconfig: Option<PathBuf>,
    /// Without it the file's current one.
    pub context: Option<String>,
    /// Only these; empty: all, and what is in none.
    pub namespaces: Vec<String>,
    /// Read secrets too.
    pub secrets: bool,
    /// Objects a page; 0: 500.
    pub page: u32,
    /// How long until what cannot be watched is listed again; zero: a minute.
    pub again: Duration,
}

/// Why a cluster was not scanned at all.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No configuration, or one that is no good.
    #[error("no cluster is configured: {0}")]
    Config(String),
    /// It does not answer, or does not know us.
    #[error("{url}: {why}")]
    Unreachable {
        /// The API server.
        url: String,
        /// What it said.
        why: String,
    },
}

/// What the names of inputs from a cluster begin with.
pub const SCHEME: &str = "kube://";

/// A list whose continuation has expired is begun anew so often.
const ATTEMPTS: usize = 3;

/// What requests run in: the thread that asks.
fn runtime() -> Result<tokio::runtime::Runtime, ClusterError> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|error| ClusterError::Config(error.to_string()))
}

/// Reads the cluster's objects.
///
/// # Errors
/// There is no configuration, or the API server cannot be asked anything.
pub fn read(options: &ClusterOptions) -> Result<Vec<Input>, ClusterError> {
    runtime()?.block_on(async {
        let connection = Connection::open(options).await?;
        let mut reader = Reader { connection, options, whole: BTreeSet::new(), inputs: Vec::new() };
        for served in KINDS {
            reader.kind(served).await;
        }
        if options.secrets {
            reader.kind(&SECRETS).await;
        } else {
            reader.skip(&SECRETS, "", "secrets are not read unless asked for (--secrets)");
        }
        Ok(reader.inputs)
    })
}

/// The namespaces of a kind whose lists are read, `None` being all; no list at all, where it is in none and only some were asked for.
fn namespaces(served: &Served, options: &ClusterOptions) -> Vec<Option<String>> {
    match (served.namespaced, options.namespaces.is_empty()) {
        (_, true) => vec![None],
        (true, false) => options.namespaces.iter().cloned().map(Some).collect(),
        (false, false) => Vec::new(),
    }
}

/// The next page of a list.
fn page_path(path: &str, options: &ClusterOptions, token: Option<&str>) -> String {
    let page = if options.page == 0 { 500 } else { options.page };
    let mut path = format!("{path}?limit={page}");
    if let Some(token) = token {
        path.push_str("&continue=");
        push_encoded(&mut path, token);
    }
    path
}

/// Encoded for a query (RFC 3986 §2.3).
fn push_encoded(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
}

struct Reader<'o> {
    connection: Connection,
    options: &'o ClusterOptions,
    /// Kinds whose lists were read to their end: what they own need not be scanned again.
    whole: BTreeSet<&'static str>,
    inputs: Vec<Input>,
}

impl Reader<'_> {
    async fn kind(&mut self, served: &'static Served) {
        let namespaces = namespaces(served, self.options);
        if namespaces.is_empty() {
            self.skip(served, "", "in no namespace, and only some were asked for (-n)");
            return;
        }
        let mut whole = true;
        for namespace in namespaces {
            let path = served.path(namespace.as_deref());
            whole &= self.list(served, &path).await;
        }
        if whole {
            self.whole.insert(served.kind);
        }
    }

    /// Whether all of it was read.
    async fn list(&mut self, served: &'static Served, path: &str) -> bool {
        let mut list = List::default();
        let mut token: Option<String> = None;
        let mut attempts = 1;
        let problem = loop {
            match self.connection.get(&page_path(path, self.options, token.as_deref())).await {
                Got::Answer(page) => match list.add(&page, served, &self.whole) {
                    Ok(Some(next)) => token = Some(next),
                    Ok(None) => break None,
                    Err(why) => break Some(why),
                },
                Got::Nothing if served.built_in => {
                    self.add(path, "", Source::Skipped("this cluster does not serve it".to_owned()));
                    return true;
                }
                Got::Nothing => return true,
                Got::Gone if attempts < ATTEMPTS => {
                    attempts += 1;
                    list = List::default();
                    token = None;
                }
                Got::Gone => {
                    break Some(
                        "410: it expired while it was read, several times; is the cluster very busy?".to_owned(),
                    );
                }
                Got::Refused { why, .. } | Got::Unanswered(why) => break Some(why),
            }
        };
        let parts = list.parts.len();
        for (index, part) in list.parts.into_iter().enumerate() {
            let suffix = if parts > 1 { format!(" ({} of {parts})", index + 1) } else { String::new() };
            self.add(path, &suffix, Source::Bytes(part.into_bytes()));
        }
        if list.owned > 0 {
            self.add(path, " (owned)", Source::Skipped(format!("{} whose owners are scanned", list.owned)));
        }
        if list.bootstrap > 0 {
            let words = format!("{} that Kubernetes makes in every cluster", list.bootstrap);
            self.add(path, " (built in)", Source::Skipped(words));
        }
        let whole = problem.is_none();
        match problem {
            Some(why) => self.add(path, if parts > 0 { " (the rest)" } else { "" }, Source::Unreadable(why)),
            None if parts == 0 && list.owned == 0 && list.bootstrap == 0 => {
                self.add(path, "", Source::Skipped("there are none".to_owned()));
            }
            None => {}
        }
        whole
    }

    fn skip(&mut self, served: &Served, suffix: &str, why: &str) {
        self.add(&served.path(None), suffix, Source::Skipped(why.to_owned()));
    }

    fn add(&mut self, path: &str, suffix: &str, source: Source) {
        self.inputs.push(Input { name: self.connection.name_of(path) + suffix, source });
    }
}
