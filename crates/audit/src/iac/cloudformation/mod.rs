//! CloudFormation: parameters by their defaults, conditions, functions; resources under Terraform's names.

mod intrinsic;
mod mapping;

use std::rc::Rc;

use intrinsic::Template;
use mapping::{Mapping, snake};

use super::value::{V, Val};
use super::{Resource, Stack, statements};
use crate::model::{Document, Mark, NodeId, Value, push_key};

/// The most resources of one template.
const MAX_RESOURCES: usize = 100_000;

/// Whether a mapping is a template: it has `Resources` with types like `AWS::S3::Bucket`.
pub fn is_template(document: &Document, root: NodeId) -> bool {
    document.get(root, "Resources").is_some_and(|resources| {
        document
            .entries(resources)
            .any(|(_, entry)| document.str_at(entry.value, &["Type"]).is_some_and(|kind| kind.contains("::")))
    })
}

/// The resources of a template.
pub fn stack(document: &Document, root: NodeId) -> Stack {
    let mut made = Vec::new();
    let cut = resources(document, root, "", &mut made);
    let mut stack = Stack::new(made);
    stack.cut |= cut;
    stack
}

/// The resources of a template that begins at a node; `path` leads there. Whether some were left out.
pub(super) fn resources(document: &Document, root: NodeId, path: &str, made: &mut Vec<Resource>) -> bool {
    let template = Template::new(document, root);
    let Some(list) = document.get(root, "Resources") else { return false };
    for (name, entry) in document.entries(list) {
        let Some(kind) = document.str_at(entry.value, &["Type"]) else { continue };
        if made.len() >= MAX_RESOURCES || template.is_spent() {
            return true;
        }
        let properties = document.get(entry.value, "Properties");
        let mut path = path.to_owned();
        for key in ["Resources", name, "Properties"] {
            push_key(&mut path, key);
        }
        let lines = (entry.at, document.last_line(entry.value));
        let mut value = properties.map_or_else(|| Val::at(V::Map(Rc::from([])), entry.at), |node| template.value(node));
        // What the Serverless Application Model sets for all of a kind.
        let globals = kind.strip_prefix("AWS::Serverless::").and_then(|kind| document.follow(root, &["Globals", kind]));
        if let Some(globals) = globals {
            value = filled_in(value, &template.value(globals), 3);
        }
        add(name, kind, &value, lines, &path, &skips(document, entry.value), made);
    }
    template.is_spent()
}

/// A mapping with what only another has.
fn filled_in(own: Val, other: &Val, depth: u32) -> Val {
    let (V::Map(entries), V::Map(others)) = (&own.v, &other.v) else { return own };
    let mut out: Vec<(Rc<str>, Val)> = entries
        .iter()
        .map(|(key, value)| match other.get(key) {
            Some(more) if depth > 0 => (key.clone(), filled_in(value.clone(), more, depth - 1)),
            _ => (key.clone(), value.clone()),
        })
        .collect();
    out.extend(others.iter().filter(|(key, _)| own.get(key).is_none()).cloned());
    Val { v: V::Map(out.into()), ..own.clone() }
}

/// `Metadata: {checkov: {skip: [{id: CKV_AWS_20, comment: public on purpose}]}}`
fn skips(document: &Document, resource: NodeId) -> Vec<(String, String)> {
    let list = document.follow(resource, &["Metadata", "checkov", "skip"]).map(|list| document.items(list));
    let skip = |item: &NodeId| {
        let reason = document.str_at(*item, &["comment"]).filter(|comment| !comment.trim().is_empty());
        Some((document.str_at(*item, &["id"])?.to_owned(), reason.unwrap_or("no reason given").to_owned()))
    };
    list.unwrap_or_default().iter().filter_map(skip).collect()
}

