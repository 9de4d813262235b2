//! CIS benchmarks as a whole: kube-bench's results byte for byte, a made host from manifest to report, results in PostgreSQL.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfort_audit::cis::Choice;
use ringfort_audit::cis::controls;
use ringfort_audit::cis::host::{Host, Limits};
use ringfort_audit::cis::report::{self, ControlsReport, Format, Sections, State, Style};
use ringfort_audit::cis::runner::{Filter, Runner};
use ringfort_audit::cis::source::Source;
use ringfort_audit::command::{CisOptions, cis};

const CONTROLS: &str = include_str!("../data/cis/controls.yaml");
const KUBE_BENCH_JSON: &str = include_str!("../data/cis/kube-bench.json");
const KUBE_BENCH_XML: &str = include_str!("../data/cis/kube-bench.xml");

/// 2026-11-25T12:00:00Z
const NOW: u64 = 1_795_608_000;

fn by_engine() -> ControlsReport {
    let controls = controls::read("controls.yaml", CONTROLS).expect("good controls");
    let host = Host::new(None, NOW, Limits::default());
    let runner = Runner { host: &host, allow_shell: false, manifests: None };
    runner.run(&controls, &[], "none", &Filter::default())
}

fn written(format: Format, reports: &[ControlsReport], style: &Style) -> String {
    let mut out = Vec::new();
    report::write(format, reports, style, &mut out).expect("memory");
    String::from_utf8(out).expect("text")
}

#[test]
fn results_are_those_of_kube_bench_byte_for_byte() {
    let report = by_engine();
    let mut style = Style::default();
    style.sections.totals = false;
    let ours = written(Format::Json, std::slice::from_ref(&report), &style);
    let theirs = format!("[{}]\n", KUBE_BENCH_JSON.trim_end());
    let both = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    let results = |value: &serde_json::Value| {
        let groups = value[0]["tests"].as_array().expect("groups").clone();
        groups.iter().flat_map(|group| group["results"].as_array().expect("results").clone()).collect::<Vec<_>>()
    };
    for (our, their) in results(&both(&ours)).iter().zip(results(&both(&theirs))) {
        assert_eq!(our, &their);
    }
    assert_eq!(ours, theirs, "the order of keys and the escapes too");
    assert_eq!(written(Format::Junit, std::slice::from_ref(&report), &style), KUBE_BENCH_XML);
}

#[test]
fn with_totals_json_is_one_object() {
    let text = written(Format::Json, &[by_engine()], &Style::default());
    assert!(
        text.starts_with("{\"Controls\":[{\"id\":\"7\",\"version\":\"test-1.0\",\"detected_version\":\"none\","),
        "{text}"
    );
    assert!(
        text.ends_with("}],\"Totals\":{\"total_pass\":29,\"total_fail\":27,\"total_warn\":6,\"total_info\":2}}\n"),
        "{text}"
    );
}

#[test]
fn text_has_the_sections_that_are_wanted() {
    let report = by_engine();
    let text = written(Format::Text, std::slice::from_ref(&report), &Style::default());
    for part in [
        "[INFO] 7 Controls <of> all & every kind\n[INFO] 7.1 Comparisons\n[PASS] 7.1.1 eq\n[FAIL] 7.1.2 eq of another case\n",
        "\n\n== Remediations node ==\n7.1.2 set it\n",
        "7.4.1 Look & see <here>.\n\n",
        "7.4.4 audit test did not run: No tests defined\n",
        "== Summary node ==\n29 checks PASS\n27 checks FAIL\n6 checks WARN\n2 checks INFO\n\n== Summary total ==\n",
    ] {
        assert!(text.contains(part), "{part}\n---\n{text}");
    }
    let mut style = Style { colour: true, ..Style::default() };
    style.sections = Sections { remediations: false, summary: false, totals: false, test_output: true, results: true };
    let text = written(Format::Text, &[report], &style);
    assert!(text.contains("\u{1b}[31m[FAIL] \u{1b}[0m7.1.2 eq of another case\n\t --a=One\n"), "{text}");
    assert!(!text.contains("Summary") && !text.contains("Remediations"));
}

