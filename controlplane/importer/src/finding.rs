//! What a person should know about an import, one by one, and the list of them that cannot grow without bound.
//!
//! What is found is decided by who reads a document; here are the closed list of kinds and how they are told.
use core::fmt;

use adit_policy::limits::DESCRIPTION_BYTES_MAX;

use crate::limits::{FINDINGS_MAX, QUOTED_BYTES_MAX};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "who tells findings treats every weight by name"
)]
pub enum Weight {
    /// Allowed there, and not by the rules that were made.
    LeftOut,
    /// More was allowed there than its words say.
    Wider,
    /// A person has to look: something is not carried over, or not known.
    Look,
    /// Good to know.
    Note,
}

impl Weight {
    /// Every weight, the heaviest first.
    pub const ALL: [Self; 4] = [Self::LeftOut, Self::Wider, Self::Look, Self::Note];

    /// The weight as a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::LeftOut => "left-out",
            Self::Wider => "wider",
            Self::Look => "look",
            Self::Note => "note",
        }
    }
}

/// The closed list of what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a new kind must get a weight and a line in the documents"
)]
pub enum Kind {
    /// A protocol that adit does not carry.
    Protocol,
    /// A member is missing or of the wrong kind.
    Malformed,
    /// A host or port that adit cannot take.
    End,
    /// The system leads into the connector's own machine, its link or a metadata service.
    Loopback,
    /// Two systems have a virtual host and port in common.
    Overlap,
    /// A path that adit refuses because it can be read in two ways.
    Path,
    /// The same path is a resource twice.
    Duplicate,
    /// The system itself is switched off.
    Disabled,
    /// Resources of a system that is not in the document.
    Orphan,
    /// The document does not hold the resources of a system, or not all of them.
    Incomplete,
    /// A prefix ended inside a segment of paths.
    CrossesSegment,
    /// The prefix of every path.
    Everything,
    /// Opaque bytes: nothing of what is said is judged.
    Opaque,
    /// Several ports at once.
    PortRange,
    /// A prefix of names of function modules.
    FunctionPrefix,
    /// A resource that was switched off, below another one that allowed the same.
    StillAllowed,
    /// The user's identity went along.
    Principal,
    /// A setting of SAP RFC or of the network that has no counterpart.
    NotCarried,
    /// A member that is not known.
    UnknownMember,
    /// A value that is not known.
    UnknownValue,
    /// A member is absent, and the narrower meaning was taken.
    Assumed,
    /// A system without resources allows nothing.
    NoResources,
    /// Methods were not asked for.
    AllMethods,
    /// A resource that is switched off, and stays so.
    Suspended,
    /// The backend's certificate.
    BackendTrust,
    /// Odd paths passed there.
    OddPaths,
    /// A part of the document that says nothing about access.
    NotRead,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 27] = [
        Self::Protocol,
        Self::Malformed,
        Self::End,
        Self::Loopback,
        Self::Overlap,
        Self::Path,
        Self::Duplicate,
        Self::Disabled,
        Self::Orphan,
        Self::Incomplete,
        Self::CrossesSegment,
        Self::Everything,
        Self::Opaque,
        Self::PortRange,
        Self::FunctionPrefix,
        Self::StillAllowed,
        Self::Principal,
        Self::NotCarried,
        Self::UnknownMember,
        Self::UnknownValue,
        Self::Assumed,
        Self::NoResources,
        Self::AllMethods,
        Self::Suspended,
        Self::BackendTrust,
        Self::OddPaths,
        Self::NotRead,
    ];

    /// How much it matters.
    #[must_use]
    pub fn weight(self) -> Weight {
        match self {
            Self::Protocol
            | Self::Malformed
            | Self::End
            | Self::Loopback
            | Self::Overlap
            | Self::Path
            | Self::Duplicate
            | Self::Disabled
            | Self::Orphan
            | Self::Incomplete => Weight::LeftOut,
            Self::CrossesSegment
            | Self::Everything
            | Self::Opaque
            | Self::PortRange
            | Self::FunctionPrefix
            | Self::StillAllowed => Weight::Wider,
            Self::Principal
            | Self::NotCarried
            | Self::UnknownMember
            | Self::UnknownValue
            | Self::Assumed
            | Self::NoResources => Weight::Look,
            Self::AllMethods
            | Self::Suspended
            | Self::BackendTrust
            | Self::OddPaths
            | Self::NotRead => Weight::Note,
        }
    }

    /// The kind as a word, for programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Malformed => "malformed",
            Self::End => "end",
            Self::Loopback => "loopback",
            Self::Overlap => "overlap",
            Self::Path => "path",
            Self::Duplicate => "duplicate",
            Self::Disabled => "disabled",
            Self::Orphan => "orphan",
            Self::Incomplete => "incomplete",
            Self::CrossesSegment => "crosses-segment",
            Self::Everything => "everything",
            Self::Opaque => "opaque",
            Self::PortRange => "port-range",
            Self::FunctionPrefix => "function-prefix",
            Self::StillAllowed => "still-allowed",
            Self::Principal => "principal",
            Self::NotCarried => "not-carried",
            Self::UnknownMember => "unknown-member",
            Self::UnknownValue => "unknown-value",
            Self::Assumed => "assumed",
            Self::NoResources => "no-resources",
            Self::AllMethods => "all-methods",
            Self::Suspended => "suspended",
            Self::BackendTrust => "backend-trust",
            Self::OddPaths => "odd-paths",
            Self::NotRead => "not-read",
        }
    }
}

