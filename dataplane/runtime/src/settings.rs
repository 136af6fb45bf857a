//! Configuration files: TOML in, checked values or all problems at once out.
//!
//! A role asks each [`Section`] for its keys and always gets a usable value; what was wrong is written down with line,
//! column and how to mend it, and [`Document::finish`] hands over the whole list before anything listens. What a key
//! means, and which keys exist, is the role's business.

mod section;
#[cfg(test)]
mod tests;
mod value;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use toml_edit::{Item, TableLike};

pub use section::Section;

/// What a program exits with when its configuration is wrong (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIG: u8 = 78;

/// Largest configuration file, in bytes. Default 1 MiB: a thousand times what a gateway's file needs, small enough to
/// be read whole. Worst-case memory: this, twice (text and parsed form), until the program has started.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A configuration file that is TOML, and the problems found in it so far.
#[derive(Debug)]
pub struct Document {
    file: String,
    folder: PathBuf,
    toml: toml_edit::Document<String>,
    ledger: RefCell<Ledger>,
}

impl Document {
    /// Reads and parses `path`. Relative paths inside the file count from the file's folder.
    ///
    /// # Errors
    /// The one problem that keeps the file from being read as TOML at all.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        let file = path.display().to_string();
        let text = read_text(path).map_err(|problem| Problems::one(&file, problem))?;
        let folder = path.parent().unwrap_or_else(|| Path::new("")).to_path_buf();
        Self::parse(file, folder, text)
    }

    /// As [`read`](Self::read), with the text at hand; `file` is what problems are prefixed with.
    ///
    /// # Errors
    /// The first place where the text is not TOML.
    pub fn parse(file: impl Into<String>, folder: PathBuf, text: String) -> Result<Self, Problems> {
        let file = file.into();
        match toml_edit::Document::parse(text.clone()) {
            Ok(toml) => Ok(Self {
                file,
                folder,
                toml,
                ledger: RefCell::default(),
            }),
            Err(error) => {
                let position = error.span().map(|span| position(&text, span.start));
                let message = format!("not TOML: {}", error.message());
                Err(Problems::one(&file, Problem::new(position, "", &message)))
            }
        }
    }

    /// The keys outside of any section, and the way to the sections.
    pub fn root(&self) -> Section<'_> {
        self.ledger
            .borrow_mut()
            .known
            .entry(String::new())
            .or_default();
        Section::root(self, self.toml.as_table())
    }

    /// Adds what nobody asked for to the problems, and hands all of them over, in the order of the file.
    ///
    /// # Errors
    /// When there is at least one.
    pub fn finish(self) -> Result<(), Problems> {
        self.report_unknown(self.toml.as_table(), "");
        self.finish_in_part()
    }

    /// As [`finish`](Self::finish), for whoever asked for some of the keys only: what nobody asked for is no problem.
    ///
    /// # Errors
    /// When there is at least one problem with what was asked for.
    pub fn finish_in_part(self) -> Result<(), Problems> {
        let Self { file, ledger, .. } = self;
        let Ledger {
            mut problems,
            renamed,
            ..
        } = ledger.into_inner();
        // Whoever still writes the old name is told the new one; that the new one is missing is no second problem.
        problems.retain(|problem| {
            !problem.missing
                || !renamed.iter().any(|new| {
                    problem.key == *new
                        || problem
                            .key
                            .strip_prefix(new.as_str())
                            .is_some_and(|rest| rest.starts_with('.'))
                })
        });
        // What has no place in the file (missing sections) comes last.
        problems.sort_by_key(|problem| problem.position.unwrap_or((usize::MAX, 0)));
        problems.dedup();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Problems { file, problems })
        }
    }

    fn report_unknown(&self, table: &dyn TableLike, name: &str) {
        for (key, item) in table.iter() {
            let path = dotted(name, key);
            let (asked, is_section) = {
                let ledger = self.ledger.borrow();
                let asked = ledger
                    .known
                    .get(name)
                    .is_some_and(|keys| keys.contains(key));
                (asked, ledger.known.contains_key(&path))
            };
            if !asked {
                let at = table.key(key).and_then(|key| Some(key.span()?.start));
                self.record(at, &path, &self.unknown_message(name, key, item), false);
            } else if is_section && let Some(table) = item.as_table_like() {
                self.report_unknown(table, &path);
            }
        }
    }

    fn unknown_message(&self, section: &str, key: &str, item: &Item) -> String {
        let ledger = self.ledger.borrow();
        let what = if item.is_value() && !item.is_inline_table() {
            "key"
        } else {
            "section"
        };
        let siblings = ledger.known.get(section);
        if let Some(near) = value::nearest(key, siblings.into_iter().flatten()) {
            return format!("unknown {what}; did you mean `{near}`?");
        }
        let elsewhere = ledger
            .known
            .iter()
            .find(|(name, keys)| *name != section && keys.contains(key));
        if let Some((name, _)) = elsewhere {
            return match name.as_str() {
                "" => format!("unknown {what} here; it belongs before the first section"),
                name => format!("unknown {what} here; it belongs in [{name}]"),
            };
        }
        let mut names: Vec<&str> = siblings.into_iter().flatten().map(String::as_str).collect();
        names.retain(|name| !ledger.renamed_from.contains(&dotted(section, name)));
        if names.is_empty() {
            format!("unknown {what}; nothing may be set here")
        } else {
            format!("unknown {what}; known here: {}", names.join(", "))
        }
    }

    fn know(&self, section: &str, key: &str) {
        let mut ledger = self.ledger.borrow_mut();
        let keys = ledger.known.entry(section.to_owned()).or_default();
        if !keys.contains(key) {
            keys.insert(key.to_owned());
        }
    }

    fn know_section(&self, path: &str) {
        self.ledger
            .borrow_mut()
            .known
            .entry(path.to_owned())
            .or_default();
    }

    fn record(&self, at: Option<usize>, key: &str, message: &str, missing: bool) {
        let position = at.map(|offset| position(self.toml.raw(), offset));
        let mut problem = Problem::new(position, key, message);
        problem.missing = missing;
        self.ledger.borrow_mut().problems.push(problem);
    }
}

