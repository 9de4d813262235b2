//! `ringfort run`: opens the store, starts the edge, answers operators, waits for signals, and stops in order.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ringfort_net::enforce::{EnforceHandle, Enforcer};
use ringfort_net::{Handle, JournalSink, StartError, StopReason};
use ringfort_sip::flow::Transport;
use ringfort_store::{JournalWriter, MaintenanceHandle, Store, StoreOptions};
use ringfort_switch::config::{ProfileKind, SwitchConfig};
use ringfort_switch::io::{Command, CommandReply};
use ringfort_switch::record::JournalRecord;
use ringfort_switch::{Clock, Switch};
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::admin::{Admin, Process};
use crate::cli::args::RunArgs;
use crate::cli::{DEFAULT_CONFIG, DEFAULT_DATA, print};
use crate::config::{self, Config};
use crate::control::{self, AdminRequest, Answer, Request};
use crate::demo::{self, Account, Welcome};
use crate::guard_edge::{BanList, GuardEdge};
use crate::offence_log::OffenceLog;
use crate::stir::card::CardDesk;
use crate::voicemail::Mailroom;
use crate::{http, kernel_bans, logging, memory, metrics, node, random, reach_gate, selftest, stir, time, voicemail};

/// How often the store's background work is done.
const MAINTENANCE_EVERY: Duration = Duration::from_millis(500);
/// Calls may end by themselves for this long after Ctrl-C; after SIGTERM, for `calls.drain_for`.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(2);
/// For the answers to our BYEs.
const BYE_PATIENCE: Duration = Duration::from_secs(2);

/// What the main thread waits for.
enum Wake {
    Signal(i32),
    /// `ringfort ctl stop`.
    Stop,
    /// The shard is gone.
    Stopped(StopReason),
}

