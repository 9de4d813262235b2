//! What builds and ships: Dockerfiles, compose files, workflows of GitHub, pipelines of GitLab. Each is looked at as one object of a
//! kind of our own.

use crate::kube::{self, Object};
use crate::model::{Document, NodeId, Value};

/// A Dockerfile (or Containerfile).
pub const DOCKERFILE: &str = "Dockerfile";
/// A compose file.
pub const COMPOSE: &str = "Compose";
/// A workflow of GitHub Actions.
pub const WORKFLOW: &str = "GitHubWorkflow";
/// A pipeline of GitLab CI.
pub const GITLAB: &str = "GitLabPipeline";

/// Whether a file is read as a Dockerfile, by its name: `Dockerfile`, `Dockerfile.dev`, `dev.Dockerfile`, `Containerfile`, ….
pub fn is_dockerfile(name: &str) -> bool {
    let name = last(name).to_ascii_lowercase();
    ["dockerfile", "containerfile"].iter().any(|known| {
        name == *known
            || name.strip_suffix(known).is_some_and(|before| before.ends_with('.'))
            || name.strip_prefix(known).is_some_and(|after| {
                after.starts_with('.')
                    && ![".yaml", ".yml", ".json", ".md", ".txt"].iter().any(|end| after.ends_with(end))
            })
    })
}

/// The document as one object, where it is something that builds or ships: by the name of its file, else by what is in it.
pub fn recognised<'d>(name: &'d str, document: &'d Document) -> Option<Object<'d>> {
    let root = document.root().filter(|root| matches!(document.value(*root), Value::Map(_)))?;
    let kind = kind(name, document, root)?;
    let title = document.str_at(root, &["name"]).unwrap_or(last(name));
    Some(kube::whole(document, root, kind, title))
}

fn kind(name: &str, document: &Document, root: NodeId) -> Option<&'static str> {
    if is_dockerfile(name) {
        return Some(DOCKERFILE);
    }
    if document.get(root, "kind").is_some() || document.get(root, "apiVersion").is_some() {
        return None;
    }
    if document.entry(root, "on").is_some() && document.get(root, "jobs").is_some() {
        return Some(WORKFLOW);
    }
    let short = last(name);
    if short.ends_with(".gitlab-ci.yml") || short.ends_with(".gitlab-ci.yaml") {
        return Some(GITLAB);
    }
    let has = |key: &str, parts: &[&str]| {
        let list = document.get(root, key);
        list.is_some_and(|list| {
            document.entries(list).any(|(_, entry)| parts.iter().any(|part| document.get(entry.value, part).is_some()))
        })
    };
    if has("services", &["image", "build", "extends"]) && document.get(root, "provider").is_none() {
        return Some(COMPOSE);
    }
    let is_job = |node: NodeId| {
        document
            .get(node, "script")
            .is_some_and(|script| matches!(document.value(script), Value::Seq(_) | Value::Str(_)))
            && ["stage", "image", "rules", "only", "variables", "before_script", "tags", "services"]
                .iter()
                .any(|key| document.get(node, key).is_some())
    };
    document.entries(root).any(|(_, entry)| is_job(entry.value)).then_some(GITLAB)
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Limits, Syntax, read};

    fn found(name: &str, text: &str) -> Option<String> {
        let mut found = None;
        read(text, Syntax::Yaml, &Limits::default(), &mut |document| {
            found = recognised(name, &document).map(|object| object.kind.to_owned());
        })
        .expect("well-formed");
        found
    }

    #[test]
    fn dockerfiles_are_known_by_their_names() {
        for name in ["Dockerfile", "a/Dockerfile.dev", "a/dev.Dockerfile", "Containerfile", "x/app.containerfile"] {
            assert!(is_dockerfile(name), "{name}");
        }
        for name in ["Dockerfile.yaml", "dockerfiles", "Dockerfile.md", "mydockerfile", "Dockerfile/x.yaml"] {
            assert!(!is_dockerfile(name), "{name}");
        }
    }

    #[test]
    fn other_files_are_known_by_what_is_in_them() {
        let workflow = "on: [push]\njobs: {a: {runs-on: x, steps: []}}\n";
        assert_eq!(found("a.yaml", workflow).as_deref(), Some(WORKFLOW));
        assert_eq!(found("a.yaml", "services: {a: {image: b}}\n").as_deref(), Some(COMPOSE));
        assert_eq!(found("a.yaml", "build: {stage: b, script: [make]}\n").as_deref(), Some(GITLAB));
        assert_eq!(found("x/.gitlab-ci.yml", "include: [{local: a}]\n").as_deref(), Some(GITLAB));
        assert_eq!(found("a.yaml", "apiVersion: v1\nkind: Pod\nspec: {}\n"), None);
        assert_eq!(found("a.yaml", "services: {a: {port: 1}}\n"), None);
        assert_eq!(found("a.yaml", "- 1\n"), None);
    }
}
