//! Finds the files to scan: files, folders, standard input, with globs to include and exclude.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::render::{Renderer, Rendering};
use crate::pipeline;

/// Something to scan, or to say in the ledger why not.
#[derive(Debug)]
pub struct Input {
    /// As it is shown: the path as given, with `/`.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
}

/// Where an input comes from.
#[derive(Debug)]
pub enum Source {
    /// A file that is read when its turn comes.
    File(PathBuf),
    /// Bytes at hand: standard input, tests.
    Bytes(Vec<u8>),
    /// A folder that is rendered when its turn comes.
    Rendered(Rendering),
    /// Not to be scanned, and why.
    Skipped(String),
    /// It should be scanned and cannot be.
    Unreadable(String),
}

/// Which files of a folder are scanned.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Globs; where there are any, only files that one of them fits.
    pub include: Vec<String>,
    /// Globs of files and folders that are left out.
    pub exclude: Vec<String>,
    /// Have Helm charts and kustomizations rendered, instead of reading their parts.
    pub render: bool,
}

/// Folders that hold other people's files.
const NEVER: [&str; 4] = [".git", "node_modules", ".terraform", ".venv"];

/// The file with one glob a line to leave out, in the folder that is scanned.
pub const IGNORE_FILE: &str = ".ringfortignore";

/// The files below `paths` in a stable order. A path that is not there is an input that cannot be read.
pub fn find(paths: &[PathBuf], selection: &Selection) -> Vec<Input> {
    let mut inputs = Vec::new();
    for path in paths {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                let mut selection = selection.clone();
                selection.exclude.extend(ignore_file(path));
                walk(path, path, &selection, &mut inputs);
            }
            Ok(_) => inputs.push(Input { name: shown(path), source: Source::File(path.clone()) }),
            Err(error) => inputs.push(Input { name: shown(path), source: Source::Unreadable(because(&error)) }),
        }
    }
    inputs
}

