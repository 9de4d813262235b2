//! Paths into configuration files, as `kubectl -o jsonpath` has them: text with expressions in braces, fields, indices, slices, `..`,
//! comparisons of list items, `range` and `end`.

use serde_json::Value;

use super::report::go;

/// A path, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Path(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Values(Vec<Step>),
    Range(Vec<Step>, Vec<Part>),
}

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    All,
    Slice {
        from: Option<i64>,
        to: Option<i64>,
        single: bool,
        step: usize,
    },
    Union(Vec<Step>),
    Below,
    /// What an item has to have: a path, and what it is compared with.
    Where(Vec<Step>, Option<(&'static str, Value)>),
    Quoted(String),
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

const OPERATORS: [&str; 6] = ["==", "!=", "<=", ">=", "<", ">"];

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// What is no path, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { text, at: 0, depth: 0 };
        let parts = reader.parts(false)?;
        Ok(Self(parts))
    }

    /// The values as text: those of one expression with blanks between.
    ///
    /// # Errors
    /// An index that a list does not have, or of what is no list.
    pub fn text_of(&self, root: &Value) -> Result<String, String> {
        let mut out = String::new();
        write(&self.0, root, &mut out)?;
        Ok(out)
    }
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn parts(&mut self, in_range: bool) -> Result<Vec<Part>, String> {
        self.depth += 1;
        if self.depth > 20 {
            return Err("ranges nested too deep".to_owned());
        }
        let mut parts = Vec::new();
        while !self.rest().is_empty() {
            let Some(open) = self.rest().find('{') else {
                parts.push(Part::Text(self.rest().to_owned()));
                self.at = self.text.len();
                break;
            };
            if open > 0 {
                parts.push(Part::Text(self.rest()[..open].to_owned()));
            }
            self.at += open + 1;
            let inside = self.rest().trim_start();
            self.at = self.text.len() - inside.len();
            if inside.starts_with("end") {
                self.at += "end".len();
                self.close()?;
                if in_range {
                    self.depth -= 1;
                    return Ok(parts);
                }
                return Err("`end` without `range`".to_owned());
            }
            if inside.starts_with("range") {
                self.at += "range".len();
                let steps = self.steps("}")?;
                self.close()?;
                parts.push(Part::Range(steps, self.parts(true)?));
                continue;
            }
            let steps = self.steps("}")?;
            self.close()?;
            parts.push(match steps.as_slice() {
                [Step::Quoted(text)] => Part::Text(text.clone()),
                _ => Part::Values(steps),
            });
        }
        if in_range { Err("`range` without `end`".to_owned()) } else { Ok(parts) }
    }

    fn close(&mut self) -> Result<(), String> {
        let inside = self.rest().trim_start();
        self.at = self.text.len() - inside.len();
        if !inside.starts_with('}') {
            return Err(format!("`}}` expected before `{}`", inside.chars().take(10).collect::<String>()));
        }
        self.at += 1;
        Ok(())
    }

    /// Steps up to one of the ending characters.
    fn steps(&mut self, ends: &str) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        loop {
            let Some(next) = self.rest().chars().next() else { return Err("a path that does not end".to_owned()) };
            if ends.contains(next) {
                return Ok(steps);
            }
            match next {
                ' ' | '@' | '$' => self.at += 1,
                '.' if self.rest().starts_with("..") => {
                    self.at += 2;
                    steps.push(Step::Below);
                    if self.rest().starts_with(|next: char| next.is_alphanumeric() || next == '*') {
                        steps.push(self.field());
                    }
                }
                '.' => {
                    self.at += 1;
                    if !self.rest().starts_with(['[', '}', ' ']) {
                        steps.push(self.field());
                    }
                }
                '[' => steps.push(self.bracket()?),
                quote @ ('\'' | '"') => {
                    let inside = &self.rest()[1..];
                    let end = inside.find(quote).ok_or("a text that does not end")?;
                    steps.push(Step::Quoted(inside[..end].replace("\\n", "\n").replace("\\t", "\t")));
                    self.at += end + 2;
                }
                _ => return Err(format!("`{next}` in a path")),
            }
        }
    }

    fn field(&mut self) -> Step {
        let mut name = String::new();
        let mut characters = self.rest().char_indices();
        let mut end = self.rest().len();
        while let Some((at, character)) = characters.next() {
            match character {
                '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
                ' ' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}' | '=' | '!' | '<' | '>' | ')' => {
                    end = at;
                    break;
                }
                _ => name.push(character),
            }
        }
        self.at += end;
        if name == "*" { Step::All } else { Step::Field(name) }
    }

    fn bracket(&mut self) -> Result<Step, String> {
        if self.rest().starts_with("[?(") {
            self.at += 3;
            let left = self.steps("=!<>)")?;
            let operator = OPERATORS.into_iter().find(|operator| self.rest().starts_with(operator));
            let compared = match operator {
                None => None,
                Some(operator) => {
                    self.at += operator.len();
                    let end = self.rest().find(")]").ok_or("`)]` is missing")?;
                    let text = self.rest()[..end].trim();
                    let plain = text.trim_matches(['"', '\'']);
                    let value = if plain.len() < text.len() {
                        Value::from(plain)
                    } else {
                        serde_json::from_str(plain).map_err(|_| format!("`{plain}` is compared with"))?
                    };
                    self.at += end;
                    Some((operator, value))
                }
            };
            if !self.rest().starts_with(")]") {
                return Err("`)]` is missing".to_owned());
            }
            self.at += 2;
            return Ok(Step::Where(left, compared));
        }
        let end = self.rest().find(']').ok_or("`]` is missing")?;
        let inside = self.rest()[1..end].to_owned();
        self.at += end + 1;
        let mut steps = inside.split(',').map(|part| index(part.trim())).collect::<Result<Vec<_>, _>>()?;
        Ok(if steps.len() == 1 { steps.remove(0) } else { Step::Union(steps) })
    }
}

