//! How a command ends badly, and the exit code that says so.
//!
//! The codes are part of the interface, see `adit --help`. Success needs no type.

use std::fmt::{self, Display};
use std::io::Write as _;
use std::process::ExitCode;

use crate::plane::shown::plain_lines;

/// A command that did not end well: the exit code, and what standard error is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    code: Code,
    /// Nothing when the command has said everything on standard output.
    message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    Failed,
    Usage,
    Changes,
    Config,
}

impl Failure {
    /// Tried, and it did not work.
    pub(crate) fn failed(message: impl Display) -> Self {
        Self::new(Code::Failed, message)
    }

    /// The answer is no, and was printed.
    pub(crate) fn denied() -> Self {
        Self {
            code: Code::Failed,
            message: None,
        }
    }

    /// The answer is that something would change or needs a look, and was printed.
    pub(crate) fn changes() -> Self {
        Self {
            code: Code::Changes,
            message: None,
        }
    }

    /// The answer is yes with a doubt, and was printed.
    pub(crate) fn doubt() -> Self {
        Self::changes()
    }

    /// The command line asks for what cannot be.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Code::Usage, message)
    }

    /// A file that a person wrote is wrong.
    pub(crate) fn config(message: impl Display) -> Self {
        Self::new(Code::Config, message)
    }

    fn new(code: Code, message: impl Display) -> Self {
        Self {
            code,
            message: Some(message.to_string()),
        }
    }

    /// Says what was done before it happened.
    pub(crate) fn after(self, done: impl Display) -> Self {
        let message = self.message.unwrap_or_default();
        Self::new(self.code, format_args!("{message}\n{done}"))
    }

    /// Writes the message to standard error.
    pub(crate) fn tell(&self) {
        if let Some(message) = &self.message {
            // Nobody is left to be told when standard error is gone too.
            let _ = writeln!(std::io::stderr(), "adit: {}", plain_lines(message));
        }
    }

    /// 1, 2, 3 or 78, as the help says.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.number())
    }

    fn number(&self) -> u8 {
        match self.code {
            Code::Failed => 1,
            Code::Usage => 2,
            Code::Changes => 3,
            // EX_CONFIG of sysexits.h, as `aditd` uses it.
            Code::Config => 78,
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message.as_deref().unwrap_or("no"))
    }
}

impl From<anyhow::Error> for Failure {
    /// The whole chain on one line: each layer adds what the one below could not know.
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_help() {
        assert_eq!(Failure::failed("x").number(), 1);
        assert_eq!(Failure::denied().number(), 1);
        assert_eq!(Failure::usage("x").number(), 2);
        assert_eq!(Failure::changes().number(), 3);
        assert_eq!(Failure::config("x").number(), 78);
    }

    #[test]
    fn causes_stand_on_one_line() {
        let error = anyhow::anyhow!("no such file").context("rules.toml");
        assert_eq!(
            Failure::from(error),
            Failure::failed("rules.toml: no such file")
        );
    }
}