/// Runs until it is told to stop.
///
/// # Errors
/// What keeps the system from starting, in words.
pub fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let started = clock();
    // Before any thread is made, so that no signal is missed.
    let signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGHUP]).context("signals")?;
    let (config, config_path) = load_config(&args)?;
    let data_dir = args.data.data.clone().or_else(|| config.data_dir.clone()).unwrap_or_else(|| DEFAULT_DATA.into());
    logging::start(&config.log)?;

    let options = StoreOptions { default_domains: node::domains(&config), ..StoreOptions::default() };
    let log_dir = config.log.dir.clone().unwrap_or_else(|| data_dir.join("log"));
    let (store, journal, recovered, maintenance) =
        Store::open_to_run(&data_dir, options, random::seed()?, time::now())?;
    if config_path.is_none() && store.service.site().revision == 0 {
        make_demo(&store)?;
    }
    if !recovered.crashed.is_empty() {
        tracing::warn!(calls = recovered.crashed.len(), "the last run ended without a stop; its calls were closed");
    }

    let stir = stir::calls::load(&config.stir)?;
    let cards = Arc::new(CardDesk::default());
    cards.set(stir::calls::card(&config.stir)?);
    let bound = ringfort_net::bind(node::net_config(&config, &data_dir)).map_err(explain_start)?;
    for finding in bound.findings() {
        tracing::warn!(rule = "start", mend = %finding.mend, "{}", finding.text);
    }
    warn_of_taken_media_ports(&config, &data_dir);
    let switch_config =
        node::switch_config(&config, store.derived_key("temporary GRUU"), |listener| bound.local(listener));
    let fingerprint = bound.certificate_fingerprint();
    store.service.set_gate(reach_gate::gate(switch_config.clone()));
    let now = clock();
    let site = store.service.site();
    let mut switch =
        Switch::new(switch_config.clone(), site.clone(), Clock { instant: now, unix: time::now() }, random::seed()?);
    switch.set_stir(stir);
    switch.restore(now, recovered.bindings, recovered.next_call);
    switch.restore_spending(&store.spent(time::now())?);
    switch.restore_blacklists(recovered.blacklist);
    switch.restore_guard(now, recovered.guard);
    // With the bans of before from the first moment: what the kernel holds of the last run is replaced at once.
    let ban_list = BanList::new(switch.bans());
    let known = ban_list.clone();
    let enforcer = kernel_bans::start(&config, move || known.bans())?;
    let offence_log = config.guard.offence_log.as_ref().map(|file| log_dir.join(file));
    let (offences, offence_writer) = match &offence_log {
        Some(path) => {
            let opened = OffenceLog::open(path);
            let (log, writer) = opened.with_context(|| format!("guard.offence_log {}", path.display()))?;
            (Some(log), Some(writer))
        }
        None => (None, None),
    };
    let kernel = enforcer.as_ref().map(Enforcer::handle);
    let spared = ban_list.bans().free;
    let edge = GuardEdge { offences, list: ban_list, kernel, spared };
    match store.voicemail.sweep() {
        Ok(0) => {}
        Ok(swept) => {
            tracing::warn!(rule = "voicemail", files = swept, "deleted: the last run ended while it wrote them")
        }
        Err(error) => tracing::warn!(rule = "voicemail", %error, "what the last run left half-written stays"),
    }
    let (mail, mailbag) = voicemail::queue();
    let handle = bound.keep_mail(mail).start(switch, Journal::new(journal), edge)?;
    let mailroom = Mailroom::new(store.voicemail.clone(), handle.clone(), config.voicemail.keep_for);
    let mail_thread = mailroom.clone().spawn(mailbag)?;
    let maintenance = Arc::new(maintenance.spawn(MAINTENANCE_EVERY)?);

    let http = start_http(&config, &handle, started, enforcer.as_ref().map(Enforcer::handle), cards.clone())?;
    let (wake, woken) = mpsc::channel();
    let access = access(&switch_config, &config, &store, fingerprint.as_deref(), http);
    let process = Running {
        handle: handle.clone(),
        access: access.clone(),
        config: config_path.map(|path| (path, format!("{config:?}"))),
        stir: config.stir.clone(),
        cards,
        wake: wake.clone(),
    };
    let demo = process.config.is_none();
    let admin =
        Admin::online(&store, handle.clone(), maintenance.clone(), mailroom, Box::new(process), switch_config.clone());
    let admin = Arc::new(admin);
    let control = control::start(&data_dir, answer_with(admin.clone(), handle.clone(), access))
        .with_context(|| format!("control socket {}", control::socket_path(&data_dir).display()))?;
    watch(signals, &handle, &wake)?;
    tracing::info!(
        ms = (clock() - started).as_millis() as u64,
        extensions = site.extensions.len(),
        listeners = switch_config.listeners.len(),
        "ready"
    );
    let by_tls = switch_config.listeners.iter().any(|listener| listener.sip.transport == Transport::Tls);
    if let Some(fingerprint) = fingerprint.as_ref().filter(|_| by_tls) {
        tracing::info!(rule = "tls", "phones on TLS see the certificate with SHA-256 fingerprint {fingerprint}");
    }
    if demo {
        print(&welcome(&store, &switch_config, fingerprint.as_deref(), http, &args))?;
    } else if site.extensions.is_empty() {
        print("There are no extensions yet: `ringfort ctl extension add 101`, or `ringfort apply -f site.toml`.\n")?;
    }
    if args.selftest {
        spawn_selftest(data_dir.clone())?;
    }
    memory::drop_code_of_the_start();
    let code = serve(&handle, &admin, &woken, config.drain_for);
    drop(control);
    let reason = handle.stop();
    // Its queue ended with the threads that write into it; a panic in it has been reported.
    let _ = mail_thread.join();
    if let Some(writer) = offence_writer {
        // Its queue ended with the shard; a panic in it has been reported.
        let _ = writer.join();
    }
    if let Some(enforcer) = enforcer {
        enforcer.stop();
    }
    finish(maintenance);
    store.finish();
    tracing::info!(?reason, "stopped");
    Ok(code)
}

fn load_config(args: &RunArgs) -> anyhow::Result<(Config, Option<PathBuf>)> {
    let default = Path::new(DEFAULT_CONFIG);
    let path = args.config.clone().or_else(|| default.exists().then(|| default.to_owned()));
    let Some(path) = path else {
        let config = if args.listen_lan { Config::for_lan() } else { Config::default() };
        return Ok((config, None));
    };
    if args.listen_lan {
        anyhow::bail!("--listen-lan is for a start without configuration; {} says where to listen", path.display());
    }
    Ok((Config::load(&path)?, Some(path)))
}

fn make_demo(store: &Store) -> anyhow::Result<()> {
    let raw = ringfort_store::site::parse("demo", &demo::site_file())?;
    let plan = store.service.plan(&raw, false)?;
    let note = ringfort_store::ChangeNote {
        author: "ringfort".to_owned(),
        comment: "first start: two extensions to try".to_owned(),
        at: time::now(),
    };
    store.service.apply(plan, &note)?;
    Ok(())
}

