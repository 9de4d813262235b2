//! The way to an API server: whose configuration counts, who we are there, and requests with the answers that they may get. What
//! gives us our name (a token that is rotated, a certificate) is read again where the server does not know us any more.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::{Request, Response};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

use super::{ClusterError, ClusterOptions, SCHEME};

/// For an answer of the API server, with a page of objects at most.
const PATIENCE: Duration = Duration::from_secs(60);
const PAGE_BYTES: usize = 256 << 20;

/// One API server, as one of its users.
pub(super) struct Connection {
    options: ClusterOptions,
    /// What the cluster is called in reports.
    pub(super) name: String,
    url: String,
    client: Mutex<Known>,
}

/// A client, and which one it is; a later one is made of what the configuration said then.
#[derive(Clone)]
struct Known {
    client: Client,
    number: u64,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Got<T> {
    /// What was asked for.
    Answer(T),
    /// 404: there is no such kind.
    Nothing,
    /// 410: the continuation or version has expired.
    Gone,
    /// Any other status, with the server's words.
    Refused {
        /// The status.
        status: u16,
        /// It and the words.
        why: String,
    },
    /// No answer, or none to its end.
    Unanswered(String),
}

impl Connection {
    /// Finds the configuration and asks for `/version`, so that who cannot be asked at all is told once.
    ///
    /// # Errors
    /// There is no configuration, or the API server cannot be asked anything.
    pub(super) async fn open(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let (config, name) = config(options).await?;
        let url = config.cluster_url.to_string();
        let unreachable = |why: String| ClusterError::Unreachable { url: url.clone(), why };
        let client = Client::try_from(config).map_err(|error| unreachable(in_words(&error)))?;
        let client = Mutex::new(Known { client, number: 0 });
        let connection = Self { options: options.clone(), name, url: url.clone(), client };
        match connection.get("/version").await {
            Got::Answer(_) | Got::Gone => Ok(connection),
            Got::Nothing => Err(unreachable("expected an API server of Kubernetes, which has /version".to_owned())),
            // Some clusters tell their version to nobody; lists say what is allowed.
            Got::Refused { status: 403, .. } => Ok(connection),
            Got::Refused { why, .. } | Got::Unanswered(why) => Err(unreachable(why)),
        }
    }

    /// What a list is called in reports.
    pub(super) fn name_of(&self, path: &str) -> String {
        format!("{SCHEME}{}{path}", self.name)
    }

    /// A path's answer, to its end.
    pub(super) async fn get(&self, path: &str) -> Got<Vec<u8>> {
        let answer = match self.send(path).await {
            Ok(answer) => answer,
            Err(why) => return Got::Unanswered(why),
        };
        let status = answer.status().as_u16();
        let body = match tokio::time::timeout(PATIENCE, Limited::new(answer.into_body(), PAGE_BYTES).collect()).await {
            Ok(Ok(body)) => body.to_bytes().to_vec(),
            Ok(Err(error)) => return Got::Unanswered(format!("the answer did not come to its end: {error}")),
            Err(_) => return Got::Unanswered(format!("the answer did not come to its end within {PATIENCE:?}")),
        };
        match status {
            200 => Got::Answer(body),
            404 => Got::Nothing,
            410 => Got::Gone,
            status => {
                let said: Value = serde_json::from_slice(&body).unwrap_or_default();
                let words = said["message"].as_str().unwrap_or("no reason given");
                Got::Refused { status, why: format!("{status}: {words}") }
            }
        }
    }

    /// A path's answer as it comes; what is no 200 is read to its end.
    pub(super) async fn follow(&self, path: &str) -> Got<Body> {
        match self.send(path).await {
            Ok(answer) if answer.status() == 200 => Got::Answer(answer.into_body()),
            Ok(_) => match self.get(path).await {
                // It was refused a moment ago, and would not be now: whoever asks comes again.
                Got::Answer(_) => Got::Unanswered("the API server changed its mind".to_owned()),
                Got::Nothing => Got::Nothing,
                Got::Gone => Got::Gone,
                Got::Refused { status, why } => Got::Refused { status, why },
                Got::Unanswered(why) => Got::Unanswered(why),
            },
            Err(why) => Got::Unanswered(why),
        }
    }

    async fn send(&self, path: &str) -> Result<Response<Body>, String> {
        let known = self.known().clone();
        let request = |path: &str| Request::get(path).body(Body::empty()).map_err(|error| format!("{path}: {error}"));
        let answer = ask(&known.client, request(path)?).await?;
        if answer.status() != 401 || !self.renew(known.number).await {
            return Ok(answer);
        }
        let client = self.known().client.clone();
        ask(&client, request(path)?).await
    }

    /// Reads the configuration again, unless somebody else has since that client was made. Whether there is another one to ask by.
    async fn renew(&self, number: u64) -> bool {
        if self.known().number != number {
            return true;
        }
        // What is in the middle of being written is read the next time.
        let Ok((config, _)) = config(&self.options).await else { return false };
        if config.cluster_url.to_string() != self.url {
            return false;
        }
        let Ok(client) = Client::try_from(config) else { return false };
        *self.known() = Known { client, number: number + 1 };
        true
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(client: &Client, request: Request<Body>) -> Result<Response<Body>, String> {
    match tokio::time::timeout(PATIENCE, client.send(request)).await {
        Ok(answer) => answer.map_err(|error| in_words(&error)),
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
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
                // Whoever is in a pod should hear what its service account lacks, and anybody else of their file.
                Err(lacks) if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
                    return Err(ClusterError::Config(format!("{}; in this pod: {}", in_words(&why), in_words(&lacks))));
                }
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

/// Answers have their own clock: a watch may be silent for minutes.
fn patient(mut config: Config) -> Config {
    config.connect_timeout = Some(Duration::from_secs(10));
    config.read_timeout = None;
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
