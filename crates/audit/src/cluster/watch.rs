//! A cluster that is watched: each list is read once and then followed by its events. A watch that ends is taken up where it was; one
//! whose version has expired (410) begins with the list again, and only what differs is told. What may not be watched is listed
//! again from time to time, and what may not be listed is asked for again.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use kube::client::Body;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinSet;

use super::connection::{Connection, Got};
use super::follow::{Event, Followed};
use super::kinds::{KINDS, SECRETS};
use super::list::Page;
use super::{ATTEMPTS, ClusterError, ClusterOptions, namespaces, page_path, push_encoded, runtime};

/// What is seen of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// An object is there that was not, or is another one now.
    Object {
        /// Its list, as reports name it.
        list: Arc<str>,
        /// `namespace/name`
        name: String,
        /// The object as JSON, without what nobody looks at.
        text: String,
    },
    /// An object is not there any more.
    Gone {
        /// Its list.
        list: Arc<str>,
        /// `namespace/name`
        name: String,
    },
    /// A list cannot be read or watched, and why. It is tried again.
    Gap {
        /// Which.
        list: Arc<str>,
        /// In words.
        why: String,
    },
    /// A list that could not be is read and watched.
    Mended {
        /// Which.
        list: Arc<str>,
    },
    /// Every list has been read, or is a gap.
    Settled {
        /// So many are watched from now on.
        lists: usize,
    },
}

/// The API server ends a watch after so many seconds, so that its load is spread anew.
const SECONDS: u64 = 290;
/// Without a byte for so long a watch is given up: the other side is gone.
const SILENCE: Duration = Duration::from_secs(SECONDS + 30);
/// A line of a watch has one object, of which etcd takes 1.5 MiB.
const LINE_BYTES: usize = 32 << 20;
/// Until a list that cannot be watched is read again.
const AGAIN: Duration = Duration::from_secs(60);
/// After so many failures in a row they are told.
const PATIENCE: u32 = 3;

/// Reads the cluster's objects and tells what becomes of them, until `stop` comes or `each` breaks it off.
///
/// # Errors
/// There is no configuration, or the API server cannot be asked anything. What happens later is a gap.
pub fn watch(
    options: &ClusterOptions,
    stop: impl Future<Output = ()>,
    each: &mut dyn FnMut(Seen) -> ControlFlow<()>,
) -> Result<(), ClusterError> {
    runtime()?.block_on(async {
        let connection = Connection::open(options).await?;
        let (tell, mut told) = mpsc::channel(64);
        let all = tokio::spawn(follow_all(connection, options.clone(), tell));
        tokio::pin!(stop);
        loop {
            let seen = tokio::select! {
                seen = told.recv() => seen,
                () = &mut stop => None,
            };
            if seen.is_none_or(|seen| each(seen).is_break()) {
                all.abort();
                return Ok(());
            }
        }
    })
}

/// What the tasks of the lists share.
struct Cluster {
    connection: Connection,
    options: ClusterOptions,
    /// Kinds whose lists were read to their end at first: what they own is not scanned again.
    whole: BTreeSet<&'static str>,
}

/// What comes next for a list.
enum Next {
    List,
    /// From this version on.
    Watch(String),
    /// Nothing for some time, and then the list.
    Wait,
}

/// How a watch ended, and the version that it came to.
enum Ended {
    /// The connection is over; the words, where that is no ordinary end.
    Closed(Option<String>),
    Expired,
    Refused(String),
}

async fn follow_all(connection: Connection, options: ClusterOptions, tell: Sender<Seen>) {
    let mut cluster = Cluster { connection, options, whole: BTreeSet::new() };
    let mut lists = Vec::new();
    // Owners before what they own, one after another: until then nobody knows whose owners are scanned.
    let secrets = cluster.options.secrets.then_some(&SECRETS);
    for served in KINDS.iter().chain(secrets) {
        let mut whole = true;
        let namespaces = namespaces(served, &cluster.options);
        for namespace in &namespaces {
            let path = served.path(namespace.as_deref());
            let mut list = Followed::new(served, path.clone(), &cluster.connection.name_of(&path));
            let Some(next) = cluster.list(&mut list, &tell).await else { return };
            whole &= matches!(next, Next::Watch(_));
            lists.push((list, next));
        }
        if whole && !namespaces.is_empty() {
            cluster.whole.insert(served.kind);
        }
    }
    let watched = lists.iter().filter(|(_, next)| matches!(next, Next::Watch(_))).count();
    if tell.send(Seen::Settled { lists: watched }).await.is_err() {
        return;
    }
    let cluster = Arc::new(cluster);
    let mut tasks = JoinSet::new();
    for (list, next) in lists {
        let (cluster, tell) = (cluster.clone(), tell.clone());
        tasks.spawn(async move { cluster.follow(list, next, &tell).await });
    }
    tasks.join_all().await;
}