/// What stops a start, with what to do about it.
fn explain_start(error: StartError) -> anyhow::Error {
    let advice = match &error {
        StartError::Listen { transport, address, source } => match source.kind() {
            ErrorKind::AddrInUse => {
                let option = if *transport == Transport::Udp { "-lunp" } else { "-ltnp" };
                format!(
                    "another program listens there, perhaps another ringfort; `ss {option} 'sport = :{}'` names it. \
                     Stop it, or write other ports into {DEFAULT_CONFIG}",
                    address.port()
                )
            }
            ErrorKind::PermissionDenied => {
                "ports below 1024 need CAP_NET_BIND_SERVICE; under systemd, the unit's text says how".to_owned()
            }
            ErrorKind::AddrNotAvailable => {
                "this machine does not have that address; `ip address` lists them".to_owned()
            }
            _ => String::new(),
        },
        _ => String::new(),
    };
    let error = anyhow::Error::from(error);
    if advice.is_empty() { error } else { anyhow::anyhow!("{error}\n  {advice}") }
}

/// Streams share few ports, the first ones of the range: a call on a port that another program has is silent.
fn warn_of_taken_media_ports(config: &Config, data_dir: &Path) {
    const PROBED: u16 = 64;
    let (first, last) = config.media.ports;
    let bind = node::net_config(config, data_dir).media.bind;
    let range = first..=last.min(first.saturating_add(PROBED - 1));
    let taken = range.clone().find(|port| bind.iter().any(|ip| std::net::UdpSocket::bind((*ip, *port)).is_err()));
    if let Some(port) = taken {
        tracing::warn!(
            rule = "start",
            mend = format!("ss -lunp 'sport = :{port}' names it; or choose other [media] ports"),
            "UDP port {port} of the media range is in use by another program; calls that would use it end"
        );
    }
}

fn start_http(
    config: &Config,
    handle: &Handle,
    started: Instant,
    enforcer: Option<EnforceHandle>,
    cards: Arc<CardDesk>,
) -> anyhow::Result<Option<SocketAddr>> {
    let Some(address) = config.http else { return Ok(None) };
    let pages = handle.clone();
    let page = move |path: &str| {
        let card = cards.page(path, time::now().0 / 1000);
        card.or_else(|| metrics::page(&pages, started, enforcer.as_ref(), path))
    };
    match http::start(address, page) {
        Ok(bound) => Ok(Some(bound)),
        // The telephones matter more than the figures.
        Err(error) => {
            tracing::warn!(rule = "http", %address, %error, "no /metrics: the address cannot be used ([http] listen)");
            Ok(None)
        }
    }
}

/// `access` goes with the answer to `status`.
fn answer_with(admin: Arc<Admin>, handle: Handle, access: Value) -> impl Fn(Request) -> Answer + Send + Sync {
    move |request| match request {
        Request::Admin(request) => admin.answer(request),
        Request::Switch(command) => match handle.command(command) {
            Ok(reply) => switch_answer(reply, &handle, &access),
            Err(error) => Answer::Error(error.to_string()),
        },
    }
}

/// The object that `--json` prints, without the tag around it.
fn switch_answer(reply: CommandReply, handle: &Handle, access: &Value) -> Answer {
    Answer::Ok(match reply {
        CommandReply::Status(status) => {
            let mut value = json!(status);
            for (key, part) in access.as_object().into_iter().flatten() {
                value[key] = part.clone();
            }
            value["network"] =
                handle.stats().items().into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
            value["media"] =
                handle.media_stats().items().into_iter().map(|(name, count)| (name.to_owned(), json!(count))).collect();
            value
        }
        CommandReply::Registrations { items } => json!({ "items": items }),
        CommandReply::Calls { items } => json!({ "items": items }),
        CommandReply::Route(route) => json!(route),
        CommandReply::Trunks { items } => json!({ "items": items }),
        CommandReply::TrunkTest(trial) => json!(trial),
        CommandReply::GuardStatus(status) => json!(status),
        CommandReply::Bans { items, total } => json!({ "items": items, "total": total }),
        CommandReply::Offences { items } => json!({ "items": items }),
        CommandReply::GuardWhy(why) => json!(why),
        CommandReply::Spending { items, counts } => json!({ "items": items, "counts": counts }),
        CommandReply::Blacklist(reply) => json!(reply),
        CommandReply::Done { changed } => json!({ "changed": changed }),
        CommandReply::Refused { error } => return Answer::Error(error),
    })
}