#[test]
fn filters_choose_checks_and_skipping_reports_them() {
    let controls = controls::read("controls.yaml", CONTROLS).expect("good controls");
    let host = Host::new(None, NOW, Limits::default());
    let runner = Runner { host: &host, allow_shell: false, manifests: None };
    let ids = |filter: Filter| {
        let report = runner.run(&controls, &[], "none", &filter);
        let checks = report.tests.into_iter().flatten().flat_map(|group| group.results);
        checks.map(|check| (check.test_number, check.status)).collect::<Vec<_>>()
    };
    let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let only = ids(Filter { checks: texts(&["7.1.1", "7.2.2"]), ..Filter::default() });
    assert_eq!(only, [("7.1.1".to_owned(), State::Pass), ("7.2.2".to_owned(), State::Fail)]);
    assert_eq!(ids(Filter { groups: texts(&["7.5"]), ..Filter::default() }), [("7.5.1".to_owned(), State::Info)]);
    let skipped =
        ids(Filter { groups: texts(&["7.1", "7.2"]), skipped: texts(&["7.1", "7.2.2"]), ..Filter::default() });
    assert!(skipped.iter().filter(|(id, _)| id.starts_with("7.1.")).all(|(_, status)| *status == State::Info));
    assert!(
        skipped.contains(&("7.2.2".to_owned(), State::Info)) && skipped.contains(&("7.2.1".to_owned(), State::Pass))
    );
    assert!(ids(Filter { scored: false, ..Filter::default() }).iter().all(|(_, status)| *status != State::Fail));
    assert_eq!(
        ids(Filter { unscored: false, ..Filter::default() }).len()
            + ids(Filter { scored: false, ..Filter::default() }).len(),
        64
    );
}

#[test]
fn what_cannot_be_run_is_told_and_a_shell_only_if_allowed() {
    let text = "id: 1\ntype: node\ngroups:\n- id: 1.1\n  checks:\n  - {id: 1.1.1, scored: true, audit: \"echo --a=$((1+1))\", tests: {test_items: [{flag: --a, compare: {op: eq, value: 2}}]}}\n  \
                - {id: 1.1.2, scored: false, audit: \"rm /nothing\", tests: {test_items: [{flag: --a}]}}\n";
    let controls = controls::read("a.yaml", text).expect("good controls");
    let host = Host::new(None, NOW, Limits::default());
    let states = |allow_shell| {
        let report =
            Runner { host: &host, allow_shell, manifests: None }.run(&controls, &[], "none", &Filter::default());
        let checks = report.tests.into_iter().flatten().flat_map(|group| group.results);
        checks.map(|check| (check.status, check.reason)).collect::<Vec<_>>()
    };
    let without = states(false);
    assert_eq!((without[0].0, without[1].0), (State::Fail, State::Warn));
    assert_eq!(without[0].1, "not run without a shell: arithmetic `$(( ))`. With --allow-shell, /bin/sh runs it");
    assert!(without[1].1.contains("the program `rm`"), "{}", without[1].1);
    let with = states(true);
    assert_eq!(with[0], (State::Pass, String::new()));
    assert!(with[1].1.contains("error: exit status 1") && with[1].1.contains("No such file"), "{}", with[1].1);
}

/// A host in a folder: what a node of kubeadm has, with settings as they should be.
pub struct Node {
    place: tempfile::TempDir,
}

