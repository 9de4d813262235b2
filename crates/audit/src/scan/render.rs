//! Helm charts and kustomizations, rendered by the user's own programs, within limits of time and output. Nothing is rendered unless
//! asked for: a kustomization may name what is fetched from elsewhere.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// A program that does not end by then is ended.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of what it complains of.
const WORDS: u64 = 4096;

/// What a folder is rendered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renderer {
    /// `helm template`
    Helm,
    /// `kustomize build`, or `kubectl kustomize` where there is no kustomize.
    Kustomize,
}

/// A folder to render.
#[derive(Debug, Clone)]
pub struct Rendering {
    /// By what.
    pub renderer: Renderer,
    /// What.
    pub folder: PathBuf,
}

impl Renderer {
    /// As it is shown behind the name of the folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Helm => "helm template",
            Self::Kustomize => "kustomize build",
        }
    }

    /// What makes a folder one of its own.
    pub(super) fn of_folder(names: &[OsString]) -> Option<Self> {
        let has = |wanted: &str| names.iter().any(|name| name == wanted);
        if has("Chart.yaml") {
            Some(Self::Helm)
        } else if ["kustomization.yaml", "kustomization.yml", "Kustomization"].iter().any(|name| has(name)) {
            Some(Self::Kustomize)
        } else {
            None
        }
    }

    fn commands(self, folder: &Path) -> Vec<(&'static str, Vec<OsString>)> {
        let folder = folder.as_os_str().to_owned();
        let words = |words: &[&str]| words.iter().map(OsString::from).chain([folder.clone()]).collect::<Vec<_>>();
        match self {
            // A folder whose name begins with a dash is a folder all the same.
            Self::Helm => vec![("helm", words(&["template", "--include-crds", "release", "--"]))],
            Self::Kustomize => vec![("kustomize", words(&["build", "--"])), ("kubectl", words(&["kustomize", "--"]))],
        }
    }
}

impl Rendering {
    /// Whether the file is something that goes into the rendering: of a chart its templates, values and charts, of a kustomization
    /// all YAML of its folder.
    pub(super) fn holds(&self, file: &Path) -> bool {
        let Ok(within) = file.strip_prefix(&self.folder) else { return false };
        let is_yaml = file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let first = within.components().next().map(|first| first.as_os_str().to_owned()).unwrap_or_default();
        match self.renderer {
            Renderer::Helm => {
                ["templates", "charts", "crds"].iter().any(|part| first == *part) || (is_yaml && first == *within)
            }
            Renderer::Kustomize => is_yaml,
        }
    }

    /// The manifests, or why there are none.
    pub(crate) fn run(&self, limit: u64) -> Result<Vec<u8>, String> {
        let commands = self.renderer.commands(&self.folder);
        for (program, arguments) in &commands {
            let mut command = Command::new(program);
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            match command.spawn() {
                Ok(child) => return finish(program, child, limit, PATIENCE),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("{program} cannot be started: {error}")),
            }
        }
        let programs = commands.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(" or ");
        Err(format!("{programs} is needed to render this and is not installed"))
    }
}

fn finish(program: &str, mut child: Child, limit: u64, patience: Duration) -> Result<Vec<u8>, String> {
    #[allow(clippy::disallowed_methods)] // The thin edge: the time is stamped here.
    let end = Instant::now() + patience;
    let out = reader(child.stdout.take(), limit + 1);
    let words = reader(child.stderr.take(), WORDS);
    let result = match out.recv_timeout(patience) {
        Ok(bytes) if bytes.len() as u64 > limit => Err(format!("{program} wrote more than {} MiB", limit >> 20)),
        Ok(bytes) => match ended(&mut child, end) {
            Some(status) if status.success() => Ok(bytes),
            Some(_) => {
                let words = words.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
                let words = String::from_utf8_lossy(&words);
                Err(format!("{program}: {}", words.split_whitespace().collect::<Vec<_>>().join(" ")))
            }
            None => Err(format!("{program} did not end within {patience:?}")),
        },
        Err(_) => Err(format!("{program} did not end within {patience:?}")),
    };
    if result.is_err() {
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
    result
}

/// Reads a pipe in a thread of its own, since its writer may never end. One byte more than may be says that there is more.
fn reader(pipe: Option<impl Read + Send + 'static>, limit: u64) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // What was read before an error is what there is.
            let _ = pipe.take(limit).read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

fn ended(child: &mut Child, end: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            #[allow(clippy::disallowed_methods)] // The thin edge: the time is stamped here.
            Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(2)),
            Ok(None) | Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: u64, patience: Duration) -> Result<String, String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("there is a shell");
        finish("sh", child, limit, patience).map(|bytes| String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn output_time_and_complaints_are_bounded() {
        let long = Duration::from_secs(30);
        assert_eq!(shell("echo a: 1", 100, long).as_deref(), Ok("a: 1\n"));
        assert_eq!(shell("echo no such chart >&2; exit 3", 100, long), Err("sh: no such chart".to_owned()));
        assert_eq!(shell("while :; do echo aaaaaaaa; done", 1 << 20, long), Err("sh wrote more than 1 MiB".to_owned()));
        let words = shell("exec sleep 600", 100, Duration::from_millis(50)).expect_err("it does not end");
        assert_eq!(words, "sh did not end within 50ms");
        let words =
            shell("exec sleep 600 >&- 2>&-", 100, Duration::from_millis(50)).expect_err("it does not end either");
        assert_eq!(words, "sh did not end within 50ms");
    }

    #[test]
    fn folders_are_known_by_what_is_in_them() {
        let of = |names: &[&str]| Renderer::of_folder(&names.iter().map(OsString::from).collect::<Vec<_>>());
        assert_eq!(of(&["values.yaml", "Chart.yaml"]), Some(Renderer::Helm));
        assert_eq!(of(&["Kustomization"]), Some(Renderer::Kustomize));
        assert_eq!(of(&["chart.yaml", "pod.yaml"]), None);
    }
}