fn because(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

fn ignore_file(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join(IGNORE_FILE)).unwrap_or_default();
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn walk(root: &Path, top: &Path, selection: &Selection, inputs: &mut Vec<Input>) {
    let mut waiting = vec![top.to_path_buf()];
    // Folders that are rendered: what they consist of is not read besides.
    let mut rendered: Vec<Rendering> = Vec::new();
    while let Some(path) = waiting.pop() {
        let relative = shown(path.strip_prefix(root).unwrap_or(&path));
        let mut skip = |reason: String| inputs.push(Input { name: shown(&path), source: Source::Skipped(reason) });
        if let Some(glob) = selection.exclude.iter().find(|glob| path != root && fits(glob, &relative)) {
            skip(format!("left out by `{glob}`"));
            continue;
        }
        let kind = match fs::symlink_metadata(&path) {
            Ok(meta) => meta.file_type(),
            Err(error) => {
                inputs.push(Input { name: shown(&path), source: Source::Unreadable(because(&error)) });
                continue;
            }
        };
        let links_to_folder = kind.is_symlink() && fs::metadata(&path).is_ok_and(|meta| meta.is_dir());
        if links_to_folder && path != root {
            skip("a link to a folder".to_owned());
        } else if kind.is_dir() || links_to_folder {
            if path != root && path.file_name().is_some_and(|name| NEVER.iter().any(|never| name == *never)) {
                skip("a folder of tools, not scanned unless named".to_owned());
                continue;
            }
            match fs::read_dir(&path) {
                Ok(entries) => {
                    let mut children: Vec<_> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
                    if let Some(rendering) = rendering(&path, &children, selection, &rendered) {
                        let name = format!("{} ({})", shown(&path), rendering.renderer.name());
                        inputs.push(Input { name, source: Source::Rendered(rendering.clone()) });
                        rendered.push(rendering);
                    }
                    children.sort_unstable_by(|a, b| b.cmp(a));
                    waiting.extend(children);
                }
                Err(error) => inputs.push(Input { name: shown(&path), source: Source::Unreadable(because(&error)) }),
            }
        } else if let Some(whole) = rendered.iter().rev().find(|whole| whole.holds(&path)) {
            skip(format!("a part of {}, which is rendered", shown(&whole.folder)));
        } else if !selection.include.is_empty() {
            if selection.include.iter().any(|glob| fits(glob, &relative)) {
                inputs.push(Input { name: shown(&path), source: Source::File(path) });
            } else {
                skip("not among the files to include".to_owned());
            }
        } else if path.extension().is_some_and(|extension| {
            ["yaml", "yml", "json", "tf", "tofu", "tfvars"].iter().any(|known| extension == *known)
        }) || pipeline::is_dockerfile(&relative)
        {
            inputs.push(Input { name: shown(&path), source: Source::File(path) });
        } else {
            skip("not a kind of file that is read (.yaml, .yml, .json, .tf, .tofu, .tfvars, Dockerfile)".to_owned());
        }
    }
}

/// How the folder is rendered, where that is asked for and it is one. A chart within a chart belongs to it.
fn rendering(folder: &Path, children: &[PathBuf], selection: &Selection, rendered: &[Rendering]) -> Option<Rendering> {
    let names: Vec<_> = children.iter().filter_map(|child| child.file_name().map(ToOwned::to_owned)).collect();
    let renderer = selection.render.then(|| Renderer::of_folder(&names)).flatten()?;
    let within = rendered.iter().any(|whole| whole.holds(&folder.join("Chart.yaml")));
    (renderer == Renderer::Kustomize || !within).then(|| Rendering { renderer, folder: folder.to_owned() })
}

fn shown(path: &Path) -> String {
    path.display().to_string().replace('\\', "/")
}

/// Whether a glob fits a path: `*` within a segment, `**` across them, `?` one character. A glob without `/` fits the last
/// segment; one that fits a folder fits what is below.
pub fn fits(glob: &str, path: &str) -> bool {
    let glob = glob.trim_end_matches('/').trim_start_matches("./");
    let path = path.trim_start_matches("./");
    let mut prefixes = path.match_indices('/').map(|(end, _)| &path[..end]).chain([path]);
    if glob.contains('/') {
        let glob = glob.trim_start_matches('/');
        prefixes.any(|prefix| matches(glob.as_bytes(), prefix.as_bytes()))
    } else {
        path.split('/').any(|segment| matches(glob.as_bytes(), segment.as_bytes()))
    }
}

/// Without recursion: the last `*` and the last `**` are taken up again where the rest does not fit.
fn matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    // With whether it has to begin a segment, as after `**/`.
    let mut stars: Option<(usize, usize, bool)> = None;
    loop {
        if glob[g..].starts_with(b"**") {
            let by_segment = glob.get(g + 2) == Some(&b'/');
            g += 2 + usize::from(by_segment);
            stars = Some((g, t, by_segment));
            star = None;
            continue;
        }
        if glob.get(g) == Some(&b'*') {
            g += 1;
            star = Some((g, t));
            continue;
        }
        if t == text.len() && g == glob.len() {
            return true;
        }
        let same = t < text.len() && g < glob.len() && (glob[g] == text[t] || (glob[g] == b'?' && text[t] != b'/'));
        if same {
            g += 1;
            t += 1;
            continue;
        }
        match (star, stars) {
            (Some((after, from)), _) if from < text.len() && text[from] != b'/' => {
                star = Some((after, from + 1));
                (g, t) = (after, from + 1);
            }
            (_, Some((after, from, by_segment))) if from < text.len() => {
                let skip = if by_segment { text[from..].iter().position(|byte| *byte == b'/') } else { Some(0) };
                let Some(skip) = skip else { return false };
                let from = from + skip + 1;
                stars = Some((after, from, by_segment));
                star = None;
                (g, t) = (after, from);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_fit_as_people_expect() {
        for (glob, path) in [
            ("*.yaml", "a/b/c.yaml"),
            ("b", "a/b/c.yaml"),
            ("a/*", "a/b/c.yaml"),
            ("a/**/c.yaml", "a/c.yaml"),
            ("a/**/c.yaml", "a/x/y/c.yaml"),
            ("**/test/*.yml", "x/test/a.yml"),
            ("charts/", "charts/x.yaml"),
            ("?.yaml", "z/a.yaml"),
            ("/a/b", "a/b"),
            ("**", "anything/at/all"),
        ] {
            assert!(fits(glob, path), "{glob} {path}");
        }
        for (glob, path) in [
            ("*.yaml", "a.yml"),
            ("a/*.yaml", "a/b/c.yaml"),
            ("b/c", "a/b/c"),
            ("?.yaml", "ab.yaml"),
            ("a/**/c", "a/bc"),
        ] {
            assert!(!fits(glob, path), "{glob} {path}");
        }
        let long = "a".repeat(5000);
        assert!(!fits(&("*a".repeat(50) + "b"), &long));
    }
}
