//! Infrastructure as code. Terraform, its plans, CloudFormation and Serverless Framework become resources of one shape: the type and
//! the attributes that Terraform has for them. So one policy serves them all.
//!
//! What is only known when the configuration is applied stays an unknown (see [`value`]); a policy whose answer depends on one
//! has no verdict.

mod base64;
pub mod cloudformation;
pub mod hcl;
pub mod plan;
pub mod serverless;
pub mod statements;
pub mod terraform;
pub mod value;

use rustc_hash::FxHashMap;

use crate::kube::{Cloud, Links, Object};
use crate::model::compose::Composer;
use crate::model::{Document, Mark, NodeId};
use value::{V, Val, marked, number_text, unknowns};

/// One resource as it was written, in the common shape.
#[derive(Debug)]
pub struct Resource {
    /// `aws_s3_bucket`, `data.aws_iam_policy_document`, `provider.aws`, `module`.
    pub kind: String,
    /// What it is called in reports: Terraform's address, or `AWS::S3::Bucket.Name`.
    pub address: String,
    /// What others refer to it by: the address, or the logical id.
    pub reference: String,
    /// The JSON path of `attributes`.
    pub path: String,
    /// A mapping; its place and lines are the resource's.
    pub attributes: Val,
    /// Which of the files of the unit it stands in.
    pub file: usize,
    /// Policies that are to be skipped, each with the reason: `Metadata.checkov.skip` of CloudFormation.
    pub skips: Vec<(String, String)>,
}

/// The resources of a root module, a template or a plan, with who refers to whom, ready for policies.
#[derive(Debug)]
pub struct Stack {
    document: Document,
    placed: Vec<Placed>,
    links: Cloud,
    /// Whether something was left out since it is too large.
    pub cut: bool,
    /// The files that it was made from, as far as they declare resources.
    pub files: Vec<usize>,
}

#[derive(Debug)]
struct Placed {
    resource: Resource,
    node: NodeId,
}

/// The most values of one stack.
const MAX_NODES: usize = 4_000_000;
/// How deep attributes may be nested.
const MAX_DEPTH: u32 = 100;

/// Reads a file that another one names, by the path in it; `None` where it may not or cannot be read.
pub type Beside<'f> = dyn Fn(&str) -> Option<Document> + 'f;

impl Stack {
    /// Puts resources together.
    pub fn new(mut resources: Vec<Resource>) -> Self {
        for resource in &mut resources {
            let attributes = std::mem::replace(&mut resource.attributes, Val::at(V::Null, Mark::default()));
            resource.attributes = base64::opened(attributes);
        }
        let mut composer = Composer::default();
        let mut cut = false;
        let mut nodes = Vec::with_capacity(resources.len());
        let mut mentions: Vec<Vec<usize>> = Vec::with_capacity(resources.len());
        let mut by_reference: FxHashMap<&str, Vec<usize>> = FxHashMap::default();
        for (index, resource) in resources.iter().enumerate() {
            by_reference.entry(&resource.reference).or_default().push(index);
            let without_key = resource.reference.split('[').next().unwrap_or_default();
            if without_key != resource.reference {
                by_reference.entry(without_key).or_default().push(index);
            }
        }
        for (index, resource) in resources.iter().enumerate() {
            let mut found = Vec::new();
            let mut visit = |name: &str| {
                if let Some(targets) = target(name, &by_reference) {
                    found.extend(targets.iter().copied().filter(|target| *target != index));
                }
            };
            nodes.push(compose(&mut composer, &resource.attributes, &mut visit, MAX_DEPTH, &mut cut));
            found.sort_unstable();
            found.dedup();
            mentions.push(found);
        }
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); resources.len()];
        for (from, targets) in mentions.iter().enumerate() {
            targets.iter().for_each(|to| users[*to].push(from));
        }
        let mut by_kind = |all: &[usize], own: &Resource| {
            if all.is_empty() {
                return None;
            }
            let mut kinds: Vec<(&str, Vec<NodeId>)> = Vec::new();
            for index in all {
                let kind = resources[*index].kind.as_str();
                match kinds.iter_mut().find(|(known, _)| *known == kind) {
                    Some((_, list)) => list.push(nodes[*index]),
                    None => kinds.push((kind, vec![nodes[*index]])),
                }
            }
            let at = own.attributes.at;
            let entries: Vec<_> =
                kinds.iter().map(|(kind, list)| (*kind, at, composer.list(list, at, at.line))).collect();
            Some(composer.map(&entries, at, at.line))
        };
        let links = resources
            .iter()
            .enumerate()
            .map(|(index, own)| {
                let links = Links { users: by_kind(&users[index], own), uses: by_kind(&mentions[index], own) };
                (nodes[index], links)
            })
            .collect();
        let placed = resources.into_iter().zip(nodes).map(|(resource, node)| Placed { resource, node }).collect();
        Self { document: composer.finish(), placed, links, cut, files: Vec::new() }
    }

    /// The resources as objects for policies, each with its file.
    pub fn objects(&self) -> impl Iterator<Item = (usize, Object<'_>)> {
        self.placed.iter().map(|placed| {
            let resource = &placed.resource;
            let object = Object {
                document: &self.document,
                node: placed.node,
                path: resource.path.clone(),
                api_version: "",
                kind: &resource.kind,
                name: &resource.address,
                namespace: None,
                pod: None,
                cloud: Some(&self.links),
                skips: &resource.skips,
            };
            (resource.file, object)
        })
    }
}

