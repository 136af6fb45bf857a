//! What is wrong with a rule set, said to the person who wrote it: where, what, and the word to mend.
//!
//! All problems are gathered before any is returned. Nothing here reads the text; `parse` and `compile` do.
use core::fmt;

use crate::limits::{PROBLEM_BYTES_MAX, PROBLEMS_MAX};

/// Where in its text a thing was written.
///
/// Two places are always equal: where a rule is written is no part of what it says, so two rule sets that say the
/// same compare equal wherever they were read from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    line: u32,
    column: u32,
}

impl Place {
    pub(crate) const fn new(line: u32, column: u32) -> Self {
        Self { line, column }
    }

    /// The line, counted from 1; 0 for what was never written in a text.
    #[must_use]
    pub const fn line(&self) -> u32 {
        self.line
    }

    /// The column, counted in characters from 1; 0 for what was never written in a text.
    #[must_use]
    pub const fn column(&self) -> u32 {
        self.column
    }
}

impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

/// One thing to mend. Displayed as `file:line:column: message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    file: String,
    line: u32,
    column: u32,
    message: String,
}

impl Problem {
    /// The line of the word to mend, counted from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The column of the word to mend, in characters from 1.
    #[must_use]
    pub fn column(&self) -> u32 {
        self.column
    }

    /// What is wrong and how to mend it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.message);
        }
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )
    }
}

/// All problems of one rule set, in the order of the text; never empty. Displayed one a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    unlisted: usize,
}

impl Problems {
    /// The problems, at most [`PROBLEMS_MAX`] of them.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// How many more there were than are listed.
    #[must_use]
    pub fn unlisted(&self) -> usize {
        self.unlisted
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        if self.unlisted > 0 {
            write!(f, "\nand {} more problems", self.unlisted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Gathers problems while a rule set is read or checked.
#[derive(Debug)]
pub(crate) struct Gathered {
    file: String,
    list: Vec<Problem>,
    unlisted: usize,
}

impl Gathered {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            list: Vec::new(),
            unlisted: 0,
        }
    }

    /// Whether no more problems are kept: they need not be put into words then, only counted.
    pub(crate) fn is_full(&self) -> bool {
        // Reading and checking find problems in different orders; more than the limit are kept so that the first
        // ones of the text are among those shown, yet a text of nothing but problems stays bounded.
        self.list.len() >= 10 * PROBLEMS_MAX
    }

    /// Whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn count(&mut self) {
        self.unlisted += 1;
    }

    pub(crate) fn add(&mut self, place: Place, mut message: String) {
        if self.is_full() {
            self.count();
            return;
        }
        if message.len() > PROBLEM_BYTES_MAX {
            let cut = message.floor_char_boundary(PROBLEM_BYTES_MAX);
            message.truncate(cut);
            message.push_str("...");
        }
        self.list.push(Problem {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            message,
        });
    }

    /// `value` when nothing was found.
    pub(crate) fn settle<T>(mut self, value: T) -> Result<T, Problems> {
        if self.list.is_empty() {
            return Ok(value);
        }
        self.list
            .sort_by_key(|problem| (problem.line, problem.column));
        self.list.dedup();
        let surplus = self.list.len().saturating_sub(PROBLEMS_MAX);
        self.list.truncate(PROBLEMS_MAX);
        Err(Problems {
            list: self.list,
            unlisted: self.unlisted + surplus,
        })
    }
}

/// The word of `known` that `word` was probably meant to be.
pub(crate) fn did_you_mean<'k>(
    word: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    // Comparing costs the product of both lengths, and nobody mistypes a hundred characters.
    if word.len() > 100 {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            let likeness = strsim::jaro_winkler(&lower, &candidate.to_ascii_lowercase());
            (likeness, candidate)
        })
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_listed_in_the_order_of_the_text_and_once_each() {
        let mut gathered = Gathered::new("rules.toml");
        gathered.add(Place::new(9, 1), "late".to_owned());
        gathered.add(Place::new(2, 7), "early".to_owned());
        gathered.add(Place::new(9, 1), "late".to_owned());
        let problems = gathered.settle(()).unwrap_err();
        assert_eq!(
            problems.to_string(),
            "rules.toml:2:7: early\nrules.toml:9:1: late"
        );
    }

    #[test]
    fn no_more_problems_are_listed_than_the_limit_and_the_rest_is_counted() {
        for (found, unlisted) in [(PROBLEMS_MAX, 0), (PROBLEMS_MAX + 1, 1), (2000, 1900)] {
            let mut gathered = Gathered::new("rules.toml");
            for line in 0..found {
                gathered.add(
                    Place::new(u32::try_from(line).unwrap() + 1, 1),
                    "x".to_owned(),
                );
            }
            let problems = gathered.settle(()).unwrap_err();
            assert_eq!(problems.list().len(), PROBLEMS_MAX);
            assert_eq!(problems.unlisted(), unlisted);
        }
    }

    #[test]
    fn a_message_is_cut_where_it_becomes_too_long() {
        let told = |length: usize| {
            let mut gathered = Gathered::new("r");
            gathered.add(Place::new(1, 1), "x".repeat(length));
            gathered.settle(()).unwrap_err().list()[0].message().len()
        };
        assert_eq!(told(PROBLEM_BYTES_MAX), PROBLEM_BYTES_MAX);
        assert_eq!(told(PROBLEM_BYTES_MAX + 1), PROBLEM_BYTES_MAX + 3);
    }

    #[test]
    fn a_mistyped_word_is_recognised_and_a_strange_one_is_not() {
        let known = ["virtual", "internal", "protocol"];
        assert_eq!(did_you_mean("virtaul", known), Some("virtual"));
        assert_eq!(did_you_mean("Protocol", known), Some("protocol"));
        assert_eq!(did_you_mean("zzz", known), None);
    }
}
