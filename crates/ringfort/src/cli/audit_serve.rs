//! `ringfort audit serve`: arguments to a site; everything else is in the crate `ringfort-audit`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use ringfort_audit::command::COULD_NOT_RUN;
use ringfort_audit::model::Limits;
use ringfort_audit::serve::kubesec::KubesecSite;
use ringfort_audit::serve::{ServeError, ServeOptions, Server, Site, TlsFiles, signalled};

/// Arguments of `ringfort audit serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// What is served
    #[arg(long, value_enum)]
    view: ServedView,
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
}

/// Serves until SIGTERM or SIGINT. What cannot run is said on standard error, with exit code 2.
pub fn serve(args: ServeArgs) -> ExitCode {
    let port = match args.view {
        ServedView::Kubesec => 8080,
    };
    let mut options = ServeOptions::new(args.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port))));
    options.tls = args.tls_cert.zip(args.tls_key).map(|(certificate, key)| TlsFiles { certificate, key });
    options.body_bytes = args.max_body as usize * 1024;
    options.connections = usize::from(args.max_connections);
    let site: Arc<dyn Site> = match args.view {
        ServedView::Kubesec => Arc::new(KubesecSite::new(args.min_score, Limits::default())),
    };
    match run(options, site) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringfort: {error}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn run(options: ServeOptions, site: Arc<dyn Site>) -> Result<(), ServeError> {
    let server = Server::bind(options)?;
    eprintln!("ringfort: listening on {}", server.url());
    server.run(site, signalled(), |line| eprintln!("ringfort: {line}"))
}
