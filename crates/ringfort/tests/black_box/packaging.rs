//! What is packed says what is true: the unit, the container file and the list of files name things that exist.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::support::{PROGRAM, text};

/// Worse than this on systemd's scale (0 is best, 10 worst) would be a step back.
const EXPOSURE: &str = "15";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Where the package puts files: (from, to).
fn assets() -> Vec<(String, String)> {
    let manifest: toml::Table = read("crates/ringfort/Cargo.toml").parse().unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let word = |entry: &toml::Value, at: usize| entry[at].as_str().unwrap().to_owned();
    assets.iter().map(|entry| (word(entry, 0), word(entry, 1))).collect()
}

/// `systemd-analyze`, where it is installed.
fn systemd_analyze(arguments: &[&str], unit: &Path) -> Option<Output> {
    match Command::new("systemd-analyze").args(arguments).arg(unit).output() {
        Ok(output) => Some(output),
        Err(error) => {
            println!("skipped: systemd-analyze: {error}");
            None
        }
    }
}

#[test]
fn the_packed_configuration_is_valid() {
    let config = root().join("packaging/ringfort.toml");
    let output = Command::new(PROGRAM).args(["check", "--config"]).arg(config).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn every_packed_file_exists_or_is_made_by_make_deb() {
    for (from, _) in assets() {
        match from.strip_prefix("target/release/") {
            Some("ringfort") => {}
            Some(made) => assert!(read("Makefile").contains(made.rsplit('/').next().unwrap()), "nothing makes {from}"),
            None => assert!(root().join("crates/ringfort").join(&from).is_file(), "there is no {from}"),
        }
    }
}

#[test]
fn the_unit_starts_what_the_package_installs() {
    let unit = read("packaging/ringfort.service");
    let installed: Vec<String> = assets()
        .into_iter()
        .map(|(from, to)| match to.strip_suffix('/') {
            Some(folder) => format!("/{folder}/{}", from.rsplit('/').next().unwrap()),
            None => format!("/{to}"),
        })
        .collect();
    let mut commands = 0;
    for line in unit.lines().filter(|line| line.starts_with("Exec")) {
        commands += 1;
        let (_, command) = line.split_once('=').unwrap();
        let paths = command.split(' ').filter(|word| word.starts_with('/') && !word.starts_with("/var/lib/ringfort"));
        for path in paths {
            assert!(installed.iter().any(|file| file == path), "{line}: {path} is not installed");
        }
        // The words are understood; `--help` ends before anything is done.
        let words: Vec<&str> = command.split(' ').skip(1).filter(|word| !word.starts_with('/')).collect();
        let words = words.iter().filter(|word| !word.starts_with("--")).chain([&"--help"]);
        let help = Command::new(PROGRAM).args(words).output().unwrap();
        let help = text(&help.stdout);
        for option in command.split(' ').filter(|word| word.starts_with("--")) {
            assert!(help.contains(option), "{line}: {option} is not an option of\n{help}");
        }
    }
    assert_eq!(commands, 3, "check, run and reload");
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    // On this machine the program is where cargo put it.
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("ringfort.service");
    let here = read("packaging/ringfort.service").replace("/usr/bin/ringfort", PROGRAM);
    let here: Vec<&str> = here.lines().filter(|line| !line.starts_with("Documentation=")).collect();
    std::fs::write(&unit, here.join("\n")).unwrap();
    let Some(output) = systemd_analyze(&["verify"], &unit) else { return };
    let said = text(&output.stderr);
    let about_it: Vec<&str> = said.lines().filter(|line| line.contains("ringfort.service")).collect();
    assert!(output.status.success() && about_it.is_empty(), "{said}");
}

#[test]
fn the_unit_leaves_the_service_little_to_do_harm_with() {
    let unit = root().join("packaging/ringfort.service");
    let Some(output) = systemd_analyze(&["security", "--offline=true", "--threshold", EXPOSURE], &unit) else { return };
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn the_container_file_copies_what_there_is_and_runs_what_is_understood() {
    let file = read("packaging/Containerfile");
    for line in file.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from=")) {
        let from = line.split(' ').nth(1).unwrap();
        assert!(root().join(from).exists(), "{line}");
    }
    for line in file.lines().filter(|line| line.contains("CMD [") || line.starts_with("ENTRYPOINT [")) {
        let list = &line[line.find('[').unwrap()..];
        let words: Vec<String> = serde_json::from_str(list).unwrap();
        let words = words.iter().filter(|word| *word != "ringfort" && !word.starts_with('/'));
        let output =
            Command::new(PROGRAM).args(words.filter(|word| !word.starts_with("--"))).arg("--help").output().unwrap();
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
    }
    let rust = read("Cargo.toml");
    let rust = rust.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap().trim_end_matches('"');
    assert!(file.contains(&format!("/rust:{rust}-")), "the container file builds with Rust {rust}");
}
