//! Terraform's functions that need nothing but their arguments. What is not here, or has an argument that is not known, is
//! unknown.

use std::rc::Rc;

use super::eval::{Evaluator, same};
use crate::iac::base64;
use crate::iac::value::{UNKNOWN_START, V, Val, number_text};

/// Functions whose result is made of their arguments, each in its place.
pub fn keeps_places(name: &str) -> bool {
    matches!(
        name,
        "merge" | "concat" | "jsonencode" | "tolist" | "toset" | "tomap" | "flatten" | "sensitive" | "nonsensitive"
    )
}

/// The result of a function; `None` where it is not known.
pub fn call(name: &str, arguments: &[Val], evaluator: &Evaluator<'_>) -> Option<V> {
    let first = arguments.first();
    match name {
        "merge" => {
            let mut out: Vec<(Rc<str>, Val)> = Vec::new();
            for argument in arguments {
                match &argument.v {
                    V::Map(entries) => {
                        if !evaluator.spend(entries.len()) {
                            return None;
                        }
                        out.extend(entries.iter().cloned());
                    }
                    V::Null => {}
                    _ => return None,
                }
            }
            // The last of a name is what counts.
            let mut seen = rustc_hash::FxHashSet::default();
            let mut kept: Vec<_> = out.into_iter().rev().filter(|(key, _)| seen.insert(key.clone())).collect();
            kept.reverse();
            Some(V::Map(kept.into()))
        }
        "concat" | "setunion" => {
            let mut out = Vec::new();
            for argument in arguments {
                let V::List(items) = &argument.v else { return None };
                if !evaluator.spend(items.len()) {
                    return None;
                }
                out.extend(items.iter().cloned());
            }
            Some(V::List(out.into()))
        }
        "flatten" => {
            let mut out = Vec::new();
            flatten(first?, &mut out, evaluator, 16)?;
            Some(V::List(out.into()))
        }
        "jsonencode" | "tolist" | "toset" | "tomap" | "sensitive" | "nonsensitive" | "tostring" | "tonumber"
        | "tobool" | "yamlencode" => converted(name, first?),
        "jsondecode" => {
            let value = serde_json::from_str(first?.known_text()?).ok()?;
            Some(crate::iac::statements::of_json(&value, first?.at).v)
        }
        "lookup" => match (&first?.v, arguments.get(1)?.known_text()) {
            (V::Map(_), Some(key)) => {
                first?.get(key).or(arguments.get(2)).map_or(Some(V::Null), |value| Some(value.v.clone()))
            }
            _ => None,
        },
        "element" => {
            let V::List(items) = &first?.v else { return None };
            let index = arguments.get(1)?.to_number()?;
            if items.is_empty() || index < 0.0 {
                return None;
            }
            Some(items[index as usize % items.len()].v.clone())
        }
        "coalesce" => {
            for argument in arguments {
                match &argument.v {
                    V::Null => {}
                    V::Text(text) if text.is_empty() => {}
                    v => return Some(v.clone()),
                }
            }
            Some(V::Null)
        }
        "try" => arguments.iter().find(|value| !matches!(value.v, V::Null)).map(|value| value.v.clone()),
        "can" => Some(V::Bool(!matches!(first?.v, V::Null | V::Unknown(_)))),
        "format" => format(arguments, evaluator),
        "join" => {
            let separator = first?.to_text()?;
            let mut pieces = Vec::new();
            for argument in &arguments[1..] {
                let V::List(items) = &argument.v else { return None };
                for item in items.iter() {
                    let text = item.to_text()?;
                    if !evaluator.spend_text(text.len() + separator.len()) {
                        return None;
                    }
                    pieces.push(text);
                }
            }
            Some(V::Text(Rc::from(pieces.join(&*separator))))
        }
        "length" => match &first?.v {
            V::List(items) => Some(V::Number(items.len() as f64)),
            V::Map(entries) => Some(V::Number(entries.len() as f64)),
            _ => Some(V::Number(first?.known_text()?.chars().count() as f64)),
        },
        "keys" => {
            let V::Map(entries) = &first?.v else { return None };
            let mut keys: Vec<_> = entries.iter().map(|(key, value)| Val::at(V::Text(key.clone()), value.at)).collect();
            keys.sort_by_key(Val::to_text);
            Some(V::List(keys.into()))
        }
        "values" => {
            let V::Map(entries) = &first?.v else { return None };
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by(|a, b| a.0.cmp(&b.0));
            Some(V::List(sorted.into_iter().map(|(_, value)| value.clone()).collect()))
        }
        "zipmap" => {
            let (V::List(keys), V::List(values)) = (&first?.v, &arguments.get(1)?.v) else { return None };
            let pairs = keys.iter().zip(values.iter());
            Some(V::Map(pairs.map(|(key, value)| Some((key.to_text()?, value.clone()))).collect::<Option<_>>()?))
        }
        "compact" | "distinct" | "reverse" | "sort" | "slice" | "contains" | "one" | "sum" | "range"
        | "setsubtract" | "setintersection" | "coalescelist" | "anytrue" | "alltrue" => {
            lists(name, arguments, evaluator)
        }
        "min" | "max" => {
            let numbers: Vec<f64> = arguments.iter().map(Val::to_number).collect::<Option<_>>()?;
            let pick = if name == "min" { f64::min } else { f64::max };
            numbers.into_iter().reduce(pick).map(V::Number)
        }
        "abs" => Some(V::Number(first?.to_number()?.abs())),
        "ceil" => Some(V::Number(first?.to_number()?.ceil())),
        "floor" => Some(V::Number(first?.to_number()?.floor())),
        "pow" => Some(V::Number(first?.to_number()?.powf(arguments.get(1)?.to_number()?))),
        _ => texts(name, arguments, evaluator),
    }
}

