//! Typed reads from one section of a configuration file.
//!
//! Every method returns something to go on with, the default or a placeholder when the value is wrong or missing, and
//! leaves the judgement in the document's ledger. The grammars of the values are `value`'s.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml_edit::{Item, TableLike, Value};

use super::{Document, dotted, value};

/// One `[section]` of a [`Document`], or its root; it may be absent from the file, then every key is.
pub struct Section<'d> {
    document: &'d Document,
    /// Dotted path from the root, empty for the root.
    name: String,
    table: Option<&'d dyn TableLike>,
    /// Byte offset of the section's head.
    at: Option<usize>,
}

impl<'d> Section<'d> {
    pub(super) fn root(document: &'d Document, table: &'d dyn TableLike) -> Self {
        Self {
            document,
            name: String::new(),
            table: Some(table),
            at: None,
        }
    }

    /// The section `key` inside this one.
    pub fn section(&self, key: &str) -> Self {
        self.document.know(&self.name, key);
        let name = dotted(&self.name, key);
        self.document.know_section(&name);
        let item = self.item(key);
        let table = item.and_then(Item::as_table_like);
        if let Some(item) = item
            && table.is_none()
        {
            let message = format!(
                "must be a section [{name}], found {}",
                article(item.type_name())
            );
            self.problem(key, &message);
        }
        let at = item.and_then(|item| self.offset(key, item));
        Self {
            document: self.document,
            name,
            table,
            at,
        }
    }

    /// Whether the file has this section.
    pub fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Whether the file sets `key` here.
    pub fn has(&self, key: &str) -> bool {
        self.document.know(&self.name, key);
        self.item(key).is_some()
    }

    /// Whether the file sets `key` here to a string: for a key that takes a word or a number.
    pub fn is_text(&self, key: &str) -> bool {
        self.document.know(&self.name, key);
        let value = self.item(key).and_then(Item::as_value);
        value.is_some_and(Value::is_str)
    }

    /// `ip:port`; without a default the key is required. Placeholder: `0.0.0.0:0`.
    pub fn address(&self, key: &str, default: Option<&str>) -> SocketAddr {
        let placeholder = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let default = default.map(|text| {
            value::address(text).expect("a default address is written in our code and parses")
        });
        self.parsed(key, "\"0.0.0.0:20003\"", value::address)
            .unwrap_or_else(|| {
                default.unwrap_or_else(|| self.required(key, "\"0.0.0.0:20003\"", placeholder))
            })
    }

    /// `ip:port`, or nothing when the key is absent (or wrong).
    pub fn address_opt(&self, key: &str) -> Option<SocketAddr> {
        self.parsed(key, "\"0.0.0.0:20003\"", value::address)
    }

