//! Which version of Kubernetes, and whose, runs here: asked of `kubectl` or `kubelet`, or read from the API server's manifest.

use super::host::Host;
use crate::model::{self, Limits, Syntax};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    /// `1.31`
    pub version: String,
    /// The whole version, with what a distribution adds: `v1.31.2-eks-7f9249a`.
    pub full: String,
}

/// Versions (minor) from and to, both included, and their benchmark.
type Versions = &'static [(u32, u32, &'static str)];

/// Distributions with the benchmarks of versions, and the benchmark of all other versions.
const DISTRIBUTIONS: &[(&str, Versions, &str)] = &[
    ("eks", &[(15, 19, "eks-1.0.1"), (29, 31, "eks-1.7.0"), (32, 34, "eks-1.8.0")], "eks-1.5.0"),
    ("aks", &[(19, 24, "aks-1.0"), (29, 31, "aks-1.7")], "aks-1.8"),
    ("gke", &[(15, 19, "gke-1.0"), (20, 27, "gke-1.2.0"), (28, 29, "gke-1.6.0"), (30, 30, "gke-1.8.0")], "gke-1.9.0"),
    (
        "k3s",
        &[(22, 23, "k3s-cis-1.23"), (24, 24, "k3s-cis-1.24"), (25, 25, "k3s-cis-1.7"), (26, 26, "k3s-cis-1.8")],
        "k3s-cis-1.9",
    ),
    ("rke2", &[(23, 23, "rke2-cis-1.23"), (24, 24, "rke2-cis-1.24"), (25, 25, "rke2-cis-1.7")], "rke2-cis-1.8"),
    ("rancher", &[(23, 23, "rke-cis-1.23"), (24, 24, "rke-cis-1.24")], "rke-cis-1.7"),
    ("aliyun", &[], "ack-1.0"),
    ("vmware", &[], "tkgi-1.2.53"),
];

const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

impl Detected {
    /// Reads `v1.31.2-eks-7f9249a`, with or without the `v`.
    pub fn read(full: &str) -> Option<Self> {
        let mut parts = full.trim().trim_start_matches('v').split('.');
        let (major, minor) = (parts.next()?, parts.next()?);
        let minor: String = minor.chars().take_while(char::is_ascii_digit).collect();
        let numbers = !major.is_empty() && major.bytes().all(|byte| byte.is_ascii_digit()) && !minor.is_empty();
        numbers.then(|| Self { version: format!("{major}.{minor}"), full: full.trim().to_owned() })
    }

    /// The benchmark of the distribution, if it is a known one.
    pub fn benchmark(&self) -> Option<&'static str> {
        let (_, added) = self.full.split_once(['-', '+'])?;
        let (_, versions, others) = DISTRIBUTIONS.iter().find(|(name, ..)| added.starts_with(name))?;
        let minor: u32 = self.version.split('.').nth(1)?.parse().ok()?;
        let found = versions.iter().find(|(from, to, _)| (*from..=*to).contains(&minor));
        Some(found.map_or(*others, |(.., benchmark)| *benchmark))
    }
}

/// Finds it out; `None` where nobody knows.
pub fn detect(host: &Host) -> Option<Detected> {
    if host.is_live() {
        let ask = |program: &str, arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let finished = host.start(program, &arguments, Vec::new(), host.deadline()).ok()?;
            Some(String::from_utf8_lossy(&finished.out).into_owned())
        };
        let found =
            ask("kubectl", &["version", "-o", "json", "--request-timeout=10s"]).and_then(|text| of_kubectl(&text));
        if found.is_some() {
            return found;
        }
        let found =
            ask("kubelet", &["--version"]).and_then(|text| Detected::read(text.trim().strip_prefix("Kubernetes ")?));
        if found.is_some() {
            return found;
        }
    }
    of_manifest(&String::from_utf8_lossy(&host.read(MANIFEST).ok()?))
}

fn of_kubectl(text: &str) -> Option<Detected> {
    let version: serde_json::Value = serde_json::from_str(text).ok()?;
    Detected::read(version.get("serverVersion")?.get("gitVersion")?.as_str()?)
}

/// By the tag of the image that the manifest runs.
fn of_manifest(text: &str) -> Option<Detected> {
    let mut found = None;
    // A manifest that is no YAML says nothing.
    let _ = model::read(text, Syntax::Yaml, &Limits::default(), &mut |document| {
        let containers = document.root().and_then(|root| document.follow(root, &["spec", "containers"]));
        for container in containers.map(|list| document.items(list)).unwrap_or_default() {
            let image = document.str_at(*container, &["image"]).unwrap_or_default();
            let image = image.split('@').next().unwrap_or_default();
            if let Some((name, tag)) = image.rsplit_once(':')
                && name.ends_with("kube-apiserver")
            {
                found = found.take().or_else(|| Detected::read(tag));
            }
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_distributions_are_told_apart() {
        for (full, version, benchmark) in [
            ("v1.31.2", "1.31", None),
            ("1.30", "1.30", None),
            ("v1.27.3+", "1.27", None),
            ("v1.30.4-eks-a737599", "1.30", Some("eks-1.7.0")),
            ("v1.27.3-eks-a5565ad", "1.27", Some("eks-1.5.0")),
            ("v1.30.5-gke.1014001", "1.30", Some("gke-1.8.0")),
            ("v1.27.4+k3s1", "1.27", Some("k3s-cis-1.9")),
            ("v1.26.8+rke2r1", "1.26", Some("rke2-cis-1.8")),
            ("v1.24.10-rancher4-1", "1.24", Some("rke-cis-1.24")),
            ("v1.22.3-aliyun.1", "1.22", Some("ack-1.0")),
        ] {
            let found = Detected::read(full).expect("a version");
            assert_eq!((found.version.as_str(), found.benchmark()), (version, benchmark), "{full}");
        }
        assert_eq!(Detected::read("latest"), None);
        assert_eq!(Detected::read("v1"), None);
    }

    #[test]
    fn answers_and_manifests_are_read() {
        let answer = r#"{"clientVersion": {"gitVersion": "v1.33.0"}, "serverVersion": {"major": "1", "minor": "31+", "gitVersion": "v1.31.7"}}"#;
        assert_eq!(of_kubectl(answer).expect("a version").version, "1.31");
        assert_eq!(
            of_kubectl(r#"{"clientVersion": {"gitVersion": "v1.33.0"}}"#),
            None,
            "the client's is not the cluster's"
        );
        let manifest =
            "kind: Pod\nspec:\n  containers:\n  - image: registry.example:5000/kube-apiserver:v1.32.1@sha256:00\n";
        assert_eq!(of_manifest(manifest).expect("a version").version, "1.32");
        assert_eq!(of_manifest("{"), None);
    }
}
