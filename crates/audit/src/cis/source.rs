//! Where controls come from: a folder like kube-bench's `cfg/`, or the ones in this program.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::CisError;

/// The controls of this program: path and text.
const BUILT_IN: &[(&str, &str)] = &[
    ("config.yaml", include_str!("../../data/cis/config.yaml")),
    ("cis-1.12/master.yaml", include_str!("../../data/cis/cis-1.12/master.yaml")),
    ("cis-1.12/etcd.yaml", include_str!("../../data/cis/cis-1.12/etcd.yaml")),
    ("cis-1.12/controlplane.yaml", include_str!("../../data/cis/cis-1.12/controlplane.yaml")),
    ("cis-1.12/node.yaml", include_str!("../../data/cis/cis-1.12/node.yaml")),
    ("cis-1.12/policies.yaml", include_str!("../../data/cis/cis-1.12/policies.yaml")),
    ("aks-1.8/master.yaml", include_str!("../../data/cis/aks-1.8/master.yaml")),
    ("aks-1.8/controlplane.yaml", include_str!("../../data/cis/aks-1.8/controlplane.yaml")),
    ("aks-1.8/node.yaml", include_str!("../../data/cis/aks-1.8/node.yaml")),
    ("aks-1.8/policies.yaml", include_str!("../../data/cis/aks-1.8/policies.yaml")),
    ("aks-1.8/managedservices.yaml", include_str!("../../data/cis/aks-1.8/managedservices.yaml")),
    ("eks-1.8.0/master.yaml", include_str!("../../data/cis/eks-1.8.0/master.yaml")),
    ("eks-1.8.0/controlplane.yaml", include_str!("../../data/cis/eks-1.8.0/controlplane.yaml")),
    ("eks-1.8.0/node.yaml", include_str!("../../data/cis/eks-1.8.0/node.yaml")),
    ("eks-1.8.0/policies.yaml", include_str!("../../data/cis/eks-1.8.0/policies.yaml")),
    ("eks-1.8.0/managedservices.yaml", include_str!("../../data/cis/eks-1.8.0/managedservices.yaml")),
    ("gke-1.9.0/master.yaml", include_str!("../../data/cis/gke-1.9.0/master.yaml")),
    ("gke-1.9.0/controlplane.yaml", include_str!("../../data/cis/gke-1.9.0/controlplane.yaml")),
    ("gke-1.9.0/node.yaml", include_str!("../../data/cis/gke-1.9.0/node.yaml")),
    ("gke-1.9.0/policies.yaml", include_str!("../../data/cis/gke-1.9.0/policies.yaml")),
    ("gke-1.9.0/managedservices.yaml", include_str!("../../data/cis/gke-1.9.0/managedservices.yaml")),
];

/// Where controls come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This program.
    BuiltIn {
        /// Settings instead of its own.
        config: Option<PathBuf>,
    },
    /// A folder with `config.yaml` and a folder for each benchmark.
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Settings instead of its own.
        config: Option<PathBuf>,
    },
}

impl Source {
    /// The settings: their name and text.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn config(&self) -> Result<(String, String), CisError> {
        let path = match self {
            Self::BuiltIn { config: Some(path) } | Self::Folder { config: Some(path), .. } => path.clone(),
            Self::Folder { folder, config: None } => folder.join("config.yaml"),
            Self::BuiltIn { config: None } => return Ok(built_in("config.yaml").expect("it is in the list above")),
        };
        let file = path.display().to_string();
        match fs::read_to_string(&path) {
            Ok(text) => Ok((file, text)),
            Err(error) => Err(CisError::File { file, why: error.to_string() }),
        }
    }

    /// A file of a benchmark: its name and text; `None` where there is none.
    ///
    /// # Errors
    /// Where it is there and cannot be read, or its benchmark is no name of a folder.
    pub fn file(&self, benchmark: &str, name: &str) -> Result<Option<(String, String)>, CisError> {
        if benchmark.is_empty() || benchmark.starts_with('.') || benchmark.contains('/') {
            return Err(CisError::Choice(format!("`{benchmark}` is no benchmark: the name of a folder is expected")));
        }
        let Self::Folder { folder, .. } = self else { return Ok(built_in(&format!("{benchmark}/{name}"))) };
        let path = folder.join(benchmark).join(name);
        let file = path.display().to_string();
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some((file, text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CisError::File { file, why: error.to_string() }),
        }
    }
}

fn built_in(path: &str) -> Option<(String, String)> {
    let (path, text) = BUILT_IN.iter().find(|(known, _)| *known == path)?;
    Some((format!("built-in {path}"), (*text).to_owned()))
}