/// One thing that a person should know. Displayed as its text with the place in front.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Where in the document, as in `[3].resources[0].id`; empty for the whole of it.
    pub place: String,
    /// What it is about: `erp:443`, or `erp:443 /sap/opu`; empty for the whole document.
    pub about: String,
    /// What was found and what came of it.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.place, &self.about] {
            if !part.is_empty() {
                write!(f, "{part}: ")?;
            }
        }
        f.write_str(&self.text)
    }
}

/// Findings as they are gathered: at most [`FINDINGS_MAX`], the rest counted.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    unlisted: usize,
    heaviest_unlisted: Option<Weight>,
}

impl Findings {
    pub(crate) fn add(&mut self, kind: Kind, place: &str, about: &str, text: String) {
        if self.list.len() >= FINDINGS_MAX {
            self.unlisted += 1;
            let weight = kind.weight();
            let heaviest = self.heaviest_unlisted.map_or(weight, |old| old.min(weight));
            self.heaviest_unlisted = Some(heaviest);
            return;
        }
        self.list.push(Finding {
            kind,
            place: cut(place),
            about: cut(about),
            text,
        });
    }

    /// The list, the heaviest first and otherwise in the order of the document; how many are not in it; and whether any
    /// of all needs a person.
    pub(crate) fn settle(mut self) -> (Vec<Finding>, usize, bool) {
        self.list.sort_by_key(|finding| finding.kind.weight());
        let heaviest = self.list.first().map(|finding| finding.kind.weight());
        let needs = |weight: Option<Weight>| weight.is_some_and(|weight| weight < Weight::Note);
        let needs_a_look = needs(heaviest) || needs(self.heaviest_unlisted);
        (self.list, self.unlisted, needs_a_look)
    }
}

/// Text of a document for the eyes of a person: in quotes, escaped, and cut.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", cut(text))
}

/// Text without control characters, cut after [`QUOTED_BYTES_MAX`].
pub(crate) fn cut(text: &str) -> String {
    let mut shown = String::new();
    for character in text.chars() {
        if shown.len() + character.len_utf8() > QUOTED_BYTES_MAX {
            shown.push_str("...");
            break;
        }
        // Beside control characters those that turn the direction of what follows.
        let turns = matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        shown.push(if character.is_control() || turns {
            '\u{fffd}'
        } else {
            character
        });
    }
    shown
}

/// A description that a rule set may have: cut, where it is longer.
pub(crate) fn description(mut text: String) -> String {
    const CUT: &str = "...";
    if text.len() > DESCRIPTION_BYTES_MAX {
        text.truncate(text.floor_char_boundary(DESCRIPTION_BYTES_MAX - CUT.len()));
        text.push_str(CUT);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_listed_up_to_the_limit_and_the_rest_is_counted_and_weighed() {
        for (more, unlisted) in [(0, 0), (1, 1)] {
            let mut findings = Findings::default();
            for _ in 0..FINDINGS_MAX {
                findings.add(Kind::Suspended, "", "", String::new());
            }
            for _ in 0..more {
                findings.add(Kind::Path, "", "", String::new());
            }
            let (list, left, needs_a_look) = findings.settle();
            assert_eq!((list.len(), left), (FINDINGS_MAX, unlisted));
            assert_eq!(needs_a_look, more > 0);
        }
    }

    #[test]
    fn the_longest_text_is_repeated_whole_and_one_byte_more_is_cut() {
        let longest = "a".repeat(QUOTED_BYTES_MAX);
        assert_eq!(cut(&longest), longest);
        assert_eq!(cut(&format!("{longest}b")), format!("{longest}..."));
        assert_eq!(
            cut("a\u{1b}[2J\n\u{202e}b"),
            "a\u{fffd}[2J\u{fffd}\u{fffd}b"
        );
    }

    #[test]
    fn every_kind_has_a_word_of_its_own() {
        let words: std::collections::BTreeSet<_> =
            Kind::ALL.iter().map(|kind| kind.word()).collect();
        assert_eq!(words.len(), Kind::ALL.len());
        assert!(Weight::ALL.is_sorted());
    }
}
