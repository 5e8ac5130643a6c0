//! Log lines on standard error: for people, or JSON for machines; with priorities where they go to systemd's journal.

use std::fmt::{self, Debug};
use std::io::{self, IsTerminal as _, Write};

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{self as lines, FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::public::Several;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people; coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging. `DYNGATE_LOG` filters, else `RUST_LOG`, else `usual` does.
pub(super) fn start(format: Format, usual: &str) -> Result<(), String> {
    let given = ["DYNGATE_LOG", "RUST_LOG"].iter().find_map(|name| Some((name, std::env::var(name).ok()?)));
    let filter = match given {
        Some((name, filter)) => EnvFilter::try_new(filter).map_err(|error| format!("{name}: {error}"))?,
        None => EnvFilter::new(usual),
    };
    let is_journal = goes_to_journal();
    let layer = lines::layer().with_writer(StandardError { is_journal }).with_ansi(io::stderr().is_terminal());
    let layer = match format {
        Format::Text if is_journal => layer.without_time().boxed(),
        Format::Text => layer.boxed(),
        Format::Json => layer.event_format(JsonLine { has_time: !is_journal }).fmt_fields(JsonFields::new()).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(layer).try_init().map_err(|error| error.to_string())
}

/// Whether systemd reads standard error, which knows the time of a line by itself, and asks for its priority (sd-daemon(3)).
pub(super) fn goes_to_journal() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some() && !io::stderr().is_terminal()
}

/// What a line of an error begins with in the journal.
pub(super) const ERROR: &str = "<3>";

/// Each line with its priority, where the journal reads it.
struct StandardError {
    is_journal: bool,
}

struct Line(&'static str);

impl<'a> MakeWriter<'a> for StandardError {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line("")
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Line {
        Line(match *metadata.level() {
            _ if !self.is_journal => "",
            Level::ERROR => ERROR,
            Level::WARN => "<4>",
            Level::INFO => "<6>",
            _ => "<7>",
        })
    }
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // In one piece: another process may write there too.
        io::stderr().write_all(&[self.0.as_bytes(), line].concat())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event as one JSON object: strings as they are, and arrays of what is said of several hosts.
struct JsonLine {
    has_time: bool,
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut object = Members(String::new());
        if self.has_time {
            let mut now = String::new();
            SystemTime.format_time(&mut Writer::new(&mut now))?;
            object.add("timestamp", &now);
        }
        object.add("level", event.metadata().level().as_str());
        event.record(&mut object);
        object.add("target", event.metadata().target());
        if let Some(span) = context.lookup_current()
            && let Some(fields) = span.extensions().get::<FormattedFields<N>>()
        {
            object.add_json("span", &fields.fields);
        }
        writeln!(writer, "{{{}}}", object.0)
    }
}

/// What stands between the braces.
struct Members(String);

impl Members {
    fn add(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        let value = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
        self.add_json(name, &value);
    }

    fn add_json(&mut self, name: &str, value: &str) {
        let comma = if self.0.is_empty() { "" } else { "," };
        self.0.push_str(&format!("{comma}\"{name}\":{value}"));
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        match value.downcast_ref::<Several>() {
            Some(Several(several)) => self.add(field.name(), several),
            None => self.add(field.name(), &value.to_string()),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field.name(), &format!("{value:?}"));
    }
}
