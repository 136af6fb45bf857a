//! Rule sets as programs, and most people, write them: one thing a line, in the plainest of TOML's ways to say it.
//!
//! A million resources are read in a fraction of the time and memory that a reader of all TOML takes. Whatever is
//! written otherwise, and any problem, is left to that reader, so there is one place that tells people what to mend.
//! What a table means is the common `Reader`'s: this file only cuts lines into keys and values.
use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::{Places, Reader};
use crate::compile;
use crate::problem::Gathered;
use crate::rule::{FileName, RuleSet};

/// Reads `text`; `None` when it is not as plain as this file knows, or has a problem.
pub(super) fn read(file: &str, text: &str) -> Option<RuleSet> {
    let mut rules = RuleSet {
        file: FileName(file.to_owned()),
        ..RuleSet::default()
    };
    let mut reader = Reader {
        places: Places::new(text),
        problems: Gathered::new(file),
        whole: true,
    };
    let mut table: Option<Table<'_>> = None;
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        let begin = end;
        end += line.len();
        let line = line.strip_suffix('\n').unwrap_or(line);
        match line.as_bytes().first() {
            None => {}
            Some(b'#') => is_plain(line).then_some(())?,
            Some(b'[') => {
                let next = Table::new(line, begin)?;
                if let Some(table) = table.replace(next) {
                    table.add_to(&mut rules, &mut reader)?;
                }
            }
            Some(_) => table.as_mut()?.entry(line, begin)?,
        }
    }
    if let Some(table) = table {
        table.add_to(&mut rules, &mut reader)?;
    }
    if let Some(last) = rules.systems.last_mut() {
        last.resources.shrink_to_fit();
    }
    rules.systems.shrink_to_fit();
    rules.tests.shrink_to_fit();
    compile::conflicts(&rules, &mut reader.problems);
    reader.problems.settle(rules).ok()
}

/// A table whose lines are being read.
struct Table<'t> {
    kind: Kind,
    begin: usize,
    entries: DeTable<'t>,
}

#[derive(Clone, Copy)]
enum Kind {
    System,
    Resource,
    Test,
}

impl<'t> Table<'t> {
    fn new(line: &str, begin: usize) -> Option<Self> {
        let kind = match line {
            "[[system]]" => Kind::System,
            "[[system.resource]]" => Kind::Resource,
            "[[test]]" => Kind::Test,
            _ => return None,
        };
        Some(Self {
            kind,
            begin,
            entries: DeTable::new(),
        })
    }

    /// Takes a line `key = value`.
    fn entry(&mut self, line: &'t str, begin: usize) -> Option<()> {
        let (key, value) = line.split_once(" = ")?;
        let is_bare = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        if key.is_empty() || !key.bytes().all(is_bare) {
            return None;
        }
        let value = value_of(value, begin + line.len() - value.len())?;
        let key = Spanned::new(begin..begin + key.len(), Cow::Borrowed(key));
        // A key that comes twice is a problem.
        self.entries.insert(key, value).is_none().then_some(())
    }

    fn add_to(self, rules: &mut RuleSet, reader: &mut Reader<'_>) -> Option<()> {
        let place = reader.places.at(self.begin);
        match self.kind {
            Kind::System => {
                let system = reader.system(&self.entries, place)?;
                if let Some(before) = rules.systems.last_mut() {
                    before.resources.shrink_to_fit();
                }
                rules.systems.push(system);
            }
            Kind::Resource => {
                let system = rules.systems.last_mut()?;
                let resource = reader.resource(&self.entries, place, system.encoded_slash)?;
                system.resources.push(resource);
            }
            Kind::Test => rules.tests.push(reader.test(&self.entries, place)?),
        }
        // Whoever reads on would only find more of what is read again anyway.
        reader.problems.is_empty().then_some(())
    }
}

/// A value that takes the rest of its line.
fn value_of(text: &str, begin: usize) -> Option<Spanned<DeValue<'_>>> {
    let value = match text {
        "true" => DeValue::Boolean(true),
        "false" => DeValue::Boolean(false),
        _ => match text.strip_prefix('[') {
            Some(inside) => DeValue::Array(list(inside.strip_suffix(']')?, begin + 1)?),
            None => DeValue::String(Cow::Borrowed(string(text)?)),
        },
    };
    Some(Spanned::new(begin..begin + text.len(), value))
}

/// Strings with a comma and a blank between them.
fn list(inside: &str, mut begin: usize) -> Option<DeArray<'_>> {
    let mut list = DeArray::new();
    if inside.is_empty() {
        return Some(list);
    }
    for text in inside.split(", ") {
        let value = DeValue::String(Cow::Borrowed(string(text)?));
        list.push(Spanned::new(begin..begin + text.len(), value));
        begin += text.len() + 2;
    }
    Some(list)
}

/// A text in quotes, in which every character stands for itself.
fn string(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('"')?.strip_suffix('"')?;
    let stands_for_itself = |byte: u8| byte != b'"' && byte != b'\\';
    (is_plain(inside) && inside.bytes().all(stands_for_itself)).then_some(inside)
}

