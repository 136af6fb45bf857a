//! `--enrol`: a node becomes one, with an invitation that never stands on a command line.
//!
//! What enrolling is, and what comes of it, is the room `subscription`'s.

use std::io::Read;
use std::path::{Path, PathBuf};

use adit_subscription::{Enrolment, Invitation};
use clap::Args;
use time::OffsetDateTime;

/// How a node that has no identity yet gets one.
#[derive(Debug, Args)]
pub(crate) struct EnrolArguments {
    /// First get an identity from the control plane here (https://host:port), with an invitation; refused where there is
    /// one that has not expired
    #[arg(long = "enrol", value_name = "URL")]
    url: Option<String>,
    /// The file with the invitation; `-` is standard input, which is read without this option and ADIT_INVITATION too
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// End when the identity is there, start nothing
    #[arg(long, requires = "url")]
    enrol_only: bool,
}

/// Seconds since 1970 as people read them, UTC.
fn when(unix_s: u64) -> String {
    let time = i64::try_from(unix_s)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.map_or_else(
        || unix_s.to_string(),
        |time| {
            let (hour, minute, second) = time.to_hms();
            format!("{} {hour:02}:{minute:02}:{second:02}Z", time.date())
        },
    )
}

impl EnrolArguments {
    pub(crate) fn url(&self) -> Option<&str> {
        self.url.as_deref()
    }

    pub(crate) fn is_all(&self) -> bool {
        self.enrol_only
    }

    /// Enrols; what was got, for people.
    pub(crate) fn run(&self, enrolment: &Enrolment, url: &str) -> Result<String, String> {
        // Before an invitation is asked for.
        enrolment.check_free()?;
        let invitation = self.invitation()?;
        let identity = adit_subscription::enrol(enrolment, url, &invitation)?;
        Ok(format!(
            "enrolled as {} at location `{}`; certificate {} until {}, renewed from {}; identity in {}",
            identity.id(),
            identity.location(),
            identity.leaf().serial,
            when(identity.leaf().until_unix_s),
            when(identity.renew_unix_s()),
            enrolment.folder.display()
        ))
    }

    fn invitation(&self) -> Result<Invitation, String> {
        let (place, text) = match (&self.token_file, std::env::var(VARIABLE)) {
            (Some(path), _) if path != Path::new("-") => {
                let file = std::fs::File::open(path);
                (path.display().to_string(), file.and_then(read))
            }
            (None, Ok(text)) => (VARIABLE.to_owned(), Ok(text)),
            (Some(_), _) | (None, Err(_)) => ("standard input".to_owned(), read(std::io::stdin())),
        };
        let text = text.map_err(|error| format!("{place}: {error}"))?;
        Invitation::parse(&text).map_err(|error| format!("{place}: {error}"))
    }
}

fn read(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The environment variable that may hold the invitation.
const VARIABLE: &str = "ADIT_INVITATION";
/// Bytes that are read of whatever holds the invitation: many times what one has.
const TOKEN_BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::when;

    #[test]
    fn the_end_of_a_certificate_is_told_as_people_read_it() {
        assert_eq!(when(1_797_856_295), "2026-12-21 12:31:35Z");
        assert_eq!(when(0), "1970-01-01 00:00:00Z");
        assert_eq!(when(u64::MAX), u64::MAX.to_string());
    }
}