fn converted(name: &str, value: &Val) -> Option<V> {
    match name {
        "tostring" => match &value.v {
            V::Null => Some(V::Null),
            _ => value.to_text().map(V::Text),
        },
        "tonumber" => value.to_number().map(V::Number),
        "tobool" => value.to_bool().map(V::Bool),
        // A text of JSON stays what it says: policies look into it.
        _ => Some(value.v.clone()),
    }
}

fn flatten(value: &Val, out: &mut Vec<Val>, evaluator: &Evaluator<'_>, depth: u32) -> Option<()> {
    let V::List(items) = &value.v else { return None };
    for item in items.iter() {
        if !evaluator.spend(1) {
            return None;
        }
        match &item.v {
            V::List(_) if depth > 0 => flatten(item, out, evaluator, depth - 1)?,
            V::Unknown(_) => return None,
            _ => out.push(item.clone()),
        }
    }
    Some(())
}

fn lists(name: &str, arguments: &[Val], evaluator: &Evaluator<'_>) -> Option<V> {
    let first = arguments.first()?;
    if name == "range" {
        let numbers: Vec<f64> = arguments.iter().map(Val::to_number).collect::<Option<_>>()?;
        let (from, to) = if numbers.len() > 1 { (numbers[0], numbers[1]) } else { (0.0, numbers[0]) };
        let step = numbers.get(2).copied().unwrap_or(1.0);
        // Terraform refuses more too.
        if step <= 0.0 || (to - from) / step > 1024.0 {
            return None;
        }
        let mut out = Vec::new();
        let mut at = from;
        while at < to && evaluator.spend(1) {
            out.push(Val::at(V::Number(at), first.at));
            at += step;
        }
        return Some(V::List(out.into()));
    }
    if name == "coalescelist" {
        let found = arguments.iter().find(|value| !matches!(&value.v, V::List(items) if items.is_empty()))?;
        return matches!(found.v, V::List(_)).then(|| found.v.clone());
    }
    let V::List(items) = &first.v else { return None };
    // Those that compare each with each pay for it.
    let other = match arguments.get(1).map(|value| &value.v) {
        Some(V::List(items)) => items.len(),
        _ => items.len(),
    };
    let pays = matches!(name, "distinct" | "setsubtract" | "setintersection");
    if !evaluator.spend(if pays { items.len().saturating_mul(other) } else { items.len() }) {
        return None;
    }
    let within = |value: &Val, list: &[Val]| list.iter().any(|item| same(item, value) == Some(true));
    Some(match name {
        "compact" => {
            let keep =
                |item: &&Val| !matches!(&item.v, V::Null) && !matches!(&item.v, V::Text(text) if text.is_empty());
            V::List(items.iter().filter(keep).cloned().collect())
        }
        "distinct" => {
            let mut out: Vec<Val> = Vec::new();
            for item in items.iter() {
                if !within(item, &out) {
                    out.push(item.clone());
                }
            }
            V::List(out.into())
        }
        "reverse" => V::List(items.iter().rev().cloned().collect()),
        "sort" => {
            let mut sorted = items.to_vec();
            sorted.sort_by_key(Val::to_text);
            V::List(sorted.into())
        }
        "slice" => {
            let (from, to) = (arguments.get(1)?.to_number()? as usize, arguments.get(2)?.to_number()? as usize);
            V::List(items.get(from..to.min(items.len()))?.into())
        }
        "contains" => {
            let wanted = arguments.get(1)?;
            if within(wanted, items) {
                V::Bool(true)
            } else if wanted.first_unknown().is_some() || first.first_unknown().is_some() {
                return None;
            } else {
                V::Bool(false)
            }
        }
        "one" => items.first().map_or(V::Null, |item| item.v.clone()),
        "sum" => V::Number(items.iter().map(Val::to_number).sum::<Option<f64>>()?),
        "anytrue" => V::Bool(items.iter().map(Val::to_bool).collect::<Option<Vec<_>>>()?.contains(&true)),
        "alltrue" => V::Bool(!items.iter().map(Val::to_bool).collect::<Option<Vec<_>>>()?.contains(&false)),
        _ => {
            let V::List(others) = &arguments.get(1)?.v else { return None };
            let keep = name == "setintersection";
            V::List(items.iter().filter(|item| within(item, others) == keep).cloned().collect())
        }
    })
}

