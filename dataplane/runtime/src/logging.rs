//! Where log events go: standard error, as text for people or as JSON for machines.
//!
//! Whoever reads standard error may be slow or stuck, and a shard must not wait for that: events pass a bounded queue to
//! a thread that writes them. When it is full, events are lost, and counted.
//!
//! What is worth an event is each room's decision. Text from peers belongs into events with `?`, which escapes line
//! ends, never with `%`. Audit is not logging and does not come here.

use std::fmt;
use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing::Subscriber;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::settings::Section;

/// The environment variable that overrides the configured filter.
pub const FILTER_VARIABLE: &str = "ADIT_LOG";

/// What is logged, and in which form.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Directives such as `info` or `info,adit_transport=debug`.
    pub filter: String,
    /// For whom it is written.
    pub format: Format,
}

/// The form of a log event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::exhaustive_enums, reason = "closed: a person or a machine")]
pub enum Format {
    /// A line to read.
    #[default]
    Text,
    /// A JSON object on a line.
    Json,
}

impl Settings {
    /// Reads `filter` and `format` of the section `[log]`.
    pub fn read(section: &Section<'_>) -> Self {
        let filter = section.string("filter", Some(DEFAULT_FILTER));
        if let Err(why) = parse(&filter) {
            section.problem("filter", &why);
        }
        let format = match section.choice("format", &["text", "json"], "text") {
            "json" => Format::Json,
            _ => Format::Text,
        };
        Self { filter, format }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            filter: DEFAULT_FILTER.to_owned(),
            format: Format::default(),
        }
    }
}

/// The filter in [`FILTER_VARIABLE`] or in the settings does not parse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError(String);

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for FilterError {}

/// Writes events as long as it lives; dropping it writes what is still queued, for at most a second.
#[derive(Debug)]
#[must_use = "what is queued when the process ends is lost without it"]
pub struct Logging {
    // None for whoever was not the first to start.
    _writer: Option<WorkerGuard>,
}

/// Starts logging to standard error. The first call of the process decides; later ones change nothing.
///
/// # Errors
/// When the filter, the environment's before the settings', does not parse; then nothing was started.
pub fn start(settings: &Settings) -> Result<Logging, FilterError> {
    let environment = std::env::var(FILTER_VARIABLE).ok();
    let filter = filter(settings, environment.as_deref())?;
    if LOST.get().is_some() {
        return Ok(Logging { _writer: None });
    }
    let colour = std::io::stderr().is_terminal();
    let (queue, writer) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUED_EVENTS_MAX)
        .lossy(true)
        .thread_name("log")
        .finish(std::io::stderr());
    let lost = queue.error_counter();
    // An error says that a subscriber is there already, of the test that runs us.
    if tracing::subscriber::set_global_default(subscriber(filter, settings.format, colour, queue))
        .is_err()
    {
        return Ok(Logging { _writer: None });
    }
    let _ = LOST.set(lost);
    Ok(Logging {
        _writer: Some(writer),
    })
}

/// Events that found the queue full and were not written.
#[must_use]
pub fn lost() -> usize {
    LOST.get().map_or(0, ErrorCounter::dropped_lines)
}

fn filter(settings: &Settings, environment: Option<&str>) -> Result<EnvFilter, FilterError> {
    match environment.filter(|text| !text.is_empty()) {
        Some(text) => parse(text).map_err(|why| FilterError(format!("{FILTER_VARIABLE}: {why}"))),
        None => parse(&settings.filter).map_err(|why| FilterError(format!("log.filter: {why}"))),
    }
}

fn parse(text: &str) -> Result<EnvFilter, String> {
    let build = EnvFilter::builder().parse(text);
    build.map_err(|error| {
        format!(
            "`{text}` is no log filter ({error}); write one such as `info,adit_transport=debug`"
        )
    })
}

