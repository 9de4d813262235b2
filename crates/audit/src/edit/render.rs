//! Values as YAML, in block or flow style, or as JSON.

use serde_json::{Map, Value as Json};

#[derive(Debug, Clone, Copy)]
pub(super) struct Style<'t> {
    pub newline: &'t str,
    /// The file is JSON: everything is quoted.
    pub json: bool,
}

impl Style<'_> {
    pub fn flow(self, value: &Json) -> String {
        match value {
            Json::Object(map) if map.is_empty() => "{}".to_owned(),
            Json::Object(map) => format!("{{{}}}", self.flow_entries(map)),
            Json::Array(items) => {
                format!("[{}]", items.iter().map(|item| self.flow(item)).collect::<Vec<_>>().join(", "))
            }
            Json::String(text) => self.text(text),
            Json::Null | Json::Bool(_) | Json::Number(_) => value.to_string(),
        }
    }

    pub fn flow_entries(self, map: &Map<String, Json>) -> String {
        map.iter()
            .map(|(key, value)| format!("{}: {}", self.text(key), self.flow(value)))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// In block style: every line indented by `column`, the last one without its end.
    pub fn block(self, value: &Json, column: usize) -> String {
        let mut lines = Vec::new();
        self.lines(value, column, &mut lines);
        lines.join(self.newline)
    }

    fn lines(self, value: &Json, column: usize, lines: &mut Vec<String>) {
        match value {
            Json::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    let key = self.text(key);
                    match value {
                        Json::Object(inner) if !inner.is_empty() => {
                            lines.push(format!("{:column$}{key}:", ""));
                            self.lines(value, column + 2, lines);
                        }
                        Json::Array(inner) if !inner.is_empty() => {
                            lines.push(format!("{:column$}{key}:", ""));
                            self.lines(value, column + 2, lines);
                        }
                        scalar => lines.push(format!("{:column$}{key}: {}", "", self.flow(scalar))),
                    }
                }
            }
            Json::Array(items) if !items.is_empty() => {
                lines.extend(items.iter().map(|item| format!("{:column$}- {}", "", self.flow(item))));
            }
            other => lines.push(format!("{:column$}{}", "", self.flow(other))),
        }
    }

    fn text(self, text: &str) -> String {
        let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/');
        let is_plain = text.bytes().all(safe)
            && text.starts_with(|first: char| first.is_ascii_alphabetic() || matches!(first, '_' | '/'))
            && crate::model::is_plain_text(text);
        if is_plain && !self.json { text.to_owned() } else { Json::from(text).to_string() }
    }
}