impl Node {
    pub fn new() -> Self {
        let node = Self { place: tempfile::tempdir().expect("a folder") };
        let own = fs::metadata(node.root()).expect("it was made");
        // Whoever runs the tests is root of this host.
        node.file("etc/passwd", &format!("root:x:{}:0::/root:/bin/sh\n", own.uid()), 0o644);
        node.file("etc/group", &format!("root:x:{}:\n", own.gid()), 0o644);
        node.file("etc/hostname", "node-1\n", 0o644);
        for (program, pid, port) in
            [("apiserver", 11, 6443), ("controller-manager", 12, 10257), ("scheduler", 13, 10259)]
        {
            let image = format!("registry.example/kube-{program}:v1.32.1");
            let manifest = format!(
                "kind: Pod\nspec:\n  containers:\n  - image: {image}\n    ports: [{{containerPort: {port}}}]\n"
            );
            node.file(&format!("etc/kubernetes/manifests/kube-{program}.yaml"), &manifest, 0o600);
            let flags = match program {
                "apiserver" => APISERVER,
                "controller-manager" => CONTROLLER_MANAGER,
                _ => "--profiling=false --bind-address=127.0.0.1",
            };
            node.process(pid, &format!("kube-{program}"), flags, "");
        }
        node.file("etc/kubernetes/manifests/etcd.yaml", "kind: Pod\n", 0o600);
        node.process(14, "etcd", ETCD, "PATH=/bin");
        node.process(
            15,
            "kubelet",
            "--config=/var/lib/kubelet/config.yaml --client-ca-file=/etc/kubernetes/pki/ca.crt",
            "",
        );
        node.process(16, "kube-proxy", "--config=/var/lib/kube-proxy/config.conf", "");
        for name in ["admin", "super-admin", "scheduler", "controller-manager", "kubelet"] {
            node.file(&format!("etc/kubernetes/{name}.conf"), "kind: Config\n", 0o600);
        }
        node.file("etc/systemd/system/kubelet.service.d/10-kubeadm.conf", "[Service]\n", 0o600);
        node.file("etc/kubernetes/pki/ca.crt", "certificate\n", 0o644);
        node.file("etc/kubernetes/pki/ca.key", "key\n", 0o600);
        node.file("etc/kubernetes/enc.yaml", "kind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  providers:\n  - secretbox: {}\n  - identity: {}\n", 0o600);
        node.file("etc/cni/net.d/10-net.conflist", "{}\n", 0o600);
        node.file("var/lib/etcd/member/db", "", 0o600);
        node.mode("var/lib/etcd", 0o700);
        node.file("var/lib/kubelet/config.yaml", KUBELET, 0o600);
        node.file("var/lib/kube-proxy/config.conf", "metricsBindAddress: 127.0.0.1:10249\n", 0o600);
        node.file("etc/kubernetes/proxy.conf", "kind: Config\n", 0o600);
        node
    }

    pub fn root(&self) -> &Path {
        self.place.path()
    }

    pub fn file(&self, path: &str, text: &str, mode: u32) {
        let file = self.root().join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("it can be made");
        fs::write(&file, text).expect("it can be written");
        self.mode(path, mode);
    }

    pub fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.root().join(path), fs::Permissions::from_mode(mode)).expect("it is ours");
    }

    fn process(&self, pid: u32, name: &str, flags: &str, environment: &str) {
        let command = format!("/usr/bin/{name} {flags}").replace(' ', "\0");
        self.file(&format!("proc/{pid}/cmdline"), &format!("{command}\0"), 0o444);
        self.file(&format!("proc/{pid}/comm"), &format!("{}\n", &name[..name.len().min(15)]), 0o444);
        self.file(&format!("proc/{pid}/status"), &format!("Name:\t{name}\nPPid:\t1\nUid:\t0\t0\t0\t0\n"), 0o444);
        self.file(&format!("proc/{pid}/environ"), &format!("{}\0", environment.replace(' ', "\0")), 0o400);
    }

    /// What a careless hand leaves: everybody reads everything, flags as they come.
    pub fn weaken(&self) {
        for path in [
            "manifests/kube-apiserver.yaml",
            "manifests/etcd.yaml",
            "admin.conf",
            "scheduler.conf",
            "kubelet.conf",
            "pki/ca.key",
        ] {
            self.mode(&format!("etc/kubernetes/{path}"), 0o644);
        }
        self.mode("var/lib/etcd", 0o755);
        self.mode("var/lib/kubelet/config.yaml", 0o644);
        self.file("etc/kubernetes/enc.yaml", "resources:\n- providers:\n  - identity: {}\n", 0o600);
        let apiserver = "--authorization-mode=AlwaysAllow --token-auth-file=/t --enable-admission-plugins=AlwaysAdmit --disable-admission-plugins=ServiceAccount \
                         --audit-log-maxage=3 --service-account-lookup=false --encryption-provider-config=/etc/kubernetes/enc.yaml";
        self.process(11, "kube-apiserver", apiserver, "");
        self.process(
            12,
            "kube-controller-manager",
            "--bind-address=0.0.0.0 --feature-gates=RotateKubeletServerCertificate=false",
            "",
        );
        self.process(13, "kube-scheduler", "--profiling", "");
        self.process(14, "etcd", "--data-dir=/var/lib/etcd", "ETCD_AUTO_TLS=true ETCD_CERT_FILE=/p/e.crt");
        self.file("var/lib/kubelet/config.yaml", "authentication: {anonymous: {enabled: true}}\nreadOnlyPort: 10255\nmakeIPTablesUtilChains: false\n\
                   rotateCertificates: false\nfeatureGates: {RotateKubeletServerCertificate: false}\ntlsCipherSuites: [TLS_RSA_WITH_RC4_128_SHA]\n", 0o644);
        self.process(15, "kubelet", "--hostname-override=other --authorization-mode=AlwaysAllow", "");
    }

    /// Only kubelet and kube-proxy run.
    pub fn without_control_plane(&self) {
        for pid in [11, 12, 13, 14] {
            fs::remove_dir_all(self.root().join(format!("proc/{pid}"))).expect("it was there");
        }
    }

    pub fn options(&self) -> CisOptions {
        CisOptions {
            source: Source::BuiltIn { config: None },
            choice: Choice::default(),
            filter: Filter::default(),
            root: Some(self.root().to_path_buf()),
            allow_shell: false,
            limits: Limits { time: Duration::from_secs(60), ..Limits::default() },
            manifests: Vec::new(),
            cluster: None,
            tell: |_| {},
            outputs: vec![(Format::Json, None)],
            sections: Sections::default(),
            pgsql: None,
            pgsql_authorities: None,
            node: None,
            settings: |_| None,
            exit_code: 42,
            colour: false,
            now: NOW,
        }
    }

    /// Ids that did not pass, with their states; those of `manual` checks left out.
    fn open(&self, options: &CisOptions) -> Vec<String> {
        let (_, text) = run(options);
        let report: serde_json::Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        let controls = report["Controls"].as_array().expect("controls").clone();
        let groups = controls.iter().flat_map(|controls| controls["tests"].as_array().expect("groups").clone());
        let checks = groups.flat_map(|group| group["results"].as_array().expect("results").clone());
        checks
            .filter(|check| check["status"] != "PASS" && check["type"] != "manual")
            .map(|check| {
                format!("{} {}", check["status"].as_str().unwrap_or("?"), check["test_number"].as_str().unwrap_or("?"))
            })
            .collect()
    }
}

