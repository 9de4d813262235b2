//! Terraform: all files of a tree at once, since a module's variables, locals and resources are spread over files and folders.

mod eval;
mod functions;
mod tree;

use std::rc::Rc;

use eval::{Evaluator, key_text};
pub use tree::{File, Folder, Tree};

use super::hcl::Block;
use super::value::V;
use super::{Resource, Stack, statements};
use crate::model::push_key;

/// The most resources of one root module.
const MAX_RESOURCES: usize = 100_000;

impl<'a> Tree<'a> {
    /// The resources of a root module and of what it calls. A resource's `file` is its file's `input`.
    pub fn stack(&'a self, root: &'a Folder<'a>) -> Stack {
        stack(self, root)
    }
}

fn stack<'a>(tree: &'a Tree<'a>, root: &'a Folder<'a>) -> Stack {
    let evaluator = Evaluator::new(tree, root);
    let mut resources = Vec::new();
    let mut cut = false;
    let mut files: Vec<usize> = Vec::new();
    let mut next = 0;
    // Calls add instances while this goes on.
    while next < evaluator.instances.borrow().len() {
        let instance = evaluator.instance(next);
        for (input, block) in &instance.folder.objects {
            files.push(*input);
            if resources.len() >= MAX_RESOURCES || evaluator.is_spent() {
                cut = true;
                break;
            }
            add(&evaluator, next, *input, block, &mut resources);
        }
        next += 1;
    }
    cut |= evaluator.is_spent();
    let mut stack = Stack::new(resources);
    stack.cut |= cut;
    files.sort_unstable();
    files.dedup();
    stack.files = files;
    stack
}

fn add<'a>(evaluator: &Evaluator<'a>, instance: usize, input: usize, block: &'a Block, resources: &mut Vec<Resource>) {
    let label = |index: usize| block.labels.get(index).map(|label| &**label);
    let (kind, name, path_start) = match (&*block.kind, label(0), label(1)) {
        ("resource", Some(kind), Some(name)) => (kind.to_owned(), format!("{kind}.{name}"), "resource"),
        ("data", Some(kind), Some(name)) => (format!("data.{kind}"), format!("data.{kind}.{name}"), "data"),
        ("provider", Some(name), _) => (format!("provider.{name}"), format!("provider.{name}"), "provider"),
        ("module", Some(name), _) => {
            // Its own resources follow when the instances that this makes have their turn.
            evaluator.children(instance, name);
            ("module".to_owned(), format!("module.{name}"), "module")
        }
        _ => return,
    };
    let mut path = path_start.to_owned();
    block.labels.iter().for_each(|label| push_key(&mut path, label));
    let prefix = evaluator.instance(instance).prefix.clone();
    for (key, names) in evaluator.repeats(instance, &block.body) {
        if resources.len() >= MAX_RESOURCES || evaluator.is_spent() {
            return;
        }
        let env = names.first().map(|(name, value)| eval::Env { outer: None, name, value });
        let attributes = evaluator.block(instance, &block.body, env.as_ref(), block.at, block.last_line);
        let attributes = if kind == "data.aws_iam_policy_document" {
            statements::of_data(&attributes)
        } else {
            statements::normalised(attributes)
        };
        let key = key.as_ref().map(key_text).unwrap_or_default();
        let address = format!("{prefix}{name}{key}");
        let attributes = match &attributes.v {
            V::Map(_) => attributes,
            _ => super::value::Val { v: V::Map(Rc::from([])), ..attributes },
        };
        resources.push(Resource {
            kind: kind.clone(),
            reference: address.clone(),
            address,
            path: path.clone(),
            attributes,
            file: input,
            skips: Vec::new(),
        });
    }
}
