//! IAM policies in one form, however they are written: as JSON text, as a mapping, or as a `data` block. A list `statement` of
//! `effect`, `actions`, `not_actions`, `resources`, `not_resources`, `principals` (`type`, `identifiers`), `condition`.

use std::rc::Rc;

use super::value::{V, Val, cleaned};
use crate::model::Mark;

/// How deep JSON within a text is looked into.
const MAX_DEPTH: u32 = 48;

/// A value with every policy in it in the one form; texts that are JSON become what they say.
pub fn normalised(value: Val) -> Val {
    within(value, MAX_DEPTH)
}

fn within(mut value: Val, depth: u32) -> Val {
    if depth == 0 {
        return value;
    }
    match &value.v {
        V::Text(text) if text.trim_start().starts_with(['{', '[']) => {
            // AWS refuses a comma before a bracket; what is meant is plain all the same, and has to be judged.
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text);
            if let Ok(json) = read(text).or_else(|_| read(&without_last_commas(text))) {
                let made = within(of_json(&json, value.at), depth - 1);
                return Val { foreign: true, last_line: value.last_line, ..made };
            }
            value
        }
        V::List(items) => {
            if items.iter().any(may_hold) {
                value.v = V::List(items.iter().map(|item| within(item.clone(), depth - 1)).collect());
            }
            value
        }
        V::Map(entries) => {
            if let Some(statements) = value.get("Statement") {
                let statement = statements_of(statements);
                let statement = Val { v: V::List(statement.into()), ..statements.clone() };
                value.v = V::Map([(Rc::from("statement"), statement)].into());
            } else if entries.iter().any(|(_, value)| may_hold(value)) {
                value.v = V::Map(
                    entries.iter().map(|(key, value)| (key.clone(), within(value.clone(), depth - 1))).collect(),
                );
            }
            value
        }
        V::Null | V::Bool(_) | V::Number(_) | V::Text(_) | V::Unknown(_) => value,
    }
}

/// The text without commas that nothing follows before the bracket.
fn without_last_commas(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_text, mut escaped) = (false, false);
    for character in text.chars() {
        if in_text {
            in_text = character != '"' || escaped;
            escaped = character == '\\' && !escaped;
        } else if matches!(character, ']' | '}') {
            let end = out.trim_end().len();
            if out[..end].ends_with(',') {
                out.truncate(end - 1);
            }
        } else {
            in_text = character == '"';
        }
        out.push(character);
    }
    out
}

fn may_hold(value: &Val) -> bool {
    match &value.v {
        V::List(_) | V::Map(_) => true,
        V::Text(text) => text.trim_start().starts_with(['{', '[']),
        V::Null | V::Bool(_) | V::Number(_) | V::Unknown(_) => false,
    }
}

/// A JSON value, all of it at one place.
pub fn of_json(value: &serde_json::Value, at: Mark) -> Val {
    use serde_json::Value as Json;
    let v = match value {
        Json::Null => V::Null,
        Json::Bool(value) => V::Bool(*value),
        Json::Number(number) => V::Number(number.as_f64().unwrap_or_default()),
        Json::String(text) => V::Text(Rc::from(text.as_str())),
        Json::Array(items) => V::List(items.iter().map(|item| of_json(item, at)).collect()),
        Json::Object(entries) => {
            V::Map(entries.iter().map(|(key, value)| (Rc::from(&*cleaned(key)), of_json(value, at))).collect())
        }
    };
    Val::at(v, at)
}

/// `data "aws_iam_policy_document"` as a policy.
pub fn of_data(block: &Val) -> Val {
    let Some(statements) = block.get("statement") else { return block.clone() };
    let list: Vec<Val> = list(statements).iter().map(with_effect).collect();
    let statement = Val { v: V::List(list.into()), ..statements.clone() };
    Val { v: V::Map([(Rc::from("statement"), statement)].into()), ..block.clone() }
}

fn with_effect(statement: &Val) -> Val {
    match &statement.v {
        V::Map(entries) if statement.get("effect").is_none() => {
            let effect = (Rc::from("effect"), Val::text("Allow", statement.at));
            Val { v: V::Map(entries.iter().cloned().chain([effect]).collect()), ..statement.clone() }
        }
        _ => statement.clone(),
    }
}

fn list(value: &Val) -> Vec<Val> {
    match &value.v {
        V::List(items) => items.to_vec(),
        V::Null => Vec::new(),
        _ => vec![value.clone()],
    }
}

fn as_list(value: &Val) -> Val {
    Val { v: V::List(list(value).into()), ..value.clone() }
}

fn statements_of(statements: &Val) -> Vec<Val> {
    list(statements)
        .into_iter()
        .map(|statement| {
            let V::Map(entries) = &statement.v else { return statement };
            let mut out: Vec<(Rc<str>, Val)> = Vec::new();
            for (key, value) in entries.iter() {
                let (key, value) = match &**key {
                    "Sid" => ("sid", value.clone()),
                    "Effect" => ("effect", value.clone()),
                    "Action" => ("actions", as_list(value)),
                    "NotAction" => ("not_actions", as_list(value)),
                    "Resource" => ("resources", as_list(value)),
                    "NotResource" => ("not_resources", as_list(value)),
                    "Principal" => ("principals", principals(value)),
                    "NotPrincipal" => ("not_principals", principals(value)),
                    "Condition" => ("condition", conditions(value)),
                    _ => continue,
                };
                out.push((Rc::from(key), value));
            }
            Val { v: V::Map(out.into()), ..statement.clone() }
        })
        .collect()
}

fn principals(value: &Val) -> Val {
    let one = |sort: &str, identifiers: &Val| {
        let entries = [(Rc::from("type"), Val::text(sort, value.at)), (Rc::from("identifiers"), as_list(identifiers))];
        Val { v: V::Map(entries.into()), ..identifiers.clone() }
    };
    let all = match &value.v {
        V::Map(entries) => entries.iter().map(|(sort, identifiers)| one(sort, identifiers)).collect(),
        V::Null => Vec::new(),
        _ => vec![one("*", value)],
    };
    Val { v: V::List(all.into()), ..value.clone() }
}

fn conditions(value: &Val) -> Val {
    let V::Map(tests) = &value.v else { return value.clone() };
    let mut all = Vec::new();
    for (test, variables) in tests.iter() {
        let V::Map(variables) = &variables.v else { continue };
        for (variable, values) in variables.iter() {
            let entries = [
                (Rc::from("test"), Val::text(test, value.at)),
                (Rc::from("variable"), Val::text(variable, value.at)),
                (Rc::from("values"), as_list(values)),
            ];
            all.push(Val { v: V::Map(entries.into()), ..values.clone() });
        }
    }
    Val { v: V::List(all.into()), ..value.clone() }
}
