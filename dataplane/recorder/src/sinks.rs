//! `[audit.syslog]` and `[audit.otlp]`: where audit records are sent to.
//!
//! What their values mean, and what is wrong with them, is the forwarder's.

use adit_forwarder::{Problem, RawOtlp, RawSyslog, Sink};
use adit_runtime::settings::Section;

/// Reads the sections that are there.
pub(crate) fn read(audit: &Section<'_>) -> Vec<Sink> {
    let mut sinks = Vec::new();
    let section = audit.section("syslog");
    let raw = RawSyslog {
        server: section.string_opt("server"),
        server_name: section.string_opt("server_name"),
        ca_file: section.file_opt("ca_file"),
        certificate_file: section.file_opt("certificate_file"),
        key_file: section.secret_file_opt("key_file"),
        facility: section.string_opt("facility"),
        app_name: Some(section.string("app_name", Some("aditd"))),
    };
    if section.is_present() {
        sinks.extend(take(&section, Sink::syslog(raw)));
    }
    let section = audit.section("otlp");
    let raw = RawOtlp {
        url: section.string_opt("url"),
        ca_file: section.file_opt("ca_file"),
        headers_file: section.secret_file_opt("headers_file"),
    };
    if section.is_present() {
        sinks.extend(take(&section, Sink::otlp(raw)));
    }
    sinks
}

fn take(section: &Section<'_>, sink: Result<Sink, Vec<Problem>>) -> Option<Sink> {
    match sink {
        Ok(sink) => Some(sink),
        Err(problems) => {
            for Problem { key, what } in problems {
                section.problem(key, &what);
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use adit_runtime::settings::Document;

    use super::*;

    fn targets(text: &str) -> Result<Vec<String>, String> {
        let document = Document::parse("agent.toml", PathBuf::new(), text.to_owned()).unwrap();
        let sinks = read(&document.root().section("audit"));
        document.finish().map_err(|problems| problems.to_string())?;
        Ok(sinks.iter().map(Sink::target).collect())
    }

    #[test]
    fn sinks_are_those_whose_sections_are_there() {
        assert_eq!(targets(""), Ok(Vec::new()));
        let both = "[audit.syslog]\nserver = \"logs.example\"\nfacility = \"local3\"\n\
                    [audit.otlp]\nurl = \"http://127.0.0.1:4318\"\n";
        assert_eq!(
            targets(both).unwrap(),
            ["logs.example:6514", "http://127.0.0.1:4318/v1/logs"]
        );
    }

    #[test]
    fn what_is_wrong_names_the_key_in_the_file() {
        for (text, part) in [
            ("[audit.syslog]\n", "audit.syslog.server"),
            (
                "[audit.syslog]\nserver = \"a\"\nfacility = \"x\"\n",
                "audit.syslog.facility",
            ),
            ("[audit.syslog]\nserver = \"a\"\nport = 5\n", "port"),
            (
                "[audit.otlp]\nurl = \"http://far.example\"\n",
                "audit.otlp.url",
            ),
            (
                "[audit.otlp]\nurl = \"https://a\"\nheaders_file = \"none\"\n",
                "audit.otlp.headers_file",
            ),
        ] {
            let problems = targets(text).unwrap_err();
            assert!(problems.contains(part), "{text}: {problems}");
        }
    }
}