/// Signals and the shard's end, as messages for the main thread.
fn watch(mut signals: signal_hook::iterator::Signals, handle: &Handle, wake: &Sender<Wake>) -> anyhow::Result<()> {
    let spawn = |name: &str| thread::Builder::new().name(name.to_owned()).stack_size(128 * 1024);
    let sender = wake.clone();
    spawn("signals").spawn(move || {
        for signal in signals.forever() {
            if sender.send(Wake::Signal(signal)).is_err() {
                break;
            }
        }
    })?;
    let (sender, handle) = (wake.clone(), handle.clone());
    spawn("watch").spawn(move || {
        if let Some(reason) = handle.wait(None) {
            // The main thread has gone ahead where nobody listens.
            let _ = sender.send(Wake::Stopped(reason));
        }
    })?;
    Ok(())
}

/// Waits for the end and drains.
fn serve(handle: &Handle, admin: &Admin, woken: &Receiver<Wake>, drain_for: Duration) -> ExitCode {
    let patience = loop {
        match woken.recv() {
            Ok(Wake::Signal(SIGHUP)) => match admin.answer(AdminRequest::Reload) {
                Answer::Ok(value) => tracing::info!(rule = "reload", %value, "read again"),
                Answer::Error(error) => tracing::warn!(rule = "reload", "{error}"),
            },
            Ok(Wake::Signal(SIGINT)) => break INTERRUPT_PATIENCE,
            Ok(Wake::Signal(_) | Wake::Stop) | Err(_) => break drain_for,
            Ok(Wake::Stopped(reason)) => {
                tracing::error!(?reason, "the switch is gone");
                return ExitCode::FAILURE;
            }
        }
    };
    let left = match handle.command(Command::Drain) {
        Ok(CommandReply::Done { changed }) => changed,
        Ok(_) | Err(_) => 0,
    };
    if left > 0 {
        tracing::info!(calls = left, seconds = patience.as_secs(), "no new calls; waiting for the running ones");
        if !idle_within(handle, patience, Some(woken)) {
            tracing::info!("ending the calls that are left");
            // What cannot be told any more is found out by the phones' session timers.
            let _ = handle.command(Command::HangupAll);
            idle_within(handle, BYE_PATIENCE, None);
        }
    }
    ExitCode::SUCCESS
}

/// Waits until no call is left. A further signal ends the wait.
fn idle_within(handle: &Handle, patience: Duration, woken: Option<&Receiver<Wake>>) -> bool {
    let end = clock() + patience;
    loop {
        match handle.is_idle() {
            Ok(true) | Err(_) => return true,
            Ok(false) => {}
        }
        let left = end.saturating_duration_since(clock());
        if left.is_zero() {
            return false;
        }
        let nap = left.min(Duration::from_millis(50));
        match woken.map(|woken| woken.recv_timeout(nap)) {
            Some(Ok(Wake::Signal(SIGHUP)) | Err(RecvTimeoutError::Timeout)) => {}
            Some(_) => return false,
            None => thread::sleep(nap),
        }
    }
}

/// The last round of the background work: ended calls reach the database.
fn finish(maintenance: Arc<MaintenanceHandle>) {
    maintenance.catch_up(Duration::from_secs(10));
}

fn spawn_selftest(data_dir: PathBuf) -> anyhow::Result<()> {
    thread::Builder::new().name("selftest".into()).spawn(move || {
        let say = |words: &str| {
            if let Err(error) = print(words) {
                tracing::warn!(%error, "standard output");
            }
        };
        say("\nSelf-test: two built-in phones register and one calls the other.\n");
        match selftest::run(&data_dir) {
            Ok(report) => say(&format!("{report}\n\nThe server goes on until Ctrl-C.\n")),
            Err(error) => say(&format!("The self-test could not run: {error}\n")),
        }
    })?;
    Ok(())
}