/// All that is wrong with one configuration file; displayed as one line each.
#[derive(Debug)]
pub struct Problems {
    file: String,
    problems: Vec<Problem>,
}

impl Problems {
    /// How many there are; never 0.
    pub fn count(&self) -> usize {
        self.problems.len()
    }

    fn one(file: &str, problem: Problem) -> Self {
        Self {
            file: file.to_owned(),
            problems: vec![problem],
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&one_line(&self.file))?;
            if let Some((line, column)) = problem.position {
                write!(f, ":{line}:{column}")?;
            }
            if !problem.key.is_empty() {
                write!(f, ": {}", one_line(&problem.key))?;
            }
            write!(f, ": {}", one_line(&problem.message))?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[derive(Debug, Default)]
struct Ledger {
    problems: Vec<Problem>,
    /// Section path -> the keys and sections somebody asked for in it.
    known: BTreeMap<String, BTreeSet<String>>,
    /// Full paths of the new names of keys whose old name the file still uses.
    renamed: Vec<String>,
    /// Full paths of all old names: never suggested.
    renamed_from: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Problem {
    /// Line and column, from 1, the column in characters.
    position: Option<(usize, usize)>,
    key: String,
    message: String,
    /// A required key that is not there.
    missing: bool,
}

impl Problem {
    fn new(position: Option<(usize, usize)>, key: &str, message: &str) -> Self {
        Self {
            position,
            key: key.to_owned(),
            message: message.to_owned(),
            missing: false,
        }
    }
}

fn read_text(path: &Path) -> Result<String, Problem> {
    let plain = |message: &str| Problem::new(None, "", message);
    value::readable(path).map_err(|why| plain(&why))?;
    let unreadable = |error: std::io::Error| plain(&format!("cannot be read: {error}"));
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .map_err(unreadable)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(plain(&format!(
            "larger than {FILE_BYTES_MAX} bytes; is this the configuration file?"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let sound = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default());
        Problem::new(
            Some(position(&sound, valid)),
            "",
            "not UTF-8 from here on; save the file as UTF-8",
        )
    })
}

/// Line and column of a byte offset, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}

/// `parent.key`, the key quoted when TOML would want it quoted, so that two different paths never look the same.
fn dotted(parent: &str, key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let key = if bare {
        key.to_owned()
    } else {
        format!("{key:?}")
    };
    if parent.is_empty() {
        key
    } else {
        format!("{parent}.{key}")
    }
}

/// A problem is one line, whatever control characters the file brought along.
fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}