fn subscriber<W>(
    filter: EnvFilter,
    format: Format,
    colour: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colour);
    match format {
        Format::Text => Box::new(builder.finish()),
        Format::Json => Box::new(builder.json().flatten_event(true).finish()),
    }
}

static LOST: OnceLock<ErrorCounter> = OnceLock::new();

const DEFAULT_FILTER: &str = "info";

/// Events that wait for whoever reads standard error. Worst-case memory: 1 MiB at 512 bytes each, as at `info`; 48 MiB at
/// `debug`, where a denial tells the whole request (8 KiB) and caller (a token of 16 KiB).
pub const QUEUED_EVENTS_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::path::PathBuf;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::settings::Document;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(settings: &Settings, environment: Option<&str>, events: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let filter = filter(settings, environment).unwrap();
        let subscriber = subscriber(filter, settings.format, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, events);
        let bytes = lines.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn settings(filter: &str, format: Format) -> Settings {
        Settings {
            filter: filter.to_owned(),
            format,
        }
    }

    #[test]
    fn text_is_a_line_with_level_message_and_fields() {
        let text = logged(&Settings::default(), None, || {
            tracing::info!(tunnel = 7, agent = ?"berlin-1\nforged", "tunnel up");
            tracing::debug!("not at info");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(" INFO "), "{text}");
        assert!(
            text.ends_with("tunnel up tunnel=7 agent=\"berlin-1\\nforged\"\n"),
            "{text}"
        );
    }

    #[test]
    fn json_is_an_object_on_a_line() {
        let text = logged(&settings("info", Format::Json), None, || {
            tracing::warn!(tunnel = 7, "tunnel lost");
        });
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["level"], "WARN");
        assert_eq!(event["message"], "tunnel lost");
        assert_eq!(event["tunnel"], 7);
        assert!(event["timestamp"].is_string());
    }

    #[test]
    fn the_environment_has_the_last_word() {
        let quiet = settings("error", Format::Text);
        let event = || tracing::debug!("shown");
        assert_eq!(logged(&quiet, None, event), "");
        // An empty variable is an unset one, and not the filter that lets only errors through.
        let loud = settings("debug", Format::Text);
        assert!(logged(&loud, Some(""), event).contains("shown"));
        assert!(logged(&quiet, Some("debug"), event).contains("shown"));
    }

    #[test]
    fn a_filter_that_does_not_parse_names_the_variable() {
        let error = filter(&Settings::default(), Some("info,adit=loud")).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("ADIT_LOG: `info,adit=loud` is no log filter ("),
            "{text}"
        );
        let error = filter(&settings("a=b=c", Format::Text), None).unwrap_err();
        assert!(error.to_string().starts_with("log.filter: "), "{error}");
    }

    #[test]
    fn settings_come_from_their_section() {
        let read = |text: &str| {
            let document =
                Document::parse("a.toml", PathBuf::new(), text.to_owned()).expect("is TOML");
            let settings = Settings::read(&document.root().section("log"));
            (settings, document.finish().map_err(|why| why.to_string()))
        };
        assert_eq!(read(""), (Settings::default(), Ok(())));
        assert_eq!(
            read("[log]\nfilter = 'debug'\nformat = 'json'"),
            (settings("debug", Format::Json), Ok(()))
        );
        let (_, problems) = read("[log]\nfilter = 'a=b=c'\nformat = 'xml'");
        let problems = problems.unwrap_err();
        assert!(
            problems.starts_with("a.toml:2:10: log.filter: `a=b=c` is no log filter"),
            "{problems}"
        );
        assert!(
            problems.contains("\na.toml:3:10: log.format: `xml` is none of the choices"),
            "{problems}"
        );
    }

    #[test]
    fn starting_twice_is_fine() {
        let first = start(&Settings::default()).unwrap();
        let second = start(&settings("debug", Format::Json)).unwrap();
        assert!(first._writer.is_some() && second._writer.is_none());
    }
}
