//! What a change of rules means for requests: which are granted from then on, which no longer, which lead elsewhere.
//!
//! Requests that neither rule set tells apart form a region; of each region one request is put to the deciding
//! function of both. Nothing is decided here, and where rules are written plays no part.
mod ends;
mod line;
mod methods;
mod paths;

use core::fmt;

use serde::Serialize;

pub use line::{Asked, Change, EncodedSlashes, HttpSet, Line, MethodSet, PathSet, Target};

use crate::limits::{PLAN_DECISIONS_MAX, PLAN_LINES_MAX};
use crate::request::Request;
use crate::rule::System;
use crate::table::Table;

use ends::End;

/// What a change of rules means for requests. Displayed one line for each set of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// The changes by host, port and path, at most [`PLAN_LINES_MAX`]. No request is in two of them.
    pub lines: Vec<Line>,
    /// How many more lines there are than are listed.
    pub unlisted: usize,
    /// Virtual hosts and ports, a range being one, of which nothing changes.
    pub ends_same: usize,
    /// Virtual hosts and ports of which something changes.
    pub ends_changed: usize,
    /// The rules are too many and too intertwined to be compared within [`PLAN_DECISIONS_MAX`]: more may change than
    /// is said here.
    pub unfinished: bool,
}

/// Compares what two tables decide.
///
/// Systems that say the same cost nothing but that comparison. For others the cost is that of some ten decisions for
/// each resource that differs, or that lies below one that differs, and for each method that rules name; where another
/// internal end or another meaning of encoded slashes makes a whole system differ, for each of its resources. A million
/// resources of one system of which one changes take about 2 s, of which all change about 20 s, and 300 MB besides the
/// tables. It never exceeds [`PLAN_DECISIONS_MAX`] decisions.
#[must_use]
pub fn plan(old: &Table, new: &Table) -> Plan {
    plan_within(old, new, PLAN_DECISIONS_MAX)
}

fn plan_within(old: &Table, new: &Table, decisions_max: u64) -> Plan {
    let mut judge = Judge {
        old,
        new,
        left: decisions_max,
    };
    let mut plan = Plan::default();
    plan.unfinished = ends::compare(&mut judge, &mut plan).is_err();
    plan
}

impl Plan {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && !self.unfinished
    }

    /// The plan of the change back.
    #[must_use]
    pub fn mirrored(&self) -> Self {
        let mirrored = |line: &Line| Line {
            change: line.change.mirrored(),
            before: line.after.clone(),
            after: line.before.clone(),
            ..line.clone()
        };
        Self {
            lines: self.lines.iter().map(mirrored).collect(),
            ..self.clone()
        }
    }

    /// Whether further lines are only counted.
    fn is_full(&self) -> bool {
        self.lines.len() >= PLAN_LINES_MAX
    }

    fn add(&mut self, line: Line) {
        if let Some(before) = self.lines.last_mut()
            && before.absorb(&line)
        {
            return;
        }
        if self.is_full() {
            self.unlisted += 1;
        } else {
            self.lines.push(line);
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.lines.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            line.fmt(f)?;
        }
        if self.unlisted > 0 {
            write!(f, "\nand {} more", self.unlisted)?;
        }
        Ok(())
    }
}

impl Line {
    fn new(
        change: Change,
        end: End<'_>,
        asked: Asked,
        old: Option<&System>,
        new: Option<&System>,
    ) -> Self {
        let target = |system: Option<&System>| system.map(|system| Target::of(system, end.ports));
        Self {
            change,
            host: end.host.to_owned(),
            ports: end.ports,
            asked,
            before: target(old).filter(|_| change != Change::Reachable),
            after: target(new).filter(|_| change != Change::Unreachable),
        }
    }

    /// Takes in `next` when it says the same of the next ports.
    fn absorb(&mut self, next: &Self) -> bool {
        let continues = |next: &Option<Target>, before: &Option<Target>| match (next, before) {
            (Some(next), Some(before)) => next.continues(before),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        let same = self.change == next.change
            && self.host == next.host
            && self.asked == Asked::Tcp
            && next.asked == Asked::Tcp
            && self.ports.last().checked_add(1) == Some(next.ports.first())
            && continues(&next.before, &self.before)
            && continues(&next.after, &self.after);
        if same {
            self.ports = self.ports.up_to(next.ports);
            for (target, more) in [
                (&mut self.before, &next.before),
                (&mut self.after, &next.after),
            ] {
                if let (Some(target), Some(more)) = (target, more) {
                    target.ports = target.ports.up_to(more.ports);
                }
            }
        }
        same
    }
}

/// Puts requests to both tables, and counts how often.
struct Judge<'t> {
    old: &'t Table,
    new: &'t Table,
    /// Decisions that may still be asked for.
    left: u64,
}

/// No more decisions may be asked for.
#[derive(Debug)]
struct Spent;

/// What both tables say to a request.
#[derive(Clone, Copy, Debug)]
struct Judged {
    /// One of them at least grants it.
    granted: bool,
    change: Option<Change>,
}

impl Judge<'_> {
    fn ask(&mut self, request: &Request<'_>) -> Result<Judged, Spent> {
        self.left = self.left.checked_sub(2).ok_or(Spent)?;
        let (before, after) = (self.old.grants(request), self.new.grants(request));
        Ok(Judged {
            granted: before.is_some() || after.is_some(),
            change: match (&before, &after) {
                (None, None) => None,
                (None, Some(_)) => Some(Change::Reachable),
                (Some(_), None) => Some(Change::Unreachable),
                (Some(before), Some(after)) => {
                    (!Target::is_same(before, after)).then_some(Change::Moved)
                }
            },
        })
    }
}

#[cfg(test)]
mod tests;