const APISERVER: &str = "--anonymous-auth=false --authorization-mode=Node,RBAC --kubelet-client-certificate=/p/a.crt \
    --kubelet-client-key=/p/a.key --kubelet-certificate-authority=/p/ca.crt --profiling=false --audit-log-path=/var/log/audit.log \
    --audit-log-maxage=30 --audit-log-maxbackup=10 --audit-log-maxsize=100 --audit-policy-file=/p/policy.yaml \
    --enable-admission-plugins=NodeRestriction,DenyServiceExternalIPs,EventRateLimit,AlwaysPullImages \
    --service-account-key-file=/p/sa.pub --service-account-extend-token-expiration=false --etcd-certfile=/p/e.crt --etcd-keyfile=/p/e.key \
    --etcd-cafile=/p/etcd-ca.crt --tls-cert-file=/p/s.crt --tls-private-key-file=/p/s.key --client-ca-file=/p/ca.crt \
    --encryption-provider-config=/etc/kubernetes/enc.yaml --tls-cipher-suites=TLS_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
const CONTROLLER_MANAGER: &str = "--terminated-pod-gc-threshold=100 --profiling=false --use-service-account-credentials=true \
    --service-account-private-key-file=/p/sa.key --root-ca-file=/p/ca.crt --bind-address=127.0.0.1";
const ETCD: &str = "--cert-file=/p/e.crt --key-file=/p/e.key --client-cert-auth=true --peer-cert-file=/p/p.crt --peer-key-file=/p/p.key \
    --peer-client-cert-auth=true --trusted-ca-file=/p/etcd-ca.crt --data-dir=/var/lib/etcd";
const KUBELET: &str = "kind: KubeletConfiguration\nauthentication:\n  anonymous: {enabled: false}\n  webhook: {enabled: true}\n  \
    x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}\nauthorization: {mode: Webhook}\nreadOnlyPort: 0\n\
    streamingConnectionIdleTimeout: 5m\nrotateCertificates: true\ntlsCertFile: /p/k.crt\ntlsPrivateKeyFile: /p/k.key\n\
    tlsCipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]\npodPidsLimit: 1024\nseccompDefault: true\neventRecordQPS: 5\n";

pub fn run(options: &CisOptions) -> (u8, String) {
    let mut out = Vec::new();
    match cis(options, &mut out) {
        Ok(code) => (code, String::from_utf8(out).expect("text")),
        Err(error) => (2, error.to_string()),
    }
}

