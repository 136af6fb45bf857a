//! One Rust file: its text, its code without comments and literals, and where its tests begin.

/// A Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// The same, with blanks in place of comments and of what stands in literals; as long as `text`, byte by byte.
    pub(crate) code: String,
    /// Where the tests begin: 0 in a file of tests, the end in a file without.
    tests_at: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: String) -> Self {
        let code = blank(&text);
        let of_tests = path.starts_with("tests/")
            || path.starts_with("fuzz/")
            || path.contains("/tests/")
            || path.ends_with("/tests.rs")
            || is_behind_cfg_test(path);
        let tests_at = if of_tests {
            0
        } else {
            code.find("#[cfg(test)]\nmod tests {").unwrap_or(code.len())
        };
        Self {
            path: path.to_owned(),
            text,
            code,
            tests_at,
        }
    }

    /// Code of the product.
    pub(crate) fn product(&self) -> &str {
        &self.code[..self.tests_at]
    }

    /// Text of tests, literals included.
    pub(crate) fn tests(&self) -> &str {
        &self.text[self.tests_at..]
    }

    pub(crate) fn is_in(&self, folder: &str) -> bool {
        self.path
            .strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// The line, counted from 1, on which the byte at `offset` stands.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }

    /// `path:line` of that byte.
    pub(crate) fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path, self.line(offset))
    }
}

/// Whether a module file is declared under `#[cfg(test)]`: its parent says so in the line before.
fn is_behind_cfg_test(path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else {
        return false;
    };
    let module = name.trim_end_matches(".rs");
    let parents = [
        format!("{folder}/lib.rs"),
        format!("{folder}/main.rs"),
        format!("{folder}/mod.rs"),
        format!("{folder}.rs"),
    ];
    parents.iter().any(|parent| {
        crate::tree::read(parent).is_some_and(|text| {
            text.contains(&format!("#[cfg(test)]\nmod {module};"))
                || text.contains(&format!("#[cfg(test)]\npub(crate) mod {module};"))
        })
    })
}

/// The places of `word` in `code`, where it is a whole word.
pub(crate) fn words<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = usize> + 'c {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |at| {
            let before = code[..*at].chars().next_back();
            let after = code[at + word.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
}

/// Every identifier and keyword of `code`, with its place.
pub(crate) fn identifiers(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = code.get(at..)?;
            let start = at + rest.find(is_word)?;
            let length = code[start..]
                .find(|c| !is_word(c))
                .unwrap_or(code.len() - start);
            at = start + length;
            let word = &code[start..at];
            if !word.starts_with(|c: char| c.is_ascii_digit()) {
                return Some((start, word));
            }
        }
    })
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Replaces comments and the insides of literals by blanks. Line ends stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let end = if rest.starts_with("//") {
            at + rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            at + block_comment(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !ends_word(&text[..at])) {
            at + length
        } else if rest.starts_with('"') {
            at + string(rest)
        } else if rest.starts_with('\'') {
            at + character(rest)
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        let literal = rest.starts_with(['"', '\'', 'r', 'b', 'c']);
        // The quotes stay, so that a literal remains one.
        let inside = if literal {
            (at + 1).min(end)..(end - 1).max(at + 1).min(end)
        } else {
            at..end
        };
        for byte in &mut out[inside] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole characters were replaced")
}

fn ends_word(before: &str) -> bool {
    before.chars().next_back().is_some_and(is_word)
}

/// Length of the block comment at the front; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// Length of the string literal at the front.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Length of the raw string literal at the front, if there is one.
fn raw_string(rest: &str) -> Option<usize> {
    let tail = rest
        .strip_prefix('b')
        .or_else(|| rest.strip_prefix('c'))
        .unwrap_or(rest);
    let tail = tail.strip_prefix('r')?;
    let hashes = tail.len() - tail.trim_start_matches('#').len();
    tail[hashes..].strip_prefix('"')?;
    let start = rest.len() - tail.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(
        start
            + rest[start..]
                .find(&end)
                .map_or(rest.len() - start, |at| at + end.len()),
    )
}

/// Length of the character literal at the front, or of the quote of a lifetime.
fn character(rest: &str) -> usize {
    let inside = &rest[1..];
    let length = if inside.starts_with('\\') {
        inside
            .char_indices()
            .skip(2)
            .find(|(_, c)| *c == '\'')
            .map(|(at, _)| at)
    } else {
        let first = inside.chars().next().map_or(0, char::len_utf8);
        inside[first..].starts_with('\'').then_some(first)
    };
    length.map_or(1, |length| length + 2)
}

#[test]
fn comments_and_literals_are_blanked_and_nothing_else() {
    let text = "let a = \"// no\"; // yes\nlet b = 'x'; let c: &'static str = r#\"a\"b\"#; /* x /* y */ z */ d('\\'')";
    let code = blank(text);
    assert_eq!(code.len(), text.len());
    for gone in ["no", "yes", "x", "y", "z", "a\"b"] {
        assert!(!code.contains(gone), "{gone} in {code}");
    }
    for kept in ["let a = \"", "let b = '", "&'static str", "d('"] {
        assert!(code.contains(kept), "{kept} not in {code}");
    }
}