fn texts(name: &str, arguments: &[Val], evaluator: &Evaluator<'_>) -> Option<V> {
    let text = arguments.first()?.to_text()?;
    if text.contains(UNKNOWN_START) {
        return None;
    }
    let second = || arguments.get(1).and_then(Val::known_text);
    if !evaluator.spend_text(text.len()) {
        return None;
    }
    let made = match name {
        "lower" => text.to_lowercase(),
        "upper" => text.to_uppercase(),
        "title" => {
            let mut chars = text.chars();
            chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
        }
        "trimspace" => text.trim().to_owned(),
        "chomp" => text.trim_end_matches(['\n', '\r']).to_owned(),
        "trim" => text.trim_matches(|c| second().unwrap_or_default().contains(c)).to_owned(),
        "trimprefix" => text.strip_prefix(second()?).unwrap_or(&text).to_owned(),
        "trimsuffix" => text.strip_suffix(second()?).unwrap_or(&text).to_owned(),
        "base64encode" => base64::encode(&text),
        "base64decode" => base64::decode(&text)?,
        "strrev" => text.chars().rev().collect(),
        "startswith" => return Some(V::Bool(text.starts_with(second()?))),
        "endswith" => return Some(V::Bool(text.ends_with(second()?))),
        "strcontains" => return Some(V::Bool(text.contains(second()?))),
        "parseint" => {
            let radix = arguments.get(1)?.to_number()? as u32;
            if !(2..=36).contains(&radix) {
                return None;
            }
            return i64::from_str_radix(&text, radix).ok().map(|number| V::Number(number as f64));
        }
        "split" => {
            let whole = second()?;
            let at = arguments.get(1)?.at;
            if !evaluator.spend(whole.len() / text.len().max(1)) {
                return None;
            }
            return Some(V::List(whole.split(&*text).map(|piece| Val::text(piece, at)).collect()));
        }
        "substr" => {
            let start = arguments.get(1)?.to_number()?;
            let length = arguments.get(2)?.to_number()?;
            let start = if start < 0.0 { text.chars().count() as f64 + start } else { start };
            let rest = text.chars().skip(start.max(0.0) as usize);
            if length < 0.0 { rest.collect() } else { rest.take(length as usize).collect() }
        }
        "replace" => {
            let (from, to) = (second()?, arguments.get(2)?.known_text()?);
            match from.strip_prefix('/').and_then(|from| from.strip_suffix('/')) {
                Some(pattern) => regex_lite::Regex::new(pattern).ok()?.replace_all(&text, to).into_owned(),
                None if evaluator.spend_text(text.matches(from).count().saturating_mul(to.len())) => {
                    text.replace(from, to)
                }
                None => return None,
            }
        }
        _ => return None,
    };
    Some(V::Text(Rc::from(made)))
}

/// `%s`, `%d`, `%q`, `%v`, `%t`, `%%`; widths are left out.
fn format(arguments: &[Val], evaluator: &Evaluator<'_>) -> Option<V> {
    let pattern = arguments.first()?.known_text()?;
    let mut out = String::new();
    let mut next = arguments[1..].iter();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let verb = characters.by_ref().find(|c| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '#' | ' ' | '.')))?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = next.next()?;
        let text = match &value.v {
            V::Number(number) => Rc::from(number_text(*number)),
            _ => value.to_text()?,
        };
        if !evaluator.spend_text(text.len()) {
            return None;
        }
        if verb == 'q' {
            out.push('"');
            out.push_str(&text);
            out.push('"');
        } else {
            out.push_str(&text);
        }
    }
    Some(V::Text(Rc::from(out)))
}
