//! Tests that a rule set carries: a request, and what the rules are meant to say to it.
//!
//! They grant and deny nothing. What came of one is told by the function that decides; who refuses rules whose tests
//! fail lives elsewhere.
use core::fmt;

use crate::denial::{Denial, DenialReason};
use crate::problem::{Gathered, Place, Problems};
use crate::request::{OwnedRequest, RequestError};
use crate::rule::{Scope, is_system_name};
use crate::table::{Grant, Table};

/// A request, and what the rules are meant to say to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleTest {
    /// For people.
    pub name: Option<String>,
    /// What the rules are meant to say.
    pub expect: Expected,
    request: OwnedRequest,
    /// The request as it was written: displaying one cuts long parts.
    written: Box<str>,
    pub(crate) place: Place,
}

/// What the rules are meant to say to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a request is granted or it is not")]
pub enum Expected {
    /// It is granted.
    Allow {
        /// By this rule; none takes any.
        rule: Option<RuleName>,
    },
    /// It is denied.
    Deny {
        /// For this reason; none takes any.
        reason: Option<DenialReason>,
    },
}

/// A rule as an explanation names it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "what grants is a resource or a whole system"
)]
pub enum RuleName {
    /// The resource with this path, and with this scope if one is given: `/orders`, `subtree /orders`.
    Resource {
        /// Its path.
        path: Box<str>,
        /// Its scope; none takes either.
        scope: Option<Scope>,
    },
    /// The system with this name, whatever of it grants.
    System(Box<str>),
}

impl RuleTest {
    /// A test without a name. `request` is written as [`OwnedRequest`] reads it.
    ///
    /// # Errors
    /// [`RequestError`] when it is no request.
    pub fn new(request: &str, expect: Expected) -> Result<Self, RequestError> {
        Ok(Self {
            name: None,
            expect,
            request: request.parse()?,
            written: request.into(),
            place: Place::default(),
        })
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &OwnedRequest {
        &self.request
    }

    /// The request as it was written.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Where the request is written.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }
}

impl Expected {
    /// The word of the rule language.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Allow { .. } => "allow",
            Self::Deny { .. } => "deny",
        }
    }

    fn is_met_by(&self, came: &Result<Grant<'_>, Denial>) -> bool {
        match (self, came) {
            (Self::Allow { rule }, Ok(grant)) => {
                rule.as_ref().is_none_or(|rule| rule.is_that_of(grant))
            }
            (Self::Deny { reason }, Err(denial)) => {
                reason.is_none_or(|reason| reason == denial.reason())
            }
            (Self::Allow { .. }, Err(_)) | (Self::Deny { .. }, Ok(_)) => false,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Allow { rule: Some(rule) } => write!(f, " by {rule}"),
            Self::Deny {
                reason: Some(reason),
            } => write!(f, " as {reason}"),
            Self::Allow { rule: None } | Self::Deny { reason: None } => Ok(()),
        }
    }
}

impl RuleName {
    /// Reads `/orders`, `subtree /orders` or the name of a system; `None` when it is none of them.
    pub(crate) fn read(text: &str) -> Option<Self> {
        if text.starts_with('/') {
            return Some(Self::Resource {
                path: text.into(),
                scope: None,
            });
        }
        if let Some((word, path)) = text.split_once(' ') {
            let scope = [Scope::Exact, Scope::Subtree]
                .into_iter()
                .find(|scope| scope.word() == word)?;
            return path.starts_with('/').then(|| Self::Resource {
                path: path.into(),
                scope: Some(scope),
            });
        }
        // A system without a name goes by its virtual host, which may be longer than a name.
        let is_name = is_system_name(text) || crate::canonical::host::judge(text).is_ok();
        is_name.then(|| Self::System(text.into()))
    }

    fn is_that_of(&self, grant: &Grant<'_>) -> bool {
        match self {
            Self::Resource { path, scope } => grant.resource().is_some_and(|resource| {
                resource.path.as_str() == &**path
                    && scope.is_none_or(|scope| scope == resource.scope)
            }),
            Self::System(name) => grant.system().name() == &**name,
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resource {
                path,
                scope: Some(scope),
            } => write!(f, "{scope} {path}"),
            Self::Resource { path, scope: None } => f.write_str(path),
            Self::System(name) => f.write_str(name),
        }
    }
}

/// What came of one test. Displayed as what the rules said, for people.
#[derive(Clone, Debug)]
pub struct TestOutcome<'t> {
    test: &'t RuleTest,
    came: Result<Grant<'t>, Denial>,
}

impl<'t> TestOutcome<'t> {
    /// The test.
    #[must_use]
    pub fn test(&self) -> &'t RuleTest {
        self.test
    }

    /// Whether the rules said what they are meant to say.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.test.expect.is_met_by(&self.came)
    }

    /// What the rules said.
    ///
    /// # Errors
    /// [`Denial`] when no rule grants the request.
    pub fn came(&self) -> Result<Grant<'t>, &Denial> {
        self.came.as_ref().copied()
    }
}

impl fmt::Display for TestOutcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.came {
            Ok(grant) => {
                f.write_str("allowed by ")?;
                let line = match grant.resource() {
                    Some(resource) => {
                        write!(f, "{} `{}` of ", resource.scope, resource.path)?;
                        resource.line()
                    }
                    None => grant.system().line(),
                };
                write!(f, "system `{}`", grant.system().name())?;
                if line > 0 {
                    write!(f, " (line {line})")?;
                }
                Ok(())
            }
            Err(denial) => write!(f, "denied as {}: {denial}", denial.reason()),
        }
    }
}

impl Table {
    /// Asks the rules about each of the tests they carry, in the order of the text.
    pub fn outcomes(&self) -> impl Iterator<Item = TestOutcome<'_>> {
        self.rules().tests.iter().map(|test| TestOutcome {
            test,
            came: self.decide(&test.request.as_request()),
        })
    }

    /// Runs the tests that the rules carry; gives back how many there are.
    ///
    /// # Errors
    /// Each test that failed, with its place and what came instead.
    pub fn run_tests(&self) -> Result<usize, Problems> {
        let mut failed = Gathered::new(self.rules().file());
        for outcome in self.outcomes().filter(|outcome| !outcome.passed()) {
            let test = outcome.test;
            let name = test.name.as_ref().map(|name| format!(" {name:?}"));
            failed.add(
                test.place,
                format!(
                    "test{}: {} is meant to be {}, and is {outcome}",
                    name.unwrap_or_default(),
                    test.request,
                    Meant(&test.expect),
                ),
            );
        }
        failed.settle(self.rules().tests.len())
    }
}

/// An expectation as part of a sentence.
struct Meant<'t>(&'t Expected);

impl fmt::Display for Meant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expected::Allow { rule: None } => f.write_str("allowed"),
            Expected::Allow { rule: Some(rule) } => write!(f, "allowed by `{rule}`"),
            Expected::Deny { reason: None } => f.write_str("denied"),
            Expected::Deny {
                reason: Some(reason),
            } => write!(f, "denied as {reason}"),
        }
    }
}

#[cfg(test)]
mod tests;
