//! `ringfort audit serve`: arguments to a site; everything else is in the crate `ringfort-audit`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use ringfort_audit::command::{self, COULD_NOT_RUN, Options, View};
use ringfort_audit::model::Limits;
use ringfort_audit::serve::kubesec::KubesecSite;
use ringfort_audit::serve::rescan::{self, Pace, Rescan};
use ringfort_audit::serve::scanned::{ScannedSite, Shown};
use ringfort_audit::serve::{ServeOptions, Server, Site, TlsFiles, signalled};
use ringfort_audit::view::kccss::RuleSet;

use super::audit::{ClusterArgs, seconds, today};
use crate::config::value::duration;

/// A cluster that changes all the time is scanned again after so long.
const REST: Duration = Duration::from_secs(10);

/// Arguments of `ringfort audit serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// What is served
    #[arg(long, value_enum)]
    view: ServedView,
    /// Files and folders to scan; not with --view kubesec, which is sent what it scores
    paths: Vec<PathBuf>,
    #[command(flatten)]
    cluster: ClusterArgs,
    /// Scan again as well whenever something changes in the cluster
    #[arg(long, requires = "cluster")]
    watch: bool,
    /// How long until files or cluster are scanned again
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    every: Duration,
    /// Address and port; without it the view's own port on 127.0.0.1
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Certificate chain in PEM: serve HTTPS; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The largest request, in KiB
    #[arg(long, value_name = "KIB", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    max_body: u32,
    /// Connections at once
    #[arg(long, value_name = "COUNT", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..))]
    max_connections: u16,
    /// With --view kubesec: the webhook at /admit refuses objects that score less
    #[arg(long, value_name = "POINTS", default_value_t = 0, allow_negative_numbers = true)]
    min_score: i64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ServedView {
    /// POST / and /scan score manifests, POST /admit is an admission webhook; port 8080
    Kubesec,
    /// A page with the risk of each workload by the rules of KCCSS, and kube-scan's API; port 8080
    Kccss,
    /// The same by the rules of kube-scan
    KubeScan,
    /// A page with controls passed and failed; port 8000
    Mkit,
}

/// Serves until SIGTERM or SIGINT. What cannot run is said on standard error, with exit code 2.
pub fn serve(args: ServeArgs) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(words) => {
            eprintln!("ringfort: {words}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn run(args: ServeArgs) -> Result<(), String> {
    let port = match args.view {
        ServedView::Kubesec | ServedView::Kccss | ServedView::KubeScan => 8080,
        ServedView::Mkit => 8000,
    };
    let mut options = ServeOptions::new(args.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port))));
    options.tls = args.tls_cert.zip(args.tls_key).map(|(certificate, key)| TlsFiles { certificate, key });
    options.body_bytes = args.max_body as usize * 1024;
    options.connections = usize::from(args.max_connections);
    let scanned = match args.view {
        ServedView::Kubesec => None,
        ServedView::Kccss => Some((View::Kccss(RuleSet::Kccss), Shown::Risks)),
        ServedView::KubeScan => Some((View::Kccss(RuleSet::KubeScan), Shown::Risks)),
        ServedView::Mkit => Some((View::Mkit, Shown::Controls)),
    };
    let mut scan = Options::new(args.paths, today());
    scan.cluster = args.cluster.options();
    let watched = scan.cluster.clone().filter(|_| args.watch);
    let nothing = scan.paths.is_empty() && scan.cluster.is_none();
    match scanned {
        None if !nothing => {
            return Err("--view kubesec scores what it is sent; leave out files and --cluster".to_owned());
        }
        Some(_) if nothing => return Err("say what to scan: files, folders or --cluster".to_owned()),
        Some(_) if scan.paths.iter().any(|path| path == Path::new("-")) => {
            return Err("standard input cannot be scanned again; name files or folders".to_owned());
        }
        _ => {}
    }
    // The address first: what cannot listen need not scan.
    let server = Server::bind(options).map_err(|error| error.to_string())?;
    eprintln!("ringfort: listening on {}", server.url());
    let site: Arc<dyn Site> = match scanned {
        None => Arc::new(KubesecSite::new(args.min_score, Limits::default())),
        Some((view, shown)) => {
            scan.view = Some(view);
            scan.tell = |line| eprintln!("ringfort: {line}");
            let scan = move || {
                let mut scan = scan.clone();
                scan.today = today();
                let mut out = Vec::new();
                command::run(&scan, &mut std::io::empty(), &mut out).map_err(|error| error.to_string())?;
                Ok(out)
            };
            let rescan = Rescan::start(scan, Pace { least: REST, most: args.every }, seconds);
            if let Some(cluster) = watched {
                rescan::follow(&rescan, cluster, |line| eprintln!("ringfort: {line}"));
            }
            Arc::new(ScannedSite::new(shown, rescan))
        }
    };
    server.run(site, signalled(), |line| eprintln!("ringfort: {line}")).map_err(|error| error.to_string())
}