impl Cluster {
    /// Follows a list for as long as somebody listens.
    async fn follow(&self, mut list: Followed, mut next: Next, tell: &Sender<Seen>) -> Option<()> {
        let mut failures = 0;
        loop {
            next = match next {
                Next::List => self.list(&mut list, tell).await?,
                Next::Wait => {
                    let again = self.options.again;
                    tokio::time::sleep(if again.is_zero() { AGAIN } else { again }).await;
                    Next::List
                }
                Next::Watch(mut version) => {
                    let before = version.clone();
                    let ended = self.watch(&mut list, &mut version, tell).await?;
                    failures = if version == before { failures + 1 } else { 0 };
                    match ended {
                        Ended::Refused(why) => {
                            send(tell, list.gap(&format!("{why}; not watched, but listed again"))).await?;
                            Next::Wait
                        }
                        Ended::Expired => {
                            pause(failures).await;
                            Next::List
                        }
                        Ended::Closed(why) => {
                            if let Some(why) = why.filter(|_| failures >= PATIENCE) {
                                send(tell, list.gap(&format!("{why}; it is tried again"))).await?;
                            }
                            pause(failures).await;
                            Next::Watch(version)
                        }
                    }
                }
            }
        }
    }

    /// Reads a list to its end; `None` where nobody listens any more.
    async fn list(&self, list: &mut Followed, tell: &Sender<Seen>) -> Option<Next> {
        let (mut there, mut token, mut attempts) = (BTreeSet::new(), None::<String>, 1);
        let why = loop {
            match self.connection.get(&page_path(&list.path, &self.options, token.as_deref())).await {
                Got::Answer(page) => match Page::read(&page, list.served) {
                    Ok(page) => {
                        for item in &page.items {
                            send(tell, list.item(item, &self.whole, &mut there)).await?;
                        }
                        token = page.next;
                        if token.is_none() {
                            for gone in list.listed(&there) {
                                send(tell, Some(gone)).await?;
                            }
                            return Some(Next::Watch(page.version));
                        }
                    }
                    Err(why) => break why,
                },
                // It may be installed one day.
                Got::Nothing => {
                    for gone in list.listed(&BTreeSet::new()) {
                        send(tell, Some(gone)).await?;
                    }
                    send(tell, list.mended()).await?;
                    return Some(Next::Wait);
                }
                Got::Gone if attempts < ATTEMPTS => {
                    attempts += 1;
                    (there, token) = (BTreeSet::new(), None);
                }
                Got::Gone => break "410: it expired while it was read, several times".to_owned(),
                Got::Refused { why, .. } | Got::Unanswered(why) => break why,
            }
        };
        send(tell, list.gap(&why)).await?;
        Some(Next::Wait)
    }

    /// Follows the events after `version`, which goes with them; `None` where nobody listens any more.
    async fn watch(&self, list: &mut Followed, version: &mut String, tell: &Sender<Seen>) -> Option<Ended> {
        let mut path =
            format!("{}?watch=1&allowWatchBookmarks=true&timeoutSeconds={SECONDS}&resourceVersion=", list.path);
        push_encoded(&mut path, version);
        let mut body = match self.connection.follow(&path).await {
            Got::Answer(body) => body,
            Got::Gone => return Some(Ended::Expired),
            // The kind itself is gone, as its list will say.
            Got::Nothing => return Some(Ended::Expired),
            // 429 and 5xx pass.
            Got::Refused { status, why } if status != 429 && status < 500 => return Some(Ended::Refused(why)),
            Got::Refused { why, .. } | Got::Unanswered(why) => return Some(Ended::Closed(Some(why))),
        };
        send(tell, list.mended()).await?;
        let (mut waiting, mut searched) = (Vec::new(), 0);
        loop {
            match more(&mut body, &mut waiting).await {
                Ok(true) => {}
                Ok(false) => return Some(Ended::Closed(None)),
                Err(why) => return Some(Ended::Closed(Some(why))),
            }
            let mut begin = 0;
            while let Some(end) = waiting[searched..].iter().position(|byte| *byte == b'\n') {
                let (event, seen) = list.event(&waiting[begin..searched + end], &self.whole);
                (begin, searched) = (searched + end + 1, searched + end + 1);
                send(tell, seen).await?;
                match event {
                    Event::At(at) if at.is_empty() => {}
                    Event::At(at) => *version = at,
                    Event::Expired => return Some(Ended::Expired),
                    Event::Error(why) => return Some(Ended::Closed(Some(why))),
                }
            }
            waiting.drain(..begin);
            searched = waiting.len();
        }
    }
}

/// Tells it, if there is anything; `None` where nobody listens any more.
async fn send(tell: &Sender<Seen>, seen: Option<Seen>) -> Option<()> {
    match seen {
        Some(seen) => tell.send(seen).await.ok(),
        None => Some(()),
    }
}

/// Takes more of a watch in; false at its end.
async fn more(body: &mut Body, waiting: &mut Vec<u8>) -> Result<bool, String> {
    match tokio::time::timeout(SILENCE, body.frame()).await {
        Ok(Some(Ok(frame))) => {
            waiting.extend_from_slice(frame.data_ref().map_or(&[][..], |data| &data[..]));
            if waiting.len() > LINE_BYTES {
                return Err(format!("an event has more than {} MiB", LINE_BYTES >> 20));
            }
            Ok(true)
        }
        Ok(Some(Err(error))) => Err(format!("the watch broke off: {error}")),
        Ok(None) => Ok(false),
        Err(_) => Err(format!("nothing came for {SILENCE:?}")),
    }
}

/// Longer after each failure: 0.1 s to 30 s.
async fn pause(failures: u32) {
    let wait = Duration::from_millis(100) * 2_u32.pow(failures.min(10));
    tokio::time::sleep(wait.min(Duration::from_secs(30))).await;
}
