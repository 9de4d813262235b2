//! Starting the edge, and the handle by which other threads talk to it.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use ringfort_media::types::DropReason;
use ringfort_sip::flow::{ListenerId, Transport};
use ringfort_switch::identity::Stir;
use ringfort_switch::io::{Command, CommandReply};
use ringfort_switch::model::Site;
use ringfort_switch::voicemail::MailNews;

use crate::checks::{self, Finding};
use crate::config::NetConfig;
use crate::core::Core;
use crate::error::{HandleError, StartError, TlsError};
use crate::guard::GuardSink;
use crate::journal::JournalSink;
use crate::mail::MailSender;
use crate::media;
use crate::shard::{Shard, ToShard};
use crate::stats::{DropCounters, MediaCounters, MediaStats, NetCounters, NetStats};
use crate::sys::epoll::Waker;
use crate::sys::socket;
use crate::tls::TlsStore;

/// How long a blocking question to the shard waits for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Sockets that are bound and not yet served, so that the core can be told their addresses before it is made.
pub struct Bound {
    config: NetConfig,
    sockets: Vec<BoundSocket>,
    tls: Option<Arc<TlsStore>>,
    findings: Vec<Finding>,
    mail: Option<MailSender>,
}

/// One listener's socket.
pub(crate) struct BoundSocket {
    pub(crate) transport: Transport,
    pub(crate) local: SocketAddr,
    pub(crate) socket: ListenSocket,
}

pub(crate) enum ListenSocket {
    Udp(std::net::UdpSocket),
    Stream(std::net::TcpListener),
}

/// Binds every listener, loads or makes the certificate and looks at the kernel's settings.
///
/// # Errors
/// An address that is taken or not ours, a transport that is not served, a certificate that cannot be used.
pub fn bind(config: NetConfig) -> Result<Bound, StartError> {
    media::check_addresses(&config.media)?;
    let mut sockets = Vec::with_capacity(config.listeners.len());
    for listener in &config.listeners {
        let failed = |source| StartError::Listen { transport: listener.transport, address: listener.bind, source };
        let socket = match listener.transport {
            Transport::Udp => ListenSocket::Udp(socket::udp(listener.bind, config.socket_buffer).map_err(failed)?),
            Transport::Tcp | Transport::Tls => ListenSocket::Stream(socket::listen(listener.bind).map_err(failed)?),
            Transport::Ws | Transport::Wss => return Err(StartError::Transport(listener.transport)),
        };
        let local = match &socket {
            ListenSocket::Udp(socket) => socket.local_addr(),
            ListenSocket::Stream(listener) => listener.local_addr(),
        };
        sockets.push(BoundSocket { transport: listener.transport, local: local.map_err(failed)?, socket });
    }
    let listens = config.listeners.iter().any(|listener| listener.transport.is_secure());
    if listens && config.tls.certificate.is_none() {
        return Err(TlsError::NoCertificate.into());
    }
    let tls = match sockets.iter().any(|socket| socket.transport != Transport::Udp) {
        true => Some(Arc::new(TlsStore::load(&config.tls)?)),
        false => None,
    };
    let findings = checks::all(config.socket_buffer, config.connections.all + 1024);
    Ok(Bound { config, sockets, tls, findings, mail: None })
}

impl Bound {
    /// The address a listener is bound to, with its real port. `None`: there is no such listener.
    pub fn local(&self, listener: ListenerId) -> Option<SocketAddr> {
        self.sockets.get(usize::from(listener.0)).map(|socket| socket.local)
    }

    /// What in the kernel's or the shell's settings should be mended, with the command that does.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// SHA-256 fingerprint of our certificate, `AB:CD:…`, for an operator to compare.
    pub fn certificate_fingerprint(&self) -> Option<String> {
        self.tls.as_ref().and_then(|tls| tls.fingerprint())
    }

    /// Messages go there. Without it nobody keeps any.
    #[must_use]
    pub fn keep_mail(self, mail: MailSender) -> Self {
        Self { mail: Some(mail), ..self }
    }

