//! Tables for people: columns as wide as their contents, numbers to the right, and a line instead of an empty table.

/// A table while it is filled.
pub struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    right: Vec<bool>,
}

impl Table {
    /// A head that starts with `>` is aligned to the right.
    pub fn new(heads: &[&'static str]) -> Self {
        Self {
            heads: heads.iter().map(|head| head.trim_start_matches('>')).collect(),
            rows: Vec::new(),
            right: heads.iter().map(|head| head.starts_with('>')).collect(),
        }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        debug_assert_eq!(N, self.heads.len());
        // What peers choose (user agents, names) must not move the cursor of a terminal.
        self.rows.push(cells.iter().map(|cell| printable(cell)).collect());
    }

    /// The table with a newline at its end; `none` where it has no row.
    pub fn render(&self, none: &str) -> String {
        if self.rows.is_empty() {
            return format!("{none}\n");
        }
        let mut widths: Vec<usize> = self.heads.iter().map(|head| head.chars().count()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let heads: Vec<String> = self.heads.iter().map(|head| head.to_uppercase()).collect();
        let mut out = String::new();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                let gap = " ".repeat(width - cell.chars().count());
                let (before, after) = if *right { (gap.as_str(), "") } else { ("", gap.as_str()) };
                line.push_str(&format!("{before}{cell}{after}  "));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Control characters as dots.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

/// `1 phone`, `2 phones`.
pub fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// `1h 02m`, `3m 20s`, `7s`.
pub fn seconds(total: u64) -> String {
    let (hours, minutes, seconds) = (total / 3600, total / 60 % 60, total % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m {seconds:02}s"),
        _ => format!("{hours}h {minutes:02}m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&["number", ">seconds", "agent"]);
        table.row(["101".into(), "7".into(), "Evil\x1b[2J".into()]);
        table.row(["reception".into(), "1200".into(), "ok".into()]);
        assert_eq!(
            table.render("none"),
            "NUMBER     SECONDS  AGENT\n101              7  Evil·[2J\nreception     1200  ok\n"
        );
        assert_eq!(Table::new(&["a"]).render("no calls"), "no calls\n");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!((counted(1, "phone"), counted(0, "phone")), ("1 phone".into(), "0 phones".into()));
    }

    #[test]
    fn durations_have_two_units_at_most() {
        assert_eq!((seconds(7), seconds(200), seconds(3720)), ("7s".into(), "3m 20s".into(), "1h 02m".into()));
    }
}
