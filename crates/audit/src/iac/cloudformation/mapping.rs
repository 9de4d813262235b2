//! What CloudFormation's types and properties are called in Terraform: `data/cloudformation.yaml`.

use std::sync::OnceLock;

use rustc_hash::FxHashMap;

use crate::model::{Document, Limits, NodeId, Syntax, read};

/// One type.
#[derive(Debug, Default)]
pub struct Mapping {
    /// Terraform's type.
    pub kind: String,
    /// Names of properties, by path or by the last name.
    pub rename: FxHashMap<String, String>,
    /// Mappings that are lists of `name` and `value` in Terraform.
    pub pairs: FxHashMap<String, String>,
    /// Lists of `Key` and `Value` whose entries are attributes in Terraform: property, key, attribute.
    pub flags: Vec<(String, String, String)>,
    /// Mappings that are lists in Terraform, their keys an attribute of each entry.
    pub typed: FxHashMap<String, String>,
    /// What holds where nothing is said, if that is another thing than in Terraform.
    pub defaults: Vec<(String, bool)>,
    /// What Terraform has a resource of its own for.
    pub also: Vec<Also>,
}

/// A second resource that one of CloudFormation's makes.
#[derive(Debug, Default)]
pub struct Also {
    /// Terraform's type.
    pub kind: String,
    /// The property that holds its attributes; it is made without them too.
    pub from: Option<String>,
    /// Properties that become attributes; without the first it is not made.
    pub properties: Vec<(String, String)>,
}

/// The mapping of a type.
pub fn of(kind: &str) -> Option<&'static Mapping> {
    static TABLE: OnceLock<FxHashMap<String, Mapping>> = OnceLock::new();
    TABLE.get_or_init(table).get(kind)
}

fn table() -> FxHashMap<String, Mapping> {
    let mut table = FxHashMap::default();
    let text = include_str!("../../../data/cloudformation.yaml");
    read(text, Syntax::Yaml, &Limits::default(), &mut |document| {
        let Some(root) = document.root() else { return };
        for (name, entry) in document.entries(root) {
            table.insert(name.to_owned(), mapping(&document, entry.value));
        }
    })
    .expect("a test reads it");
    table
}

fn mapping(document: &Document, node: NodeId) -> Mapping {
    let texts = |node: NodeId, key: &str| -> Vec<(String, String)> {
        let Some(map) = document.get(node, key) else { return Vec::new() };
        let text = |value| document.scalar_text(value).unwrap_or_default().to_owned();
        document.entries(map).map(|(key, entry)| (key.to_owned(), text(entry.value))).collect()
    };
    let also = document.get(node, "also").map(|list| document.items(list)).unwrap_or_default();
    let flags = document.get(node, "flags");
    Mapping {
        kind: document.str_at(node, &["kind"]).unwrap_or_default().to_owned(),
        rename: texts(node, "rename").into_iter().collect(),
        pairs: texts(node, "pairs").into_iter().collect(),
        typed: texts(node, "typed").into_iter().collect(),
        defaults: texts(node, "defaults").into_iter().map(|(path, value)| (path, value == "true")).collect(),
        flags: flags
            .into_iter()
            .flat_map(|flags| document.entries(flags).map(move |(property, _)| (flags, property)))
            .flat_map(|(flags, property)| {
                texts(flags, property).into_iter().map(move |(key, attribute)| (property.to_owned(), key, attribute))
            })
            .collect(),
        also: also
            .iter()
            .map(|item| Also {
                kind: document.str_at(*item, &["kind"]).unwrap_or_default().to_owned(),
                from: document.str_at(*item, &["from"]).map(str::to_owned),
                properties: texts(*item, "properties"),
            })
            .collect(),
    }
}

/// `KMSKeyId` as `kms_key_id`.
pub fn snake(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 4);
    for (index, character) in characters.iter().enumerate() {
        let begins = character.is_uppercase()
            && index > 0
            && (!characters[index - 1].is_uppercase()
                || characters.get(index + 1).is_some_and(|next| next.is_lowercase()));
        if begins && !out.ends_with('_') {
            out.push('_');
        }
        out.extend(character.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart_at_capitals_and_keep_abbreviations_together() {
        let cases = [
            ("KMSKeyId", "kms_key_id"),
            ("DBInstanceClass", "db_instance_class"),
            ("SSEAlgorithm", "sse_algorithm"),
            ("MultiAZ", "multi_az"),
            ("CidrIpv6", "cidr_ipv6"),
            ("Enabled", "enabled"),
        ];
        for (name, expected) in cases {
            assert_eq!(snake(name), expected);
        }
    }

    #[test]
    fn every_type_of_the_table_has_a_kind() {
        let table = table();
        assert!(table.len() > 80, "{}", table.len());
        assert!(table.values().all(|mapping| mapping.kind.starts_with("aws_")));
    }
}
