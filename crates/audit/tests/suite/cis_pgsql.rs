//! Results in a real PostgreSQL server, which the test starts on loopback: with a password, and over TLS.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringfort_audit::command::{CisOptions, cis};

use crate::cis::Node;

/// Where Debian puts the server's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> =
        versions.map(|version| version.path().join("bin")).filter(|folder| folder.join("initdb").exists()).collect();
    folders.sort();
    let required = std::env::var("RINGFORT_TEST_PROGRAMS").is_ok_and(|value| value == "required");
    assert!(!folders.is_empty() || !required, "postgresql is not installed, and RINGFORT_TEST_PROGRAMS=required");
    if folders.is_empty() {
        println!("skipped: postgresql is not installed");
    }
    folders.pop()
}

/// An authority, its certificate in a file.
fn authority(file: &Path) -> rcgen::Issuer<'static, rcgen::KeyPair> {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "Test CA");
    let key = rcgen::KeyPair::generate().expect("a key");
    fs::write(file, params.self_signed(&key).expect("a certificate").pem()).expect("it can be written");
    rcgen::Issuer::new(params, key)
}

struct Server {
    child: Child,
    place: tempfile::TempDir,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The server refuses to be root; its package has a user for it.
fn command(program: &Path) -> Command {
    let root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups"]).arg(program);
    command
}

fn done(command: &mut Command) {
    let output = command.output().expect("it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Server {
    fn start(programs: &Path) -> Self {
        let place = tempfile::Builder::new().prefix("ringfort-pgsql").tempdir().expect("a folder");
        let own = |path: &Path| {
            let passwd = fs::read_to_string("/etc/passwd").expect("it is there");
            let ids = passwd.lines().find_map(|line| line.strip_prefix("postgres:x:")).unwrap_or("0:0:");
            let mut ids = ids.split(':').map(|id| id.parse::<u32>().ok());
            // Only root can, and only root has to.
            let _ = chown(path, ids.next().flatten(), ids.next().flatten());
        };
        own(place.path());
        let password = place.path().join("password");
        fs::write(&password, "not secret\n").expect("it can be written");
        own(&password);
        let data = place.path().join("data");
        done(
            command(&programs.join("initdb"))
                .args(["--auth=scram-sha-256", "--username=kube", "--no-sync", "--pwfile"])
                .arg(&password)
                .arg("--pgdata")
                .arg(&data),
        );
        let file = |name: &str| place.path().join(name);
        let issuer = authority(&file("authority"));
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = certificate.signed_by(&key, &issuer).expect("a certificate");
        for (name, text, mode) in [("certificate", certificate.pem(), 0o644), ("key", key.serialize_pem(), 0o600)] {
            fs::write(file(name), text).expect("it can be written");
            fs::set_permissions(file(name), fs::Permissions::from_mode(mode)).expect("it is ours");
            own(&file(name));
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", file("certificate").display()),
            format!("ssl_key_file={}", file("key").display()),
            "fsync=off".to_owned(),
        ];
        let mut server = command(&programs.join("postgres"));
        server.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        settings.iter().for_each(|setting| {
            server.args(["-c", setting]);
        });
        let child = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it can be started");
        let server = Self { child, place, port };
        // A minute at most.
        for _ in 0..600 {
            if server.query("select 1").is_some() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("the server does not answer");
    }

    fn address(&self, host: &str, rest: &str) -> String {
        format!("postgresql://kube:not%20secret@{host}:{}/postgres{rest}", self.port)
    }

    /// What `psql` says; `None` where it cannot ask.
    fn query(&self, query: &str) -> Option<String> {
        let output =
            Command::new("psql").args([&self.address("127.0.0.1", ""), "-At", "-c", query]).output().expect("psql");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

fn stored(options: &CisOptions) -> Result<String, String> {
    let mut out = Vec::new();
    cis(options, &mut out).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out).expect("text"))
}

#[test]
fn results_are_rows_as_kube_bench_stores_them() {
    let Some(programs) = programs() else { return };
    let server = Server::start(&programs);
    let node = Node::new();
    let mut options = node.options();
    options.outputs = Vec::new();
    options.pgsql = Some(server.address("127.0.0.1", "?sslmode=disable"));
    assert_eq!(stored(&options).as_deref(), Ok(""), "results go to the server alone");
    let query = "select scan_host, scan_time at time zone 'UTC', scan_info->>'node_type', scan_info->'total_fail' from scan_results order by id";
    let rows = server.query(query).expect("it answers");
    let time = "2026-11-25 12:00:00";
    let expected = [("master", 1), ("etcd", 0), ("controlplane", 0), ("node", 0), ("policies", 0)]
        .map(|(target, failed)| format!("node-1|{time}|{target}|{failed}"));
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    let columns = "select string_agg(column_name || ' ' || data_type, ',' order by ordinal_position) from information_schema.columns where table_name = 'scan_results'";
    assert_eq!(
        server.query(columns).as_deref(),
        Some(
            "id bigint,created_at timestamp with time zone,updated_at timestamp with time zone,deleted_at timestamp with time zone,\
             scan_host character varying,scan_time timestamp with time zone,scan_info jsonb"
        )
    );

    // Over TLS, with the server's certificate checked; the table is there already.
    options.pgsql = Some(server.address("localhost", "?sslmode=require&hostaddr=127.0.0.1"));
    options.pgsql_authorities = Some(server.place.path().join("authority"));
    options.node = Some("x".repeat(80));
    options.choice.targets = vec!["etcd".to_owned()];
    assert_eq!(stored(&options).as_deref(), Ok(""));
    assert_eq!(
        server.query("select length(scan_host) from scan_results order by id desc limit 1").as_deref(),
        Some("63")
    );
    options.pgsql_authorities = None;
    assert!(
        stored(&options).is_err_and(|why| why.contains("certificate") && !why.contains("not secret")),
        "nobody knows its authority"
    );
    options.pgsql = Some(server.address("127.0.0.1", "?sslmode=disable").replace("not%20secret", "wrong"));
    assert!(
        stored(&options)
            .is_err_and(|why| why.starts_with("PostgreSQL: ") && why.contains("password authentication failed"))
    );
    options.pgsql = Some("nonsense".to_owned());
    assert!(stored(&options).is_err_and(|why| why.starts_with("the address of PostgreSQL")));
    assert_eq!(server.query("select count(*) from scan_results").as_deref(), Some("6"), "what failed left nothing");
}
