//! Terraform's JSON syntax (`.tf.json`): the same tree as of the native one. Where a mapping says an attribute and where a block is only
//! known from a provider's schema; policies see both the same way, so that all but the blocks of the language itself are attributes.

use super::parse::{MAX_DEPTH, Parsed, Result, template};
use super::{Attribute, Block, Body, Expr, Kind};
use crate::iac::value::cleaned;
use crate::model::{self, Document, Limits, Mark, ModelError, NodeId, Syntax, Value};

/// How texts are to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Texts {
    /// `${…}` is filled in.
    Templates,
    /// As they are: defaults of variables, sources of modules, `.tfvars.json`.
    Literal,
}

/// Reads a file of resources, modules, variables.
pub fn parse_json(text: &str, limits: &Limits) -> Parsed {
    read(text, limits, |reader, root, body| reader.file(root, body))
}

/// Reads a file of values for variables (`.tfvars.json`).
pub fn parse_json_values(text: &str, limits: &Limits) -> Parsed {
    read(text, limits, |reader, root, body| reader.attributes(root, Texts::Literal, 0, body))
}

fn read(text: &str, limits: &Limits, inner: impl Fn(&Reader<'_>, NodeId, &mut Body) -> Result<()>) -> Parsed {
    let mut parsed = Parsed::default();
    let mut first = None;
    let result = model::read(text, Syntax::Json, limits, &mut |document| {
        first.get_or_insert(document);
    });
    if let Some(document) = &first
        && let Some(root) = document.root()
    {
        parsed.error = inner(&Reader { document }, root, &mut parsed.body).err();
    }
    parsed.error = result.err().or(parsed.error);
    parsed
}

struct Reader<'d> {
    document: &'d Document,
}

