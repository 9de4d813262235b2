//! Objects of a live cluster as inputs of a scan. Lists are read page by page; what may not be read is an input that says so, and
//! so has its line in the ledger. Only `list` on what is scanned is asked for.

mod kinds;
mod list;
mod version;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::Request;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

use crate::scan::input::{Input, Source};
use kinds::{KINDS, SECRETS, Served};
use list::List;
pub use version::version;

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

/// For an answer of the API server, with a page of objects at most.
const PATIENCE: Duration = Duration::from_secs(60);
const PAGE_BYTES: usize = 256 << 20;
/// A list whose continuation has expired is begun anew so often.
const ATTEMPTS: usize = 3;

/// Reads the cluster's objects.
///
/// # Errors
/// There is no configuration, or the API server cannot be asked anything.
pub fn read(options: &ClusterOptions) -> Result<Vec<Input>, ClusterError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ClusterError::Config(error.to_string()))?;
    runtime.block_on(async {
        let (config, name) = config(options).await?;
        let url = config.cluster_url.to_string();
        let unreachable = |why: String| ClusterError::Unreachable { url: url.clone(), why };
        let client = Client::try_from(config).map_err(|error| unreachable(in_words(&error)))?;
        let mut reader = Reader { client, options, name, whole: BTreeSet::new(), inputs: Vec::new() };
        reader.greet().await.map_err(unreachable)?;
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

/// The configuration and what the cluster is called in reports.
async fn config(options: &ClusterOptions) -> Result<(Config, String), ClusterError> {
    let error = |error: &dyn std::error::Error| ClusterError::Config(in_words(error));
    let file = match &options.kubeconfig {
        Some(path) => Some(Kubeconfig::read_from(path).map_err(|why| error(&why))?),
        None => match Kubeconfig::read() {
            Ok(file) => Some(file),
            Err(why) => match Config::incluster() {
                Ok(config) if options.context.is_none() => return Ok((patient(config), "cluster".to_owned())),
                // A pod has no file; anybody else should hear of theirs.
                _ => return Err(error(&why)),
            },
        },
    };
    let file = file.expect("a file was read, or this is over");
    let name = options.context.clone().or_else(|| file.current_context.clone()).unwrap_or_default();
    let wanted = KubeConfigOptions { context: options.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(file, &wanted).await.map_err(|why| error(&why))?;
    Ok((patient(config), name))
}

fn patient(mut config: Config) -> Config {
    config.connect_timeout = Some(Duration::from_secs(10));
    config.read_timeout = Some(PATIENCE);
    config
}

/// An error with its causes.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

struct Reader<'o> {
    client: Client,
    options: &'o ClusterOptions,
    name: String,
    /// Kinds whose lists were read to their end: what they own need not be scanned again.
    whole: BTreeSet<&'static str>,
    inputs: Vec<Input>,
}

/// What became of a request.
enum Got {
    Page(Vec<u8>),
    /// 404: there is no such kind.
    Nothing,
    /// 410: the continuation has expired.
    Gone,
    Refused(String),
}

impl Reader<'_> {
    /// Whether the API server answers and knows who asks.
    async fn greet(&self) -> Result<(), String> {
        match self.get("/version").await {
            Got::Page(_) | Got::Gone => Ok(()),
            Got::Nothing => Err("expected an API server of Kubernetes, which has /version".to_owned()),
            // Some clusters tell their version to nobody; lists say what is allowed.
            Got::Refused(why) if why.starts_with("403") => Ok(()),
            Got::Refused(why) => Err(why),
        }
    }

    async fn kind(&mut self, served: &'static Served) {
        let namespaces: Vec<Option<String>> = match (served.namespaced, self.options.namespaces.is_empty()) {
            (_, true) => vec![None],
            (true, false) => self.options.namespaces.iter().cloned().map(Some).collect(),
            (false, false) => {
                self.skip(served, "", "in no namespace, and only some were asked for (-n)");
                return;
            }
        };
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
            match self.get(&self.page_path(path, token.as_deref())).await {
                Got::Page(page) => match list.add(&page, served, &self.whole) {
                    Ok(next) if next.token.is_some() => token = next.token,
                    Ok(_) => break None,
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
                Got::Refused(why) => break Some(why),
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

    fn page_path(&self, path: &str, token: Option<&str>) -> String {
        let page = if self.options.page == 0 { 500 } else { self.options.page };
        let mut path = format!("{path}?limit={page}");
        if let Some(token) = token {
            path.push_str("&continue=");
            for byte in token.bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => path.push(char::from(byte)),
                    _ => path.push_str(&format!("%{byte:02X}")),
                }
            }
        }
        path
    }

    async fn get(&self, path: &str) -> Got {
        let request = match Request::get(path).body(Body::empty()) {
            Ok(request) => request,
            Err(error) => return Got::Refused(format!("{path} cannot be asked for: {error}")),
        };
        let answer = match self.client.send(request).await {
            Ok(answer) => answer,
            Err(error) => return Got::Refused(in_words(&error)),
        };
        let status = answer.status().as_u16();
        let body = match tokio::time::timeout(PATIENCE, Limited::new(answer.into_body(), PAGE_BYTES).collect()).await {
            Ok(Ok(body)) => body.to_bytes().to_vec(),
            Ok(Err(error)) => return Got::Refused(format!("the answer did not come to its end: {error}")),
            Err(_) => return Got::Refused(format!("the answer did not come to its end within {PATIENCE:?}")),
        };
        match status {
            200 => Got::Page(body),
            404 => Got::Nothing,
            410 => Got::Gone,
            _ => {
                let said: Value = serde_json::from_slice(&body).unwrap_or_default();
                let words = said["message"].as_str().unwrap_or("no reason given").to_owned();
                Got::Refused(format!("{status}: {words}"))
            }
        }
    }

    fn skip(&mut self, served: &Served, suffix: &str, why: &str) {
        self.add(&served.path(None), suffix, Source::Skipped(why.to_owned()));
    }

    fn add(&mut self, path: &str, suffix: &str, source: Source) {
        self.inputs.push(Input { name: format!("{SCHEME}{}{path}{suffix}", self.name), source });
    }
}