    /// Starts the shard's and the media thread.
    ///
    /// # Errors
    /// The kernel gave no thread, epoll or event descriptor.
    pub fn start<C: Core, J: JournalSink, G: GuardSink>(
        self,
        core: C,
        journal: J,
        guard: G,
    ) -> Result<Handle, StartError> {
        let kernel = |what| move |source| StartError::Kernel { what, source };
        let (commands, inbox) = sync_channel(self.config.commands.max(1));
        let waker = Waker::new().map_err(kernel("event descriptor"))?;
        let inner = Arc::new(Inner {
            commands,
            waker: waker.clone(),
            stats: Arc::default(),
            media_stats: Arc::default(),
            media_drops: Arc::default(),
            outcome: Arc::default(),
            threads: Mutex::default(),
            locals: self.sockets.iter().map(|socket| socket.local).collect(),
            tls: self.tls.clone(),
        });
        let (counters, drops) = (inner.media_stats.clone(), inner.media_drops.clone());
        let (media_link, media_thread) =
            media::spawn(&self.config.media, counters, drops, waker.clone(), self.mail.clone())
                .map_err(kernel("media thread"))?;
        let shard = Shard::new(
            &self.config,
            self.sockets,
            self.tls,
            core,
            journal,
            media_link,
            waker,
            inner.stats.clone(),
            Box::new(guard),
            self.mail,
        )
        .map_err(kernel("epoll descriptor"))?;
        let shard_thread = spawn_shard(shard, inbox, inner.outcome.clone()).map_err(kernel("thread"))?;
        let handle = Handle { inner };
        handle.inner.lock_threads().extend([shard_thread, media_thread]);
        if let Some(watcher) = handle.spawn_certificate_watch(self.config.tls.reload_every).map_err(kernel("thread"))? {
            handle.inner.lock_threads().push(watcher);
        }
        Ok(handle)
    }
}

fn spawn_shard<C: Core, J: JournalSink>(
    mut shard: Shard<C, J>,
    inbox: Receiver<ToShard>,
    outcome: Arc<Outcome>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("shard-0".to_owned()).spawn(move || {
        let reason = shard.run(&inbox);
        match &reason {
            StopReason::Asked => tracing::info!(rule = "shard", "stopped as asked"),
            StopReason::Panicked(what) => {
                tracing::error!(rule = "shard", alarm = true, "shard stopped by a panic: {what}")
            }
            StopReason::Failed(what) => tracing::error!(rule = "shard", alarm = true, "shard stopped: {what}"),
        }
        // The media thread ends when the shard's end of its queue is gone; whoever waits for an answer hears of it.
        drop(shard);
        drop(inbox);
        outcome.set(reason);
    })
}

/// Why the shard is not running any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// [`Handle::stop`].
    Asked,
    /// A defect of ours; its message.
    Panicked(String),
    /// The kernel refused what the loop cannot do without.
    Failed(String),
}

/// How a thread that has ended tells those who wait.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    reason: Mutex<Option<StopReason>>,
    changed: Condvar,
}

impl Outcome {
    fn set(&self, reason: StopReason) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.changed.notify_all();
    }

    /// The reason once there is one, or `None` after that time.
    fn wait(&self, at_most: Option<Duration>) -> Option<StopReason> {
        let guard = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        let pending = |reason: &mut Option<StopReason>| reason.is_none();
        match at_most {
            Some(time) => {
                let waited = self.changed.wait_timeout_while(guard, time, pending);
                waited.unwrap_or_else(PoisonError::into_inner).0.clone()
            }
            None => self.changed.wait_while(guard, pending).unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

struct Inner {
    commands: SyncSender<ToShard>,
    waker: Waker,
    stats: Arc<NetCounters>,
    media_stats: Arc<MediaCounters>,
    media_drops: Arc<DropCounters>,
    outcome: Arc<Outcome>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    locals: Vec<SocketAddr>,
    tls: Option<Arc<TlsStore>>,
}

impl Inner {
    fn lock_threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, message: ToShard) -> Result<(), HandleError> {
        self.commands.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => HandleError::Busy,
            TrySendError::Disconnected(_) => HandleError::Stopped,
        })?;
        self.waker.wake();
        Ok(())
    }
}

/// The running edge. Clones are the same edge. Dropping it does not stop anything: [`Handle::stop`] does.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<Inner>,
}

impl Handle {
    /// Asks the core and waits for its answer, up to five seconds. Blocks: not for an async task.
    ///
    /// # Errors
    /// Too many commands wait already, or the shard has stopped or does not answer.
    pub fn command(&self, command: Command) -> Result<CommandReply, HandleError> {
        let (sender, answer) = sync_channel(1);
        self.ask(command, move |reply| {
            // Whoever asked may have stopped waiting.
            let _ = sender.try_send(reply);
        })?;
        self.await_answer(&answer)
    }

    fn await_answer<T>(&self, answer: &Receiver<T>) -> Result<T, HandleError> {
        answer.recv_timeout(ANSWER_WITHIN).map_err(|error| match error {
            RecvTimeoutError::Disconnected => HandleError::Stopped,
            RecvTimeoutError::Timeout => HandleError::NoAnswer(ANSWER_WITHIN.as_secs()),
        })
    }

    /// Asks the core; `reply` is called on the shard's thread, so it only hands the answer on.
    ///
    /// # Errors
    /// Too many commands wait already, or the shard has stopped.
    pub fn ask(&self, command: Command, reply: impl FnOnce(CommandReply) + Send + 'static) -> Result<(), HandleError> {
        self.inner.send(ToShard::Ask { command, reply: Box::new(reply) })
    }