/// No user of the test may give files to `etcd`.
const NOT_ETCDS: &str = "FAIL 1.1.12";

#[test]
fn a_hardened_host_passes_every_check_of_the_built_in_controls() {
    let node = Node::new();
    let options = node.options();
    assert_eq!(node.open(&options), [NOT_ETCDS]);
    let (code, text) = run(&options);
    assert_eq!(code, 42, "a check failed");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let controls = report["Controls"].as_array().expect("controls");
    let types: Vec<_> = controls.iter().map(|controls| controls["node_type"].as_str().expect("text")).collect();
    assert_eq!(types, ["master", "etcd", "controlplane", "node", "policies"]);
    assert_eq!(
        (&controls[0]["version"], &controls[0]["detected_version"]),
        (&"cis-1.12".into(), &"1.32".into()),
        "by the manifest"
    );
    let totals = &report["Totals"];
    assert_eq!(
        totals["total_pass"].as_u64().expect("a number") + totals["total_warn"].as_u64().expect("a number") + 1,
        131
    );
}

#[test]
fn each_weakness_of_a_host_fails_the_check_that_is_about_it() {
    type Weaken = fn(&Node);
    let cases: &[(Weaken, &[&str])] = &[
        (|node| node.mode("etc/kubernetes/manifests/kube-apiserver.yaml", 0o644), &["FAIL 1.1.1"]),
        (|node| node.mode("etc/cni/net.d/10-net.conflist", 0o644), &["WARN 1.1.9"]),
        (|node| node.mode("var/lib/etcd", 0o755), &["FAIL 1.1.11"]),
        (|node| node.mode("etc/kubernetes/super-admin.conf", 0o640), &["FAIL 1.1.13"]),
        (|node| node.mode("etc/kubernetes/pki/ca.key", 0o644), &["WARN 1.1.21"]),
        (
            |node| {
                node.process(
                    11,
                    "kube-apiserver",
                    &APISERVER.replace("Node,RBAC", "AlwaysAllow").replace("maxage=30", "maxage=3"),
                    "",
                )
            },
            &["FAIL 1.2.6", "FAIL 1.2.7", "FAIL 1.2.8", "FAIL 1.2.17"],
        ),
        (
            |node| node.file("etc/kubernetes/enc.yaml", "resources:\n- providers:\n  - identity: {}\n", 0o600),
            &["WARN 1.2.28"],
        ),
        (
            |node| node.process(12, "kube-controller-manager", &CONTROLLER_MANAGER.replace("127.0.0.1", "0.0.0.0"), ""),
            &["FAIL 1.3.7"],
        ),
        (|node| node.process(14, "etcd", &ETCD.replace(" --client-cert-auth=true", ""), "PATH=/bin"), &["FAIL 2.2"]),
        (
            |node| {
                node.process(14, "etcd", &ETCD.replace(" --client-cert-auth=true", ""), "ETCD_CLIENT_CERT_AUTH=true")
            },
            &[],
        ),
        (|node| node.process(14, "etcd", ETCD, "ETCD_AUTO_TLS=true"), &["FAIL 2.3"]),
        (
            |node| {
                node.file(
                    "var/lib/kubelet/config.yaml",
                    &KUBELET
                        .replace("anonymous: {enabled: false}", "anonymous: {enabled: true}")
                        .replace("readOnlyPort: 0", "readOnlyPort: 10255"),
                    0o600,
                )
            },
            &["FAIL 4.2.1", "WARN 4.2.4"],
        ),
        (
            |node| {
                node.file(
                    "var/lib/kubelet/config.yaml",
                    &KUBELET.replace("_GCM_SHA256]", "_GCM_SHA256, TLS_RSA_WITH_AES_128_CBC_SHA]"),
                    0o600,
                )
            },
            &["WARN 4.2.12"],
        ),
        (
            |node| node.process(15, "kubelet", "--anonymous-auth=true --client-ca-file=/etc/kubernetes/pki/ca.crt", ""),
            &["FAIL 4.2.1"],
        ),
        (
            |node| node.file("var/lib/kube-proxy/config.conf", "metricsBindAddress: 0.0.0.0:10249\n", 0o600),
            &["FAIL 4.3.1"],
        ),
    ];
    for (weaken, expected) in cases {
        let node = Node::new();
        weaken(&node);
        let open = node.open(&node.options());
        let open: Vec<_> = open.iter().map(String::as_str).filter(|open| *open != NOT_ETCDS).collect();
        assert_eq!(open, *expected);
    }
}

