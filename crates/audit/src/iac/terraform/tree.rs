//! The folders of Terraform files: what each declares, and which call which.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::iac::hcl::{Block, Body, Expr, Kind};

/// One read file.
#[derive(Debug)]
pub struct File {
    /// Its folder, with `/`, without the last one.
    pub folder: String,
    /// Its name without the folder.
    pub name: String,
    /// What is in it.
    pub body: Body,
    /// Its place among the inputs.
    pub input: usize,
}

/// All files of one folder: a module.
#[derive(Default)]
pub struct Folder<'a> {
    pub path: &'a str,
    pub variables: FxHashMap<&'a str, &'a Block>,
    pub locals: FxHashMap<&'a str, &'a Expr>,
    pub outputs: FxHashMap<&'a str, &'a Block>,
    /// `data "aws_iam_policy_document"`, by name.
    pub documents: FxHashMap<&'a str, &'a Block>,
    /// Blocks that become objects, with the input that they are in: resources, data, providers.
    pub objects: Vec<(usize, &'a Block)>,
    pub calls: Vec<&'a Block>,
    /// Values of variables from `terraform.tfvars` and `*.auto.tfvars`.
    pub settings: FxHashMap<&'a str, &'a Expr>,
}

/// All folders.
#[derive(Default)]
pub struct Tree<'a> {
    pub folders: BTreeMap<&'a str, Folder<'a>>,
}

impl<'a> Tree<'a> {
    pub fn new(files: &'a [File]) -> Self {
        let mut tree = Self::default();
        let mut settings: Vec<&'a File> = Vec::new();
        for file in files {
            if file.name.ends_with(".tfvars") || file.name.ends_with(".tfvars.json") {
                settings.push(file);
                continue;
            }
            let folder = tree.folders.entry(&file.folder).or_default();
            folder.path = &file.folder;
            for block in &file.body.blocks {
                folder.add(file.input, block);
            }
        }
        // Those named `auto` win over terraform.tfvars, later ones over earlier ones.
        let is_first = |file: &File| matches!(file.name.as_str(), "terraform.tfvars" | "terraform.tfvars.json");
        settings.sort_by_key(|file| (!is_first(file), &file.name));
        for file in settings {
            let is_auto = [".auto.tfvars", ".auto.tfvars.json"].iter().any(|end| file.name.ends_with(end));
            let counts = is_first(file) || is_auto;
            if let Some(folder) = tree.folders.get_mut(&*file.folder).filter(|_| counts) {
                folder.settings.extend(file.body.attributes.iter().map(|known| (&*known.name, &known.value)));
            }
        }
        tree
    }

    /// The folder that a call's `source` names, where it is in the tree.
    pub fn called(&self, from: &Folder<'_>, call: &Block) -> Option<&Folder<'a>> {
        let Kind::Text(source) = &call.body.attribute("source")?.kind else { return None };
        if !source.starts_with("./") && !source.starts_with("../") && &**source != "." && &**source != ".." {
            return None;
        }
        let mut segments: Vec<&str> = from.path.split('/').filter(|segment| !segment.is_empty()).collect();
        for segment in source.split('/') {
            match segment {
                "" | "." => {}
                ".." => match segments.last() {
                    Some(last) if *last != ".." && *last != "." => {
                        segments.pop();
                    }
                    _ => segments.push(".."),
                },
                segment => segments.push(segment),
            }
        }
        let path = format!("{}{}", if from.path.starts_with('/') { "/" } else { "" }, segments.join("/"));
        self.folders.get(path.as_str())
    }

    /// The folders that nobody calls; of those that call each other in a circle, all.
    pub fn roots(&self) -> Vec<&Folder<'a>> {
        let mut called = FxHashSet::default();
        for folder in self.folders.values() {
            for call in &folder.calls {
                if let Some(other) = self.called(folder, call).filter(|other| other.path != folder.path) {
                    called.insert(other.path);
                }
            }
        }
        let mut roots: Vec<_> = self.folders.values().filter(|folder| !called.contains(folder.path)).collect();
        // What no root leads to is in a circle of calls; it is not to be left out.
        let mut reached: FxHashSet<&str> = FxHashSet::default();
        let mut waiting: Vec<&Folder<'a>> = roots.clone();
        loop {
            while let Some(folder) = waiting.pop() {
                if reached.insert(folder.path) {
                    waiting.extend(folder.calls.iter().filter_map(|call| self.called(folder, call)));
                }
            }
            let Some(left) = self.folders.values().find(|folder| !reached.contains(folder.path)) else { return roots };
            roots.push(left);
            waiting.push(left);
        }
    }
}

impl<'a> Folder<'a> {
    fn add(&mut self, input: usize, block: &'a Block) {
        let label = |index: usize| block.labels.get(index).map(|label| &**label);
        match &*block.kind {
            "variable" => {
                if let Some(name) = label(0) {
                    self.variables.insert(name, block);
                }
            }
            "output" => {
                if let Some(name) = label(0) {
                    self.outputs.insert(name, block);
                }
            }
            "locals" => self.locals.extend(block.body.attributes.iter().map(|local| (&*local.name, &local.value))),
            "module" => {
                self.calls.push(block);
                self.objects.push((input, block));
            }
            "resource" | "provider" => self.objects.push((input, block)),
            "data" => {
                if let (Some("aws_iam_policy_document"), Some(name)) = (label(0), label(1)) {
                    self.documents.insert(name, block);
                }
                self.objects.push((input, block));
            }
            _ => {}
        }
    }
}