fn access(
    switch: &SwitchConfig,
    config: &Config,
    store: &Store,
    fingerprint: Option<&str>,
    http: Option<SocketAddr>,
) -> Value {
    let listeners: Vec<Value> = switch
        .listeners
        .iter()
        .map(|listener| {
            let profile = &switch.profiles[usize::from(listener.profile.0)];
            json!({
                "profile": profile.name,
                "kind": match profile.kind { ProfileKind::Internal => "internal", ProfileKind::External => "external" },
                "transport": listener.sip.transport.as_param(),
                "local": listener.sip.local,
                "advertised": listener.sip.advertised.to_string(),
            })
        })
        .collect();
    let site = store.service.site();
    let domain = site.tenants.iter().find_map(|tenant| tenant.domains.first().cloned());
    json!({
        "listeners": listeners,
        "domain": domain.or_else(|| node::domains(config).into_iter().next()),
        "fingerprint": fingerprint,
        "http": http,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn welcome(
    store: &Store,
    switch: &SwitchConfig,
    fingerprint: Option<&str>,
    http: Option<SocketAddr>,
    args: &RunArgs,
) -> String {
    let reach = |listener: &ringfort_switch::config::Listener| {
        let advertised: Option<SocketAddr> = listener.sip.advertised.to_string().parse().ok();
        (listener.sip.transport, advertised.unwrap_or(listener.sip.local))
    };
    let listeners: Vec<(Transport, SocketAddr)> = switch.listeners.iter().map(reach).collect();
    let first = store.service.site().revision <= 1;
    let show = first || std::io::IsTerminal::is_terminal(&std::io::stdout());
    let accounts: Vec<Account> = demo::EXTENSIONS
        .iter()
        .filter_map(|(number, _)| store.service.extension_show(None, number).ok())
        .map(|extension| Account {
            number: extension.number,
            user: extension.credentials.user,
            password: show.then(|| extension.credentials.password.reveal().to_owned()),
        })
        .collect();
    let data_flag = match &args.data.data {
        Some(dir) if dir != Path::new(DEFAULT_DATA) => format!(" --data {}", dir.display()),
        _ => String::new(),
    };
    demo::text(&Welcome {
        listeners: &listeners,
        accounts: &accounts,
        fingerprint,
        http,
        data_flag: &data_flag,
        lan: args.listen_lan,
    })
}

/// What the control socket can ask of this process.
struct Running {
    handle: Handle,
    access: Value,
    /// The file and what was read from it at start.
    config: Option<(PathBuf, String)>,
    /// Where its keys and certificates are.
    stir: config::Stir,
    cards: Arc<CardDesk>,
    wake: Sender<Wake>,
}

impl Process for Running {
    fn access(&self) -> Value {
        self.access.clone()
    }

    fn reload(&self) -> Result<Value, String> {
        // All is read before anything comes into force.
        let words = |error: anyhow::Error| format!("{error:#}");
        let (stir, card) =
            (stir::calls::load(&self.stir).map_err(words)?, stir::calls::card(&self.stir).map_err(words)?);
        let fingerprint = self.handle.reload_tls().map_err(|error| error.to_string())?;
        self.handle.follow_stir(stir).map_err(|error| error.to_string())?;
        self.cards.set(card);
        let mut restart = false;
        if let Some((path, before)) = &self.config {
            let config = Config::load(path).map_err(|problems| problems.to_string())?;
            restart = format!("{config:?}") != *before;
        }
        if restart {
            tracing::warn!(
                rule = "reload",
                "ringfort.toml has changed: listeners, limits and times change with a restart"
            );
        }
        Ok(json!({ "fingerprint": fingerprint, "restart_needed": restart }))
    }

    fn stop(&self) {
        // A main thread that is gone is stopping already.
        let _ = self.wake.send(Wake::Stop);
    }
}

/// The journal as the shard writes it.
struct Journal {
    writer: JournalWriter,
    lost: u64,
}

impl Journal {
    fn new(writer: JournalWriter) -> Self {
        Self { writer, lost: 0 }
    }
}

impl JournalSink for Journal {
    fn append(&mut self, record: &JournalRecord) {
        if let Err(error) = self.writer.append(record) {
            if self.lost.is_power_of_two() || self.lost == 0 {
                tracing::error!(alarm = true, lost = self.lost + 1, "{error}");
            }
            self.lost += 1;
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush().map_err(std::io::Error::other)
    }
}

#[allow(clippy::disallowed_methods, reason = "the edge of the system")]
fn clock() -> Instant {
    Instant::now()
}