impl Reader<'_> {
    /// The whole file: a mapping, or a list of them.
    fn file(&self, root: NodeId, body: &mut Body) -> Result<()> {
        for part in self.one_or_more(root) {
            for (kind, node) in self.entries(part, "the blocks of a file")? {
                match kind.as_str() {
                    "resource" | "data" | "ephemeral" => self.labelled(&kind, node, 2, body)?,
                    "variable" | "output" | "module" | "provider" => self.labelled(&kind, node, 1, body)?,
                    "locals" => {
                        for locals in self.one_or_more(node) {
                            let block = self.block(&kind, Vec::new(), locals)?;
                            body.blocks.push(block);
                        }
                    }
                    // `terraform`, `moved`, `import`, `check`: nothing that a policy is about.
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Blocks below mappings from their labels: `{"aws_s3_bucket": {"logs": {…}}}`.
    fn labelled(&self, kind: &str, node: NodeId, labels: usize, body: &mut Body) -> Result<()> {
        let mut waiting = vec![(Vec::new(), node)];
        while let Some((names, node)) = waiting.pop() {
            for part in self.one_or_more(node) {
                if names.len() == labels {
                    let block = self.block(kind, names.clone(), part)?;
                    body.blocks.push(block);
                    continue;
                }
                for (name, inner) in self.entries(part, "names of blocks")?.into_iter().rev() {
                    waiting.push((names.iter().cloned().chain([Box::from(name)]).collect(), inner));
                }
            }
        }
        Ok(())
    }

    fn block(&self, kind: &str, labels: Vec<Box<str>>, node: NodeId) -> Result<Block> {
        let mut body = Body::default();
        let texts = if kind == "variable" { Texts::Literal } else { Texts::Templates };
        self.attributes(node, texts, 0, &mut body)?;
        if kind == "module"
            && let Some(source) = self.document.str_at(node, &["source"])
            && let Some(attribute) = body.attributes.iter_mut().find(|attribute| &*attribute.name == "source")
        {
            attribute.value.kind = Kind::Text(cleaned(source).into());
        }
        let document = self.document;
        Ok(Block { kind: kind.into(), labels, body, at: document.at(node), last_line: document.last_line(node) })
    }

    fn attributes(&self, node: NodeId, texts: Texts, depth: u32, body: &mut Body) -> Result<()> {
        for (name, value) in self.entries(node, "attributes")? {
            match name.as_str() {
                "dynamic" if texts == Texts::Templates => self.dynamic(value, depth, body)?,
                "provisioner" | "connection" if texts == Texts::Templates => {}
                _ => {
                    let value = self.expression(value, texts, depth)?;
                    body.attributes.push(Attribute { name: name.into(), value });
                }
            }
        }
        Ok(())
    }

    /// `{"ingress": {"for_each": …, "content": {…}}}`
    fn dynamic(&self, node: NodeId, depth: u32, body: &mut Body) -> Result<()> {
        let document = self.document;
        let within = |kind: &str, labels: Vec<Box<str>>, body: Body, node: NodeId| Block {
            kind: kind.into(),
            labels,
            body,
            at: document.at(node),
            last_line: document.last_line(node),
        };
        for (kind, made) in self.entries(node, "names of blocks")? {
            for made in self.one_or_more(made) {
                let mut own = Body::default();
                for (name, value) in self.entries(made, "`for_each` and `content`")? {
                    match (name.as_str(), document.str(value)) {
                        ("content", _) => {
                            self.deeper(value, depth)?;
                            let mut content = Body::default();
                            self.attributes(value, Texts::Templates, depth + 1, &mut content)?;
                            own.blocks.push(within("content", Vec::new(), content, value));
                        }
                        ("iterator", Some(iterator)) => {
                            let value = self.placed(Kind::Name(iterator.into()), value);
                            own.attributes.push(Attribute { name: name.into(), value });
                        }
                        _ => {
                            let value = self.expression(value, Texts::Templates, depth)?;
                            own.attributes.push(Attribute { name: name.into(), value });
                        }
                    }
                }
                body.blocks.push(within("dynamic", vec![kind.clone().into()], own, made));
            }
        }
        Ok(())
    }

    fn expression(&self, node: NodeId, texts: Texts, depth: u32) -> Result<Expr> {
        self.deeper(node, depth)?;
        let document = self.document;
        let at = document.at(node);
        let kind = match document.value(node) {
            Value::Null => Kind::Null,
            Value::Bool(value) => Kind::Bool(value),
            Value::Int(value) => Kind::Number(value as f64),
            Value::Float(value) => Kind::Number(value),
            Value::Str(text) => self.text(text, texts, at)?,
            Value::Seq(items) => {
                let items = items.iter().map(|item| self.expression(*item, texts, depth + 1));
                Kind::List(items.collect::<Result<_>>()?)
            }
            Value::Map(_) => {
                let mut entries = Vec::new();
                for (key, entry) in document.entries(node).filter(|(key, _)| *key != "//") {
                    let key = Expr { kind: self.text(key, texts, entry.at)?, at: entry.at, last_line: entry.at.line };
                    entries.push((key, self.expression(entry.value, texts, depth + 1)?));
                }
                Kind::Object(entries)
            }
        };
        Ok(self.placed(kind, node))
    }

    fn text(&self, text: &str, texts: Texts, at: Mark) -> Result<Kind> {
        if texts == Texts::Literal || !text.contains(['$', '%']) {
            return Ok(Kind::Text(cleaned(text).into()));
        }
        template(text, at)
    }

    fn placed(&self, kind: Kind, node: NodeId) -> Expr {
        Expr { kind, at: self.document.at(node), last_line: self.document.last_line(node) }
    }

    fn deeper(&self, node: NodeId, depth: u32) -> Result<()> {
        if depth < MAX_DEPTH {
            return Ok(());
        }
        let what = format!("nested deeper than {MAX_DEPTH} levels");
        Err(ModelError { at: self.document.at(node), what, over_limit: true })
    }

    /// The items of a list, or the one that stands for it.
    fn one_or_more(&self, node: NodeId) -> Vec<NodeId> {
        match self.document.value(node) {
            Value::Seq(items) => items.to_vec(),
            _ => vec![node],
        }
    }

    /// The entries of a mapping, comments (`//`) left out.
    fn entries(&self, node: NodeId, what: &str) -> Result<Vec<(String, NodeId)>> {
        let document = self.document;
        if document.is_null(node) {
            return Ok(Vec::new());
        }
        if !matches!(document.value(node), Value::Map(_)) {
            let what = format!("expected a mapping with {what}, found something else");
            return Err(ModelError { at: document.at(node), what, over_limit: false });
        }
        let entries = document.entries(node).filter(|(key, _)| *key != "//");
        Ok(entries.map(|(key, entry)| (cleaned(key).into_owned(), entry.value)).collect())
    }
}