#[test]
fn targets_are_those_whose_components_run() {
    let node = Node::new();
    node.without_control_plane();
    let (_, text) = run(&node.options());
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let types: Vec<_> =
        report["Controls"].as_array().expect("a list").iter().map(|controls| controls["node_type"].clone()).collect();
    assert_eq!(types, ["node", "policies"], "a worker");
    let mut options = node.options();
    options.choice.targets = vec!["Worker".to_owned()];
    options.choice.version = Some("1.30".to_owned());
    assert!(run(&options).1.contains("\"node_type\":\"node\""));
}

#[test]
fn manifests_judge_policies_of_the_cluster() {
    let node = Node::new();
    let folder = node.root().join("manifests");
    fs::create_dir(&folder).expect("it can be made");
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\nspec:\n  hostPID: true\n  containers: [{name: c, image: i}]\n";
    fs::write(folder.join("pod.yaml"), pod).expect("it can be written");
    let mut options = node.options();
    options.manifests = vec![folder];
    options.choice.targets = vec!["policies".to_owned()];
    options.filter.checks = ["5.2.3", "5.2.5", "5.3.1"].map(str::to_owned).to_vec();
    let (_, text) = run(&options);
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let results = |group: usize, at: usize| report["Controls"][0]["tests"][group]["results"][at].clone();
    assert_eq!(
        (results(0, 0)["status"].as_str(), results(0, 0)["actual_value"].as_str()),
        (Some("WARN"), Some("Pod/shop/a RF-K8S-0003"))
    );
    assert_eq!(
        (results(0, 1)["status"].as_str(), results(0, 1)["expected_result"].as_str()),
        (Some("PASS"), Some("no object fails RF-K8S-0005"))
    );
    assert_eq!(results(1, 0)["reason"], "Test marked as a manual test");
    options.manifests = vec![PathBuf::from("nowhere")];
    assert!(run(&options).1.contains("nowhere: no such file"));
}

#[test]
fn users_own_folders_are_read_and_mistakes_are_told_with_their_place() {
    let node = Node::new();
    let cfg = node.root().join("cfg");
    let write = |path: &str, text: &str| {
        let file = cfg.join(path);
        fs::create_dir_all(file.parent().expect("a folder")).expect("it can be made");
        fs::write(file, text).expect("it can be written");
    };
    write(
        "config.yaml",
        "node: {components: [kubelet], kubelet: {bins: [kubelet], confs: [/nothing, /var/lib/kubelet/config.yaml]}}\n\
                          version_mapping: {'1.30': mine}\ntarget_mapping: {mine: [node]}\n",
    );
    write("mine/config.yaml", "node: {kubelet: {cafile: [/etc/kubernetes/pki/ca.crt]}}\nAWS_REGION: eu-west-1\n");
    let controls = "controls:\nversion: mine\nid: 4\ntext: Mine\ntype: node\ngroups:\n- id: 4.1\n  text: Group\n  checks:\n  - id: 4.1.1\n    text: anonymous\n    \
                    audit: ps -C $kubeletbin -o cmd=\n    audit_config: cat $kubeletconf\n    tests:\n      test_items:\n      - flag: --anonymous-auth\n        \
                    path: '{.authentication.anonymous.enabled}'\n        compare: {op: eq, value: false}\n    remediation: in $kubeletconf, $kubeletcafile\n    scored: true\n";
    write("mine/node.yaml", controls);
    let mut options = node.options();
    options.source = Source::Folder { folder: cfg.clone(), config: None };
    options.choice.benchmark = Some("mine".to_owned());
    let (code, text) = run(&options);
    assert_eq!(code, 0, "{text}");
    assert!(
        text.contains("\"audit\":\"ps -C kubelet -o cmd=\"")
            && text.contains("in /var/lib/kubelet/config.yaml, /etc/kubernetes/pki/ca.crt"),
        "{text}"
    );

    for (from, to, words) in [
        ("op: eq", "op: equals", "node.yaml:18:23: `op: equals`: one of eq, noteq"),
        ("- flag: --anonymous-auth", "- flag: '(--a'", "no regular expression"),
        ("'{.authentication.anonymous.enabled}'", "'{.a'", "a path that does not end"),
        ("scored: true", "scored: maybe", "true or false is expected"),
        ("type: node", "type: master", "`type: master`: `node` is expected"),
        ("      test_items:", "      bin_op: xor\n      test_items:", "`bin_op: xor`: and or or is expected"),
        ("checks:\n", "checks: [\n", "node.yaml:"),
    ] {
        assert!(controls.contains(from), "{from}");
        write("mine/node.yaml", &controls.replace(from, to));
        let (code, text) = run(&options);
        assert!(code == 2 && text.contains(words), "{words}\n{text}");
    }
    write("mine/node.yaml", controls);
    let mut asff = options.clone();
    asff.outputs = vec![(Format::Asff, None)];
    assert!(run(&asff).1.contains("ASFF needs AWS_ACCOUNT: set it in config.yaml, or KUBE_BENCH_AWS_ACCOUNT"));
    options.choice.benchmark = Some("other".to_owned());
    assert!(run(&options).1.contains("`target_mapping` has no benchmark `other`; there are: mine"));
    options.choice = Choice { version: Some("1.20".to_owned()), ..Choice::default() };
    assert!(run(&options).1.contains("`version_mapping` has no benchmark for Kubernetes 1.20"));
    options.choice = Choice { version: Some("1.31".to_owned()), targets: vec!["etcd".to_owned()], ..Choice::default() };
    assert!(run(&options).1.contains("the benchmark `mine` has no target `etcd`; there are: node"));
}