    /// Gives the core a new revision of what the administrator manages.
    ///
    /// # Errors
    /// As [`Handle::ask`].
    pub fn apply_site(&self, site: Arc<Site>) -> Result<(), HandleError> {
        self.inner.send(ToShard::Site(site))
    }

    /// Gives the core keys and certificates that were read again.
    ///
    /// # Errors
    /// As [`Handle::ask`].
    pub fn follow_stir(&self, stir: Stir) -> Result<(), HandleError> {
        self.inner.send(ToShard::Stir(Box::new(stir)))
    }

    /// Tells the core what whoever keeps messages has to say.
    ///
    /// # Errors
    /// As [`Handle::ask`].
    pub fn mail_news(&self, news: MailNews) -> Result<(), HandleError> {
        self.inner.send(ToShard::Mail(news))
    }

    /// Whether no call is left; for a drain before a stop.
    ///
    /// # Errors
    /// As [`Handle::command`].
    pub fn is_idle(&self) -> Result<bool, HandleError> {
        let (sender, answer) = sync_channel(1);
        self.inner.send(ToShard::IsIdle(Box::new(move |idle| {
            // Whoever asked may have stopped waiting.
            let _ = sender.try_send(idle);
        })))?;
        self.await_answer(&answer)
    }

    /// Reads the certificate files again; connections that are open keep theirs. Returns the new fingerprint.
    ///
    /// # Errors
    /// The files cannot be used: then the certificate in use stays.
    pub fn reload_tls(&self) -> Result<Option<String>, TlsError> {
        match &self.inner.tls {
            Some(tls) => tls.reload(),
            None => Ok(None),
        }
    }

    /// SHA-256 fingerprint of the certificate in use.
    pub fn certificate_fingerprint(&self) -> Option<String> {
        self.inner.tls.as_ref().and_then(|tls| tls.fingerprint())
    }

    /// Where each listener listens, by `ListenerId`.
    pub fn locals(&self) -> &[SocketAddr] {
        &self.inner.locals
    }

    pub fn stats(&self) -> NetStats {
        self.inner.stats.snapshot()
    }

    pub fn media_stats(&self) -> MediaStats {
        self.inner.media_stats.snapshot()
    }

    /// Media packets that were dropped, by the name of the check that did (CALL-5).
    pub fn media_drops(&self) -> [(&'static str, u64); DropReason::COUNT] {
        self.inner.media_drops.items()
    }

    /// Why the shard has stopped; `None` while it runs.
    pub fn stopped(&self) -> Option<StopReason> {
        self.inner.outcome.wait(Some(Duration::ZERO))
    }

    /// Waits until the shard stops, at most so long.
    pub fn wait(&self, at_most: Option<Duration>) -> Option<StopReason> {
        self.inner.outcome.wait(at_most)
    }

    /// Ends the threads: what is ready is sent, the journal flushed, connections are closed. Calls are not ended: for
    /// that, `Command::Drain` and `Command::HangupAll` come before.
    pub fn stop(&self) -> StopReason {
        // A full queue empties, or its shard is gone.
        while self.inner.send(ToShard::Stop) == Err(HandleError::Busy) {
            if self.inner.outcome.wait(Some(Duration::from_millis(5))).is_some() {
                break;
            }
        }
        let reason = self.inner.outcome.wait(None).expect("without a time limit there is a reason");
        let threads: Vec<_> = self.inner.lock_threads().drain(..).collect();
        for thread in threads {
            // A panic of a thread has been reported by the thread.
            let _ = thread.join();
        }
        reason
    }

    /// Looks at the certificate files now and then, and reloads them when they have changed.
    fn spawn_certificate_watch(&self, every: Duration) -> std::io::Result<Option<JoinHandle<()>>> {
        let Some(tls) = self.inner.tls.clone() else { return Ok(None) };
        if every.is_zero() || !tls.has_files() {
            return Ok(None);
        }
        let outcome = self.inner.outcome.clone();
        let watch = move || {
            let mut seen = tls.first_stamp();
            while outcome.wait(Some(every)).is_none() {
                let stamp = tls.file_stamp();
                if stamp == seen {
                    continue;
                }
                seen = stamp;
                match tls.reload() {
                    Ok(fingerprint) => tracing::info!(rule = "tls", ?fingerprint, "certificate reloaded"),
                    Err(error) => tracing::warn!(rule = "tls", %error, "certificate not reloaded, the old one stays"),
                }
            }
        };
        std::thread::Builder::new().name("certificates".to_owned()).spawn(watch).map(Some)
    }
}
