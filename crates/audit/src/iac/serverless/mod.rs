//! Serverless Framework: functions with what the provider sets for all of them, and the CloudFormation in `resources`.

mod variables;

use std::rc::Rc;

use variables::Variables;

use super::cloudformation::{self, plain};
use super::value::{V, Val};
use super::{Beside, MAX_DEPTH, Resource, Stack, statements};
use crate::model::{Document, NodeId, push_key};

/// The most functions of one service.
const MAX_FUNCTIONS: usize = 20_000;

/// Whether a mapping is a service: by its keys, and its name or provider.
pub fn is_service(name: &str, document: &Document, root: NodeId) -> bool {
    let has = |key: &str| document.get(root, key).is_some();
    let named = name.rsplit('/').next().is_some_and(|name| name.starts_with("serverless."));
    has("service") && has("provider") && (named || has("functions"))
}

/// The resources of a service; `beside` reads files that its variables name.
pub fn stack(document: &Document, root: NodeId, beside: &Beside<'_>) -> Stack {
    let mut made = Vec::new();
    let mut cut = false;
    if let Some(resources) = document.get(root, "resources") {
        // One template, or a list of them.
        for (index, template) in std::iter::once(resources).chain(document.items(resources).iter().copied()).enumerate()
        {
            let mut path = "resources".to_owned();
            if index > 0 {
                crate::model::push_index(&mut path, index - 1);
            }
            cut |= cloudformation::resources(document, template, &path, &mut made);
        }
    }
    let is_aws = document.str_at(root, &["provider", "name"]).is_none_or(|name| name == "aws");
    let functions = document.get(root, "functions").filter(|_| is_aws);
    let variables = Variables::new(plain(document, root, MAX_DEPTH), beside);
    let value = |node: NodeId| variables.filled(&plain(document, node, MAX_DEPTH));
    let provider = document.get(root, "provider").map(value);
    for (name, entry) in functions.into_iter().flat_map(|functions| document.entries(functions)) {
        if made.len() >= MAX_FUNCTIONS {
            cut = true;
            break;
        }
        let mut path = "functions".to_owned();
        push_key(&mut path, name);
        let function = value(entry.value);
        let mut entries = Vec::new();
        let own = |key: &str| function.get(key).cloned();
        let or_all = |key: &str| own(key).or_else(|| provider.as_ref().and_then(|provider| provider.get(key).cloned()));
        let mut set = |name: &str, value: Option<Val>| {
            if let Some(value) = value {
                entries.push((Rc::from(name), value));
            }
        };
        let wrap = |value: Option<Val>, key: &str| {
            value.map(|value| Val { v: V::Map([(Rc::from(key), value.clone())].into()), ..value })
        };
        set("runtime", or_all("runtime"));
        set("handler", own("handler"));
        set("timeout", or_all("timeout"));
        set("memory_size", or_all("memorySize"));
        set("kms_key_arn", or_all("kmsKeyArn"));
        set("reserved_concurrent_executions", own("reservedConcurrency"));
        set("vpc_config", or_all("vpc"));
        set("tags", or_all("tags"));
        set("dead_letter_config", wrap(own("onError"), "target_arn"));
        let tracing = or_all("tracing").map(|value| match value.v {
            V::Bool(true) => Val { v: V::Text(Rc::from("Active")), ..value },
            V::Map(_) => {
                value.get("lambda").map_or(value.clone(), |_| Val { v: V::Text(Rc::from("Active")), ..value.clone() })
            }
            _ => value,
        });
        set("tracing_config", wrap(tracing, "mode"));
        let mut variables: Vec<(Rc<str>, Val)> = Vec::new();
        for environment in
            [provider.as_ref().and_then(|provider| provider.get("environment")), function.get("environment")]
        {
            if let Some(Val { v: V::Map(more), .. }) = environment {
                variables.extend(more.iter().cloned());
            }
        }
        if !variables.is_empty() {
            let variables = Val::at(V::Map(variables.into()), entry.at);
            set("environment", wrap(Some(variables), "variables"));
        }
        let attributes = Val::new(V::Map(entries.into()), entry.at, document.last_line(entry.value));
        let own_statements = function.get("iamRoleStatements");
        // A function's own statements come on top of the provider's, or instead of them: both are somebody's rights.
        for inline in own_statements.into_iter().chain(provider.as_ref().and_then(statements_of_provider)) {
            let policy = Val { v: V::Map([(Rc::from("Statement"), inline.clone())].into()), ..inline.clone() };
            let whole = Val { v: V::Map([(Rc::from("policy"), policy)].into()), ..inline.clone() };
            made.push(Resource {
                kind: "aws_iam_role_policy".to_owned(),
                address: name.to_owned(),
                reference: format!("{name}/policy"),
                path: path.clone(),
                attributes: Val { at: entry.at, last_line: attributes.last_line, ..statements::normalised(whole) },
                file: 0,
                skips: Vec::new(),
            });
        }
        made.push(Resource {
            kind: "aws_lambda_function".to_owned(),
            address: name.to_owned(),
            reference: name.to_owned(),
            path,
            attributes: statements::normalised(attributes),
            file: 0,
            skips: Vec::new(),
        });
    }
    let mut stack = Stack::new(made);
    stack.cut |= cut || variables.is_spent();
    stack
}

fn statements_of_provider(provider: &Val) -> Option<&Val> {
    let new = || provider.get("iam").and_then(|iam| iam.get("role")).and_then(|role| role.get("statements"));
    provider.get("iamRoleStatements").or_else(new)
}