fn add(
    name: &str,
    kind: &str,
    properties: &Val,
    lines: (Mark, u32),
    path: &str,
    skips: &[(String, String)],
    made: &mut Vec<Resource>,
) {
    let address = format!("{kind}.{name}");
    let mut push = |kind: String, attributes: Val, reference: String| {
        made.push(Resource {
            kind,
            address: address.clone(),
            reference,
            path: path.to_owned(),
            attributes: statements::normalised(Val { at: lines.0, last_line: lines.1, ..attributes }),
            file: 0,
            skips: skips.to_vec(),
        });
    };
    let Some(mapping) = mapping::of(kind) else {
        push(kind.to_owned(), translated(properties, &Mapping::default()), name.to_owned());
        return;
    };
    push(mapping.kind.clone(), translated(properties, mapping), name.to_owned());
    for also in &mapping.also {
        let link = (Rc::from("of"), Val::unknown(name, lines.0));
        let mut entries = vec![link];
        if let Some(from) = &also.from {
            let own = properties.get(from).map(|own| translated(own, &Mapping::default()));
            if let Some(Val { v: V::Map(own), .. }) = own {
                entries.extend(own.iter().cloned());
            }
        } else {
            for (property, attribute) in &also.properties {
                if let Some(value) = properties.get(property) {
                    entries.push((Rc::from(attribute.as_str()), value.clone()));
                }
            }
            if entries.len() == 1 {
                continue;
            }
        }
        push(
            also.kind.clone(),
            Val { v: V::Map(entries.into()), ..properties.clone() },
            format!("{name}/{}", also.kind),
        );
    }
}

/// Properties under Terraform's names.
fn translated(properties: &Val, mapping: &Mapping) -> Val {
    let mut out = map(properties, mapping, "");
    for (property, key, attribute) in &mapping.flags {
        let Some(Val { v: V::List(list), .. }) = properties.get(property) else { continue };
        let found = list.iter().find(|item| item.get("Key").and_then(Val::known_text) == Some(key));
        if let (Some(value), V::Map(entries)) = (found.and_then(|item| item.get("Value")), &out.v) {
            let mut entries = entries.to_vec();
            put(&mut entries, attribute, value.clone());
            out.v = V::Map(entries.into());
        }
    }
    for (path, value) in &mapping.defaults {
        let said = path.split('.').try_fold(&out, |at, key| at.get(key)).is_some();
        if let (false, V::Map(entries)) = (said, &out.v) {
            let mut entries = entries.to_vec();
            put(&mut entries, path, Val::at(V::Bool(*value), out.at));
            out.v = V::Map(entries.into());
        }
    }
    out
}

fn map(value: &Val, mapping: &Mapping, path: &str) -> Val {
    match &value.v {
        V::List(items) => {
            Val { v: V::List(items.iter().map(|item| map(item, mapping, path)).collect()), ..value.clone() }
        }
        V::Map(entries) => {
            let mut out: Vec<(Rc<str>, Val)> = Vec::with_capacity(entries.len());
            for (key, inner) in entries.iter() {
                let full = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
                if let Some(attribute) = mapping.pairs.get(&full) {
                    put(&mut out, attribute, pairs(inner));
                    continue;
                }
                if let (Some(attribute), V::Map(list)) = (mapping.typed.get(&full), &inner.v) {
                    let items = list.iter().map(|(kind, item)| {
                        let item = map(item, mapping, &full);
                        let kind = (Rc::from(attribute.as_str()), Val::at(V::Text(kind.clone()), item.at));
                        match &item.v {
                            V::Map(entries) => {
                                Val { v: V::Map(entries.iter().cloned().chain([kind]).collect()), ..item.clone() }
                            }
                            _ => item,
                        }
                    });
                    put(&mut out, &snake(key), Val { v: V::List(items.collect()), ..inner.clone() });
                    continue;
                }
                let verbatim = match &**key {
                    "PolicyDocument" | "KeyPolicy" | "RepositoryPolicyText" | "ResourcePolicyDocument" => {
                        Some("policy")
                    }
                    "AssumeRolePolicyDocument" => Some("assume_role_policy"),
                    "Variables" => Some("variables"),
                    "ContainerDefinitions" => {
                        put(&mut out, "container_definitions", camel(inner));
                        continue;
                    }
                    _ => None,
                };
                if let Some(name) = verbatim {
                    put(&mut out, name, inner.clone());
                    continue;
                }
                let name = mapping.rename.get(&full).or_else(|| mapping.rename.get(&**key)).cloned();
                let name = name.unwrap_or_else(|| snake(key));
                let inner = map(inner, mapping, &full);
                if !name.is_empty() {
                    put(&mut out, &name, said(&name, inner));
                    continue;
                }
                // What is in it stands one level up.
                match inner.v {
                    V::Map(entries) => out.extend(entries.iter().cloned()),
                    V::List(items) => {
                        for item in items.iter() {
                            if let V::Map(entries) = &item.v {
                                out.extend(entries.iter().cloned());
                            }
                        }
                    }
                    _ => {}
                }
            }
            Val { v: V::Map(out.into()), ..value.clone() }
        }
        V::Null | V::Bool(_) | V::Number(_) | V::Text(_) | V::Unknown(_) => value.clone(),
    }
}