/// The resources that an unknown's name leads to: the longest beginning of it that is a reference.
fn target<'r>(name: &str, by_reference: &'r FxHashMap<&str, Vec<usize>>) -> Option<&'r Vec<usize>> {
    // `a.b[0].c.d`: with the key first, then without.
    let ends = name.char_indices().filter(|(_, c)| matches!(c, '.' | '[')).map(|(index, _)| index).chain([name.len()]);
    let ends: Vec<usize> = ends.take(24).collect();
    ends.iter().rev().find_map(|end| by_reference.get(&name[..*end]))
}

fn compose(composer: &mut Composer, value: &Val, visit: &mut dyn FnMut(&str), depth: u32, cut: &mut bool) -> NodeId {
    compose_at(composer, value, None, visit, depth, cut)
}

fn compose_at(
    composer: &mut Composer,
    value: &Val,
    place: Option<(crate::model::Mark, u32)>,
    visit: &mut dyn FnMut(&str),
    depth: u32,
    cut: &mut bool,
) -> NodeId {
    let (at, last_line) = place.unwrap_or((value.at, value.last_line));
    if depth == 0 || composer.nodes() > MAX_NODES {
        *cut = true;
        return composer.null(at);
    }
    let inner = if value.foreign { Some((at, last_line)) } else { place };
    match &value.v {
        V::Null => composer.null(at),
        V::Bool(value) => composer.bool(*value, at),
        V::Number(number) => composer.number(*number, &number_text(*number), at),
        V::Text(text) => {
            unknowns(text).for_each(&mut *visit);
            composer.text(text, at, last_line)
        }
        V::Unknown(name) => {
            visit(name);
            composer.text(&marked(name), at, last_line)
        }
        V::List(items) => {
            let nodes: Vec<_> =
                items.iter().map(|item| compose_at(composer, item, inner, visit, depth - 1, cut)).collect();
            composer.list(&nodes, at, last_line)
        }
        V::Map(entries) => {
            let nodes: Vec<_> = entries
                .iter()
                .map(|(key, value)| {
                    let node = compose_at(composer, value, inner, visit, depth - 1, cut);
                    (&**key, inner.map_or(value.at, |(at, _)| at), node)
                })
                .collect();
            composer.map(&nodes, at, last_line)
        }
    }
}

/// The resources of a document that is a template, a plan or a service; `None` where it is none of them.
pub fn recognised(name: &str, document: &Document, beside: &Beside<'_>) -> Option<Stack> {
    let root = document.root()?;
    if cloudformation::is_template(document, root) {
        return Some(cloudformation::stack(document, root));
    }
    if plan::is_plan(document, root) {
        return Some(plan::stack(document, root));
    }
    serverless::is_service(name, document, root).then(|| serverless::stack(document, root, beside))
}
