//! What a command prints: text and tables for people, JSON for programs.
//!
//! The one place that writes to standard output. What is printed is decided by the commands; whatever it holds of strangers'
//! words, no control character of it reaches a terminal.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::plane::shown::{plain as word, plain_lines};

/// Standard output in the form that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a program reads along.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// A result, in the form that was asked for.
    pub(crate) fn result(self, text: impl fmt::Display, value: &Value) {
        if self.json {
            let _ = writeln!(io::stdout(), "{}", ascii_controls(&format!("{value:#}")));
        } else {
            print(text);
        }
    }

    /// A line for people; programs get the result only.
    pub(crate) fn line(self, text: impl fmt::Display) {
        if !self.json {
            print(text);
        }
    }

    /// One of many results as JSON, on a line of its own.
    pub(crate) fn json_line(self, value: &Value) {
        let _ = writeln!(io::stdout(), "{}", ascii_controls(&value.to_string()));
    }

    /// Bytes as they are, for scripts and files. A terminal is shown them without what would be an order to it: rules are
    /// often somebody else's.
    pub(crate) fn raw(self, bytes: &[u8]) {
        let mut out = io::stdout();
        let _ = if out.is_terminal() {
            out.write_all(shown(bytes).as_bytes())
        } else {
            out.write_all(bytes)
        };
    }

    /// A hint on standard error, so that it never mixes with a result.
    pub(crate) fn hint(self, text: impl fmt::Display) {
        let _ = writeln!(io::stderr(), "{}", plain_lines(&text.to_string()));
    }
}

/// A reader that has gone away (`adit ... | head -1`) has seen enough; that is no failure of ours.
fn print(text: impl fmt::Display) {
    let _ = writeln!(io::stdout(), "{}", plain_lines(&text.to_string()));
}

fn shown(bytes: &[u8]) -> String {
    plain_lines(&String::from_utf8_lossy(bytes))
}

/// JSON in which every control character is escaped, not only those that JSON itself does not allow.
fn ascii_controls(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for char in json.chars() {
        if char.is_control() && char != '\n' {
            text.push_str(&format!("\\u{:04x}", u32::from(char)));
        } else {
            text.push(char);
        }
    }
    text
}

/// Columns of text with a heading; each is as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<C: Into<String>>(headings: impl IntoIterator<Item = C>) -> Self {
        Self {
            rows: vec![headings.into_iter().map(Into::into).collect()],
        }
    }

    pub(crate) fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        // A line end within a cell would make a line of its own.
        let cells = cells.into_iter().map(|cell| {
            let cell = cell.into();
            if cell.is_empty() { cell } else { word(&cell) }
        });
        self.rows.push(cells.collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            let end = if index + 1 == self.rows.len() {
                ""
            } else {
                "\n"
            };
            write!(f, "{}{end}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Any JSON as text for people: members one a line, lists of objects as tables.
#[derive(Debug)]
pub(crate) struct Plain<'v>(pub(crate) &'v Value);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        plain(self.0, 0, &mut lines);
        f.write_str(&lines.join("\n"))
    }
}

fn plain(value: &Value, indent: usize, lines: &mut Vec<String>) {
    let space = " ".repeat(indent);
    match value {
        Value::Object(members) => {
            let width = members
                .iter()
                .filter(|(_, value)| is_short(value))
                .map(|(name, _)| name.chars().count())
                .max()
                .unwrap_or(0);
            for (name, value) in members {
                if is_short(value) {
                    lines.push(format!("{space}{name:<width$}  {}", short(value)));
                } else {
                    lines.push(format!("{space}{name}"));
                    plain(value, indent + 2, lines);
                }
            }
        }
        Value::Array(items) => match table(items) {
            Some(table) => lines.extend(
                table
                    .to_string()
                    .lines()
                    .map(|line| format!("{space}{line}")),
            ),
            None => {
                for item in items {
                    if is_short(item) {
                        lines.push(format!("{space}{}", short(item)));
                    } else {
                        lines.push(format!("{space}-"));
                        plain(item, indent + 2, lines);
                    }
                }
            }
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            lines.push(format!("{space}{}", short(value)));
        }
    }
}

/// A table, if every item is an object of short values.
fn table(items: &[Value]) -> Option<Table> {
    let rows: Vec<_> = items
        .iter()
        .map(|item| {
            item.as_object()
                .filter(|members| members.values().all(is_short))
        })
        .collect::<Option<_>>()?;
    let mut headings: Vec<&String> = Vec::new();
    for name in rows.iter().flat_map(|members| members.keys()) {
        if !headings.contains(&name) {
            headings.push(name);
        }
    }
    let mut table = Table::new(headings.iter().map(|heading| heading.to_uppercase()));
    for members in rows {
        table.row(
            headings
                .iter()
                .map(|name| members.get(*name).map_or_else(|| "-".to_owned(), short)),
        );
    }
    Some(table)
}

fn is_short(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items
            .iter()
            .all(|item| !item.is_object() && !item.is_array()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn short(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => word(text),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(short).collect::<Vec<_>>().join(", "),
        Value::Object(_) => "none".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["NAME", "PORT"]);
        table.row(["gröbenzell", "80"]);
        table.row(["b", "20003"]);
        assert_eq!(
            table.to_string(),
            "NAME        PORT\ngröbenzell  80\nb           20003"
        );
    }

    #[test]
    fn a_cell_stays_on_its_line_whoever_wrote_it() {
        let mut table = Table::new(["CALLER", "REQUEST"]);
        table.row(["a\u{1b}[2J", "GET\nhttp://erp"]);
        assert_eq!(table.to_string(), "CALLER  REQUEST\na [2J   GET http://erp");
    }

    #[test]
    fn json_says_the_same_without_a_control_character() {
        let value = json!({"peer": "a\u{1b}\u{7f}\u{9b}2J\n"});
        for text in [format!("{value:#}"), value.to_string()] {
            let text = ascii_controls(&text);
            assert!(!text.contains(|char: char| char.is_control() && char != '\n'));
            assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn rules_of_somebody_else_are_no_orders_to_a_terminal() {
        let rules = "# a\u{9b}2J\u{1b}]0;b\u{7}\n[[system]]\n\tname = \"\u{e4}\"\n";
        assert_eq!(
            shown(rules.as_bytes()),
            "# a 2J ]0;b \n[[system]]\n\tname = \"\u{e4}\"\n"
        );
        assert_eq!(shown(b"\xff\x9b"), "\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_status_reads_as_lines_and_tables() {
        let status = json!({
            "role": "agent",
            "ready": true,
            "location": "",
            "rules": {"version": 3, "hash": "ab"},
            "tunnels": [
                {"gateway": "gw-1", "streams": 2},
                {"gateway": "gw-2", "streams": 0, "last": "reset by peer"},
            ],
            "failures": [],
            "shards": [0, 1],
        });
        let expected = "\
failures  none
location  -
ready     yes
role      agent
rules
  hash     ab
  version  3
shards    0, 1
tunnels
  GATEWAY  STREAMS  LAST
  gw-1     2        -
  gw-2     0        reset by peer";
        assert_eq!(Plain(&status).to_string(), expected);
    }

    #[test]
    fn control_bytes_of_strangers_do_not_reach_the_terminal() {
        let status = json!({"peer": "a\u{1b}[2Jb\nc"});
        assert_eq!(Plain(&status).to_string(), "peer  a [2Jb c");
    }
}