/// Whether TOML allows these characters in a comment and in a string.
fn is_plain(text: &str) -> bool {
    !text
        .bytes()
        .any(|byte| (byte < 0x20 && byte != b'\t') || byte == 0x7f)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::read_any;
    use super::*;
    use crate::sample::Sample;

    const PLAIN: &str = "# rules of \u{e4} landscape\n\n[[system]]\nname = \"erp\"\nvirtual = \"ERP.virtual:80\"\n\
        protocol = \"http\"\ninternal = \"http://10.1.2.3:80\"\nencoded_slash = \"keep\"\n\n[[system.resource]]\n\
        path = \"/a%2Fb\"\nscope = \"subtree\"\nmethods = [\"GET\", \"HEAD\"]\nupgrade = true\n\n\
        [[system.resource]]\npath = \"/b\"\ndescription = \"\u{e4}, \u{20ac}\"\nactive = false\n\n\
        [[test]]\nrequest = \"GET http://erp.virtual/b\"\nexpect = \"deny\"\n\n[[system]]\nvirtual = \"db:1-2\"\n\
        protocol = \"tcp\"\ninternal = \"db.internal:5-6\"";

    /// With every line and column, which equality passes over.
    fn told(rules: &RuleSet) -> String {
        format!("{rules:#?}")
    }

    fn is_read_as_by_the_reader_of_all_toml(text: &str) -> bool {
        let Some(plain) = read("r.toml", text) else {
            return false;
        };
        let any = read_any("r.toml", text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
        assert_eq!(told(&plain), told(&any), "{text}");
        true
    }

    #[test]
    fn plain_rules_are_read_here_as_the_reader_of_all_toml_reads_them() {
        assert!(is_read_as_by_the_reader_of_all_toml(PLAIN));
        assert!(is_read_as_by_the_reader_of_all_toml(""));
        let mut here = 0;
        for seed in 0..500 {
            let text = Sample::new(seed).rule_set().to_string();
            here += u32::from(is_read_as_by_the_reader_of_all_toml(&text));
        }
        assert!(here > 450, "only {here} of 500 sampled rule sets are plain");
    }

    #[test]
    fn what_is_written_in_another_way_is_left_to_the_reader_of_all_toml() {
        for (plain, other) in [
            ("name = \"erp\"", "name = 'erp'"),
            ("\u{e4}, \u{20ac}", "\\u00e4"),
            ("name = \"erp\"", "name=\"erp\""),
            ("name = \"erp\"", "name = \"erp\" # prod"),
            ("name = \"erp\"", "\"name\" = \"erp\""),
            ("name = \"erp\"", "name = \"\"\"erp\"\"\""),
            ("[\"GET\", \"HEAD\"]", "[\"GET\",\"HEAD\"]"),
            ("[\"GET\", \"HEAD\"]", "[\n\"GET\", \"HEAD\",\n]"),
            ("[[system]]\nname", "[[ system ]]\nname"),
            ("[[system]]\nname", "[[system]]\r\nname"),
        ] {
            let text = PLAIN.replacen(plain, other, 1);
            assert_ne!(text, PLAIN, "{plain}");
            assert!(read("r.toml", &text).is_none(), "{other}");
            assert!(read_any("r.toml", &text).is_ok(), "{other}");
        }
    }

    #[test]
    fn whatever_has_a_problem_is_left_to_the_reader_of_all_toml() {
        for (right, wrong) in [
            ("name = \"erp\"", "nmae = \"erp\""),
            ("name = \"erp\"", "name = \"erp\"\nname = \"erp\""),
            ("name = \"erp\"", "name = \"e\trp\""),
            ("name = \"erp\"", "name = \"e\u{1}rp\""),
            ("name = \"erp\"", "name = \"e\"rp\""),
            // Where any text may stand, too.
            ("\u{e4}, \u{20ac}", "\u{e4}\", \u{20ac}"),
            ("\u{e4}, \u{20ac}", "\u{e4}\u{7f}"),
            ("# rules", "# \u{7f}rules"),
            ("upgrade = true", "upgrade = \"true\""),
            ("upgrade = true", "upgrade = yes"),
            ("path = \"/b\"", "path = \"b\""),
            (
                "[[system]]\nname",
                "[[system.resource]]\npath = \"/\"\n[[system]]\nname",
            ),
            ("[[test]]", "[test]"),
        ] {
            let text = PLAIN.replacen(right, wrong, 1);
            assert_ne!(text, PLAIN, "{right}");
            assert!(read("r.toml", &text).is_none(), "{wrong}");
            assert!(read_any("r.toml", &text).is_err(), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn however_plain_rules_are_changed_what_is_read_here_is_right(
            seed in 0_u64..1000,
            changes in prop::collection::vec((any::<prop::sample::Index>(), "[ -~\t\r\n\u{e4}]{0,3}|\\[\\[test]]|\"\"\"|\\\\u0041"), 1..4),
        ) {
            let mut text = Sample::new(seed).rule_set().to_string();
            for (at, with) in changes {
                let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
                if places.is_empty() {
                    continue;
                }
                let from = *at.get(&places);
                let one = text[from..].chars().next().map_or(0, char::len_utf8);
                text.replace_range(from..from + one, &with);
            }
            is_read_as_by_the_reader_of_all_toml(&text);
        }
    }
}