fn index(text: &str) -> Result<Step, String> {
    if text == "*" {
        return Ok(Step::Slice { from: None, to: None, single: false, step: 1 });
    }
    if let Some(name) = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        return Ok(Step::Field(name.trim_start_matches('.').replace('\\', "")));
    }
    let number = |text: &str| match text.trim() {
        "" => Ok(None),
        text => text.parse::<i64>().map(Some).map_err(|_| format!("`{text}` is no index")),
    };
    let parts: Vec<_> = text.split(':').collect();
    match parts[..] {
        [single] => {
            let single = number(single)?.ok_or("an index is missing")?;
            Ok(Step::Slice { from: Some(single), to: None, single: true, step: 1 })
        }
        [from, to] => Ok(Step::Slice { from: number(from)?, to: number(to)?, single: false, step: 1 }),
        [from, to, step] => {
            let step = number(step)?.unwrap_or(1);
            let step = usize::try_from(step).ok().filter(|step| *step > 0).ok_or("a step above 0 is expected")?;
            Ok(Step::Slice { from: number(from)?, to: number(to)?, single: false, step })
        }
        _ => Err(format!("`{text}` is no index")),
    }
}

fn write(parts: &[Part], root: &Value, out: &mut String) -> Result<(), String> {
    for part in parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Values(steps) => {
                let values = follow(steps, vec![root])?;
                let texts: Vec<_> = values.into_iter().map(text).collect();
                out.push_str(&texts.join(" "));
            }
            Part::Range(steps, body) => {
                for value in follow(steps, vec![root])? {
                    write(body, value, out)?;
                }
            }
        }
    }
    Ok(())
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            number.as_f64().map_or_else(String::new, |number| number.to_string())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => go::escaped_json(&value.to_string()),
    }
}

fn follow<'v>(steps: &[Step], mut values: Vec<&'v Value>) -> Result<Vec<&'v Value>, String> {
    for step in steps {
        let mut next = Vec::new();
        for value in values {
            take(step, value, &mut next)?;
        }
        values = next;
    }
    Ok(values)
}