#[test]
fn contradictions_are_refused() {
    let node = Node::new();
    let with = |change: fn(&mut CisOptions)| {
        let mut options = node.options();
        change(&mut options);
        run(&options)
    };
    for (change, words) in [
        ((|options| options.allow_shell = true) as fn(&mut CisOptions), "leave one out"),
        (|options| options.outputs = vec![(Format::Json, None), (Format::Text, None)], "only one format"),
        (
            |options| (options.filter.checks, options.filter.groups) = (vec!["1".to_owned()], vec!["1".to_owned()]),
            "--check and --group",
        ),
        (|options| options.filter.checks = vec!["9.9.9".to_owned()], "no check was run"),
        (|options| options.root = Some(PathBuf::from("/nowhere-at-all")), "a folder is expected"),
        (|options| options.choice.benchmark = Some("../x".to_owned()), "`target_mapping` has no benchmark"),
    ] {
        let (code, text) = with(change);
        assert!(code == 2 && text.contains(words), "{words}: {text}");
    }
    fs::remove_file(node.root().join("etc/kubernetes/manifests/kube-apiserver.yaml")).expect("it was there");
    assert!(run(&node.options()).1.contains("say --version or --benchmark"));
}

#[test]
fn findings_for_security_hub_have_what_it_wants() {
    let node = Node::new();
    node.mode("etc/kubernetes/manifests/kube-apiserver.yaml", 0o644);
    let mut options = node.options();
    options.outputs = vec![(Format::Asff, None)];
    options.filter.checks = vec!["1.1.1".to_owned(), "1.1.2".to_owned()];
    options.settings = |name| match name {
        "AWS_ACCOUNT" => Some("123456789012".to_owned()),
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "CLUSTER_ARN" => Some("arn:aws:eks:eu-west-1:123456789012:cluster/c".to_owned()),
        _ => None,
    };
    let (code, text) = run(&options);
    assert_eq!(code, 42);
    let findings: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(findings.as_array().expect("a list").len(), 1, "what passed is no finding");
    let finding = &findings[0];
    for (key, value) in [
        ("SchemaVersion", "2018-10-08"),
        ("AwsAccountId", "123456789012"),
        ("ProductArn", "arn:aws:securityhub:eu-west-1::product/aqua-security/kube-bench"),
        (
            "GeneratorId",
            "arn:aws:securityhub:eu-west-1::product/aqua-security/kube-bench/cis-kubernetes-benchmark/cis-1.12/1.1.1",
        ),
        ("CreatedAt", "2026-11-25T12:00:00Z"),
    ] {
        assert_eq!(finding[key], value, "{key}");
    }
    assert_eq!(finding["ProductFields"]["Actual result"], "permissions=644");
    assert_eq!(finding["Severity"]["Label"], "HIGH");
    let required = ["Id", "Types", "UpdatedAt", "Title", "Description", "Resources"];
    assert!(required.iter().all(|key| !finding[*key].is_null()));
}