/// Values that have another spelling in Terraform.
fn said(name: &str, value: Val) -> Val {
    let text = match (name, value.known_text()) {
        ("enabled", Some("Enabled")) => return Val { v: V::Bool(true), ..value },
        ("enabled", Some("Suspended")) => return Val { v: V::Bool(false), ..value },
        ("acl", Some("PublicRead")) => "public-read",
        ("acl", Some("PublicReadWrite")) => "public-read-write",
        ("acl", Some("AuthenticatedRead")) => "authenticated-read",
        ("acl", Some("Private")) => "private",
        ("acl", Some("LogDeliveryWrite")) => "log-delivery-write",
        _ => return value,
    };
    Val { v: V::Text(Rc::from(text)), ..value }
}

fn pairs(value: &Val) -> Val {
    let V::Map(entries) = &value.v else { return value.clone() };
    let pair = |(name, inner): &(Rc<str>, Val)| Val {
        v: V::Map(
            [(Rc::from("name"), Val::at(V::Text(name.clone()), inner.at)), (Rc::from("value"), inner.clone())].into(),
        ),
        ..inner.clone()
    };
    Val { v: V::List(entries.iter().map(pair).collect()), ..value.clone() }
}

/// Keys with a small first letter, as the API of ECS has them.
fn camel(value: &Val) -> Val {
    let v = match &value.v {
        V::List(items) => V::List(items.iter().map(camel).collect()),
        V::Map(entries) => V::Map(
            entries
                .iter()
                .map(|(key, inner)| {
                    let mut characters = key.chars();
                    let first = characters.next().map(|first| first.to_lowercase().collect::<String>());
                    (Rc::from(first.unwrap_or_default() + characters.as_str()), camel(inner))
                })
                .collect(),
        ),
        V::Null | V::Bool(_) | V::Number(_) | V::Text(_) | V::Unknown(_) => value.v.clone(),
    };
    Val { v, ..value.clone() }
}

/// Sets `a.b` in a list of entries; what is there already is kept beside it.
fn put(entries: &mut Vec<(Rc<str>, Val)>, path: &str, value: Val) {
    let Some((head, rest)) = path.split_once('.') else {
        entries.push((Rc::from(path), value));
        return;
    };
    let at = value.at;
    let inner = entries.iter_mut().find(|(name, _)| &**name == head);
    let mut within = match &inner {
        Some((_, Val { v: V::Map(within), .. })) => within.to_vec(),
        _ => Vec::new(),
    };
    put(&mut within, rest, value);
    let made = Val::at(V::Map(within.into()), at);
    match inner {
        Some((_, old)) => *old = made,
        None => entries.push((Rc::from(head), made)),
    }
}

/// A plain value of a document, its places kept; functions are not looked at.
pub(super) fn plain(document: &Document, node: NodeId, depth: u32) -> Val {
    let at = document.at(node);
    let v = match document.value(node) {
        _ if depth == 0 => V::Null,
        Value::Null => V::Null,
        Value::Bool(value) => V::Bool(value),
        Value::Int(value) => V::Number(value as f64),
        Value::Float(value) => V::Number(value),
        Value::Str(text) => V::Text(Rc::from(&*super::value::cleaned(text))),
        Value::Seq(items) => V::List(items.iter().map(|item| plain(document, *item, depth - 1)).collect()),
        Value::Map(_) => V::Map(
            document
                .entries(node)
                .map(|(key, entry)| (Rc::from(&*super::value::cleaned(key)), plain(document, entry.value, depth - 1)))
                .collect(),
        ),
    };
    Val::new(v, at, document.last_line(node))
}