fn take<'v>(step: &Step, value: &'v Value, out: &mut Vec<&'v Value>) -> Result<(), String> {
    match step {
        Step::Field(name) => out.extend(value.get(name.as_str())),
        Step::All => match value {
            Value::Array(items) => out.extend(items),
            Value::Object(fields) => out.extend(fields.values()),
            _ => {}
        },
        Step::Slice { .. } if value.is_null() => {}
        Step::Slice { from, to, single, step } => {
            let Value::Array(items) = value else { return Err("an index of what is no list".to_owned()) };
            let length = items.len() as i64;
            let place = |at: i64| if at < 0 { at + length } else { at };
            let from = place(from.unwrap_or(0));
            let to = if *single { from + 1 } else { place(to.unwrap_or(length)) };
            if from == to {
                return Ok(());
            }
            if from < 0 || from >= length || to > length || from > to {
                return Err(format!("array index out of bounds: index {from}, length {length}"));
            }
            out.extend(items[from as usize..to as usize].iter().step_by(*step));
        }
        Step::Union(steps) => steps.iter().try_for_each(|step| take(step, value, out))?,
        Step::Below => below(value, out),
        Step::Where(steps, compared) => {
            let Value::Array(items) = value else { return Err("a choice among what is no list".to_owned()) };
            for item in items {
                let found = follow(steps, vec![item])?;
                let chosen = match compared {
                    None => !found.is_empty(),
                    Some((operator, wanted)) => found.first().is_some_and(|found| compare(found, operator, wanted)),
                };
                if chosen {
                    out.push(item);
                }
            }
        }
        Step::Quoted(_) => {}
    }
    Ok(())
}

/// Everything that has something in it.
fn below<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    let inner: Vec<_> = match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(fields) => fields.values().collect(),
        _ => return,
    };
    out.push(value);
    inner.into_iter().for_each(|inner| below(inner, out));
}

fn compare(found: &Value, operator: &str, wanted: &Value) -> bool {
    let order = match (found.as_f64(), wanted.as_f64(), found.as_str(), wanted.as_str()) {
        (Some(found), Some(wanted), _, _) => found.partial_cmp(&wanted),
        (_, _, Some(found), Some(wanted)) => Some(found.cmp(wanted)),
        _ if found == wanted => Some(std::cmp::Ordering::Equal),
        _ => return operator == "!=",
    };
    order.is_some_and(|order| holds(order, operator))
}

/// Whether two things of that order compare so: `==`, `!=`, `<`, `<=`, `>`, else `>=`.
pub(super) fn holds(order: std::cmp::Ordering, operator: &str) -> bool {
    match operator {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> Result<String, String> {
        let value = serde_json::json!({
            "a": {"b-c": true, "n": 5, "f": 0.5, "none": null, "t": "x y"},
            "list": ["one", "two", "three"],
            "items": [{"name": "p", "port": 1}, {"name": "q", "port": 2}],
        });
        Path::parse(path)?.text_of(&value)
    }

    #[test]
    fn paths_lead_to_text() {
        for (path, expected) in [
            ("{.a.b-c}", "true"),
            ("{.a.n}", "5"),
            ("{.a.f}", "0.5"),
            ("{.a.none}", "null"),
            ("{.a.t}", "x y"),
            ("{.a.missing.more}", ""),
            ("{.a.t.deeper}", ""),
            ("{$.a.n}", "5"),
            ("{.list}", "[\"one\",\"two\",\"three\"]"),
            ("{.list[0]}", "one"),
            ("{.list[-1]}", "three"),
            ("{.list[0:2]}", "one two"),
            ("{.list[*]}", "one two three"),
            ("{.list[0,2]}", "one three"),
            ("{range .list[:]}{}{','}{end}", "one,two,three,"),
            ("{range .items[*]}{.name}={.port};{end}", "p=1;q=2;"),
            ("{range .missing[:]}{}{end}", ""),
            ("{.items[?(@.name==\"q\")].port}", "2"),
            ("{.items[?(@.port>1)].name}", "q"),
            ("{.items[?(@.name)].port}", "1 2"),
            ("{..port}", "1 2"),
            ("{['a'].n}", "5"),
            (".a.n", ".a.n"),
            ("{.a.n}}", "5}"),
        ] {
            assert_eq!(of(path).as_deref(), Ok(expected), "{path}");
        }
    }

    #[test]
    fn what_is_no_path_is_told() {
        for path in ["{.a", "{range .list[:]}{}", "{end}", "{.list[x]}", "{.list[1:2:0]}", "{%}"] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
        assert!(of("{.list[7]}").is_err_and(|why| why.contains("out of bounds")));
        assert!(of("{.a[0]}").is_err());
    }
}