    /// A non-empty list of `host:port`, hosts being names or addresses; required. Single strings are lists of one.
    pub fn addresses_or_names(&self, key: &str) -> Vec<String> {
        const EXAMPLE: &str = "[\"gateway.example:8443\"]";
        let Some(found) = self.value(key) else {
            return self.required(key, EXAMPLE, Vec::new());
        };
        let single = std::slice::from_ref(found);
        let entries: Vec<&Value> = match found.as_array() {
            Some(array) => array.iter().collect(),
            None => single.iter().collect(),
        };
        if entries.is_empty() {
            self.problem(key, &format!("is empty; write {key} = {EXAMPLE}"));
        }
        let mut addresses = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(text) = entry.as_str() else {
                self.wrong_type(key, entry, "a list of strings", EXAMPLE);
                continue;
            };
            match value::address_or_name(text) {
                Err(why) => self.problem_at(key, entry, &why),
                Ok(()) if addresses.iter().any(|known| known == text) => {
                    let message = format!("`{}` is in the list twice", value::clip(text));
                    self.problem_at(key, entry, &message);
                }
                Ok(()) => addresses.push(text.to_owned()),
            }
        }
        addresses
    }

    /// A string; without a default the key is required. Placeholder: empty.
    pub fn string(&self, key: &str, default: Option<&str>) -> String {
        self.string_opt(key).unwrap_or_else(|| match default {
            Some(text) => text.to_owned(),
            None => self.required(key, "\"...\"", String::new()),
        })
    }

    /// A string, or nothing when the key is absent (or wrong).
    pub fn string_opt(&self, key: &str) -> Option<String> {
        self.parsed(key, "\"...\"", |text| Ok(text.to_owned()))
    }

    /// A list of strings.
    pub fn strings(&self, key: &str, default: &[&str]) -> Vec<String> {
        const EXAMPLE: &str = "[\"...\", \"...\"]";
        let default = || default.iter().map(|&text| text.to_owned()).collect();
        let Some(found) = self.value(key) else {
            return default();
        };
        let Some(array) = found.as_array() else {
            self.wrong_type(key, found, "a list of strings", EXAMPLE);
            return default();
        };
        let mut strings = Vec::with_capacity(array.len());
        for entry in array {
            match entry.as_str() {
                Some(text) => strings.push(text.to_owned()),
                None => self.wrong_type(key, entry, "a list of strings", EXAMPLE),
            }
        }
        strings
    }

    /// A whole number within `range`.
    pub fn integer(&self, key: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        debug_assert!(range.contains(&default), "default of {key} is in range");
        let Some(found) = self.value(key) else {
            return default;
        };
        let Some(number) = found.as_integer() else {
            self.wrong_type(key, found, "a whole number", &default.to_string());
            return default;
        };
        let number = i128::from(number);
        let bounds = i128::from(*range.start())..=i128::from(*range.end());
        match u64::try_from(number) {
            Ok(number) if range.contains(&number) => number,
            Ok(_) | Err(_) => {
                self.out_of_range(key, found, &number, &bounds, ToString::to_string);
                default
            }
        }
    }

    /// A length of time within `range`, written `"250ms"`, `"5s"`, `"2m"`, `"1h"` or `"7d"`.
    pub fn duration(
        &self,
        key: &str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        debug_assert!(range.contains(&default), "default of {key} is in range");
        let show = |duration: &Duration| value::show_duration(*duration);
        let example = format!("\"{}\"", show(&default));
        self.ranged(key, &example, value::duration, &range, show)
            .unwrap_or(default)
    }

    /// A size in bytes within `range`, written `"512B"`, `"64KiB"`, `"1MiB"` or `"2GiB"`.
    pub fn bytes(&self, key: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        debug_assert!(range.contains(&default), "default of {key} is in range");
        let show = |bytes: &u64| value::show_bytes(*bytes);
        let example = format!("\"{}\"", show(&default));
        self.ranged(key, &example, value::bytes, &range, show)
            .unwrap_or(default)
    }

    /// `true` or `false`.
    pub fn boolean(&self, key: &str, default: bool) -> bool {
        let Some(found) = self.value(key) else {
            return default;
        };
        found.as_bool().unwrap_or_else(|| {
            self.wrong_type(key, found, "true or false", &default.to_string());
            default
        })
    }

    /// One of `choices`.
    pub fn choice<'c>(&self, key: &str, choices: &[&'c str], default: &'c str) -> &'c str {
        debug_assert!(choices.contains(&default), "default of {key} is a choice");
        self.parsed(key, &format!("\"{default}\""), |text| {
            let found = choices.iter().find(|&&choice| choice == text);
            found.copied().ok_or_else(|| {
                format!(
                    "`{}` is none of the choices; write one of \"{}\"",
                    value::clip(text),
                    choices.join("\", \"")
                )
            })
        })
        .unwrap_or(default)
    }

    /// The path of a file that can be read; required. Placeholder: empty.
    pub fn file(&self, key: &str) -> PathBuf {
        self.file_opt(key)
            .unwrap_or_else(|| self.required(key, "\"/path/to/file\"", PathBuf::new()))
    }

    /// The path of a file that can be read, or nothing when the key is absent (or wrong).
    pub fn file_opt(&self, key: &str) -> Option<PathBuf> {
        self.checked_path(key, |path| value::readable(path).map(drop))
    }

    /// The path of a file that can be read, and by its owner only; required. Placeholder: empty.
    pub fn secret_file(&self, key: &str) -> PathBuf {
        self.secret_file_opt(key)
            .unwrap_or_else(|| self.required(key, "\"/path/to/file\"", PathBuf::new()))
    }

    /// The path of a file that can be read, and by its owner only, or nothing when the key is absent (or wrong).
    pub fn secret_file_opt(&self, key: &str) -> Option<PathBuf> {
        self.checked_path(key, value::secret)
    }

    /// A path that need not exist yet; relative ones, the default too, count from the configuration file's folder.
    pub fn path(&self, key: &str, default: &str) -> PathBuf {
        self.path_opt(key)
            .unwrap_or_else(|| self.document.folder.join(default))
    }

    /// As [`path`](Self::path), or nothing when the key is absent (or wrong).
    pub fn path_opt(&self, key: &str) -> Option<PathBuf> {
        self.checked_path(key, |_| Ok(()))
    }

    /// Records what the role found wrong with `key`: `message` says what, and how to mend it.
    pub fn problem(&self, key: &str, message: &str) {
        let at = match self.item(key) {
            Some(item) => item.span().map(|span| span.start),
            None => None,
        };
        let at = at
            .or_else(|| self.item(key).and_then(|item| self.offset(key, item)))
            .or(self.at);
        let path = dotted(&self.name, key);
        self.document.record(at, &path, message, false);
    }

    /// Says that `old` (a key or section here) is now called `new`: a key here or, with a dot in it, a full path.
    /// A file with the old name is told so, and not also that the new one is missing.
    pub fn renamed(&self, old: &str, new: &str) {
        let new = if new.contains('.') {
            new.to_owned()
        } else {
            dotted(&self.name, new)
        };
        let path = dotted(&self.name, old);
        let mut ledger = self.document.ledger.borrow_mut();
        ledger.renamed_from.insert(path.clone());
        drop(ledger);
        let Some(item) = self.item(old) else { return };
        self.document.know(&self.name, old);
        self.document.record(
            self.offset(old, item),
            &path,
            &format!("is now called `{new}`; rename it"),
            false,
        );
        self.document.ledger.borrow_mut().renamed.push(new);
    }

    fn item(&self, key: &str) -> Option<&'d Item> {
        self.table?.get(key).filter(|item| !item.is_none())
    }

    /// Where `key` is written.
    fn offset(&self, key: &str, item: &Item) -> Option<usize> {
        let key = self.table.and_then(|table| table.key(key));
        // The head of a [section] tells more than the word inside the brackets.
        let head = item.as_table().and_then(toml_edit::Table::span);
        head.or_else(|| key.and_then(toml_edit::Key::span))
            .map(|span| span.start)
    }

    /// The value of `key`, which is known from now on; a table in its place is a problem.
    fn value(&self, key: &str) -> Option<&'d Value> {
        self.document.know(&self.name, key);
        let item = self.item(key)?;
        if item.as_value().is_none() {
            let found = article(item.type_name());
            self.problem(key, &format!("must be a single key, found {found}"));
        }
        item.as_value()
    }

    fn parsed<T>(
        &self,
        key: &str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let found = self.value(key)?;
        let Some(text) = found.as_str() else {
            self.wrong_type(key, found, "a string in quotes", example);
            return None;
        };
        parse(text)
            .map_err(|why| self.problem_at(key, found, &why))
            .ok()
    }

    fn ranged<T: PartialOrd>(
        &self,
        key: &str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        range: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        let parsed = self.parsed(key, example, parse)?;
        if range.contains(&parsed) {
            return Some(parsed);
        }
        let found = self.value(key)?;
        self.out_of_range(key, found, &parsed, range, show);
        None
    }

    fn checked_path(
        &self,
        key: &str,
        check: impl FnOnce(&std::path::Path) -> Result<(), String>,
    ) -> Option<PathBuf> {
        self.parsed(key, "\"/path/to/file\"", |text| {
            if text.is_empty() {
                return Err("is empty; write a path or leave the key out".to_owned());
            }
            let path = self.document.folder.join(text);
            check(&path).map_err(|why| format!("{} {why}", path.display()))?;
            Ok(path)
        })
    }

    /// Records that `key` is missing, unless it is there and was found wrong already.
    fn required<T>(&self, key: &str, example: &str, placeholder: T) -> T {
        if self.item(key).is_none() {
            let path = dotted(&self.name, key);
            let message = if self.name.is_empty() {
                format!("is required; add `{key} = {example}` before the first section")
            } else {
                format!("is required; add `{key} = {example}` to [{}]", self.name)
            };
            self.document.record(self.at, &path, &message, true);
        }
        placeholder
    }

    fn out_of_range<T: PartialOrd>(
        &self,
        key: &str,
        found: &Value,
        number: &T,
        range: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) {
        let (number_shown, low, high) = (show(number), show(range.start()), show(range.end()));
        let side = if number < range.start() {
            format!("below {low}")
        } else {
            format!("above {high}")
        };
        let message = format!("{number_shown} is {side}; write a value from {low} to {high}");
        self.problem_at(key, found, &message);
    }

    fn wrong_type(&self, key: &str, found: &Value, wanted: &str, example: &str) {
        let message = format!(
            "must be {wanted}, found {}; write {key} = {example}",
            article(found.type_name())
        );
        self.problem_at(key, found, &message);
    }

    fn problem_at(&self, key: &str, found: &Value, message: &str) {
        let at = found.span().map(|span| span.start);
        let path = dotted(&self.name, key);
        self.document.record(at, &path, message, false);
    }
}

impl fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section")
            .field("name", &self.name)
            .field("present", &self.is_present())
            .finish_non_exhaustive()
    }
}

fn article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {noun}")
}
