//! Log lines that no logged text can forge: an event is one line, with exactly the fields that the program
//! gave it.
//!
//! In the text format, a message that could be read as having fields (it contains `=` or begins with a
//! quote) is quoted, and so is the value of a field unless it is one plain word. Both formats show control
//! characters as symbols.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use switchyard_contract::visible;

/// The message and fields of an event in the text format.
#[derive(Debug, Clone, Copy)]
pub(super) struct TextFields;

impl<'writer> FormatFields<'writer> for TextFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut text = Text { writer, begun: false, written: Ok(()) };
        fields.record(&mut text);
        text.written
    }
}

struct Text<'writer> {
    writer: Writer<'writer>,
    begun: bool,
    written: fmt::Result,
}

impl Text<'_> {
    fn write(&mut self, field: &Field, value: &str) -> fmt::Result {
        if std::mem::replace(&mut self.begun, true) {
            self.writer.write_char(' ')?;
        }
        let name = field.name();
        if name == "message" {
            return self.writer.write_str(value);
        }
        let name = name.strip_prefix("r#").unwrap_or(name);
        if self.writer.has_ansi_escapes() {
            // Italic, then dim.
            return write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}");
        }
        write!(self.writer, "{name}={value}")
    }

    fn record(&mut self, field: &Field, value: &str) {
        if self.written.is_ok() {
            self.written = self.write(field, value);
        }
    }
}

impl Visit for Text<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record(field, &message(value)),
            _ => self.record(field, &quoted(&visible::word(value))),
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.record(field, &message(&text)),
            _ => self.record(field, &word(&text)),
        }
    }
}

fn message(text: &str) -> Cow<'_, str> {
    let shown = visible::line(text);
    if shown.contains('=') || shown.starts_with('"') { quoted(&shown).into() } else { shown }
}

fn word(text: &str) -> Cow<'_, str> {
    let shown = visible::word(text);
    let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=');
    if !shown.is_empty() && shown.chars().all(is_plain) { shown } else { quoted(&shown).into() }
}

fn quoted(shown: &str) -> String {
    format!("\"{}\"", shown.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The JSON format, on one line without characters that control a terminal.
#[derive(Debug)]
pub(super) struct JsonLine<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for JsonLine<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{}", visible::json(line.trim_end()))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    impl Lines {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn text(log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let builder = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false);
        let subscriber = builder.without_time().with_level(false).with_target(false).fmt_fields(TextFields);
        tracing::subscriber::with_default(subscriber.finish(), log);
        lines.text()
    }

    #[test]
    fn ordinary_lines_have_no_quotes_but_those_of_texts() {
        let logged = text(|| {
            let place = "server.js";
            tracing::info!(project.name = %"a", file = place, line = 1, none = None::<u8>, "could not resolve \"x\"");
        });
        assert_eq!(logged, "could not resolve \"x\" project.name=a file=\"server.js\" line=1\n");
    }

    #[test]
    fn no_message_and_no_value_can_forge_a_line_or_a_field() {
        let logged = text(|| {
            tracing::info!(project.name = %"a", "{}", "hi project.name=\"b\" \\\nINFO x\r\x1b[2J\u{202e}");
            tracing::info!(who = %"a b=c", error = %"x\ny", odd = "\"q\\", "{}", "\"x\" y");
        });
        let expected = [
            r#""hi project.name=\"b\" \\␊INFO x␍␛[2J\\u{202e}" project.name=a"#,
            r#""\"x\" y" who="a b=c" error=x␊y odd="\"q\\""#,
        ];
        assert_eq!(logged.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn json_lines_have_the_same_value_and_nothing_that_a_terminal_obeys() {
        let lines = Lines::default();
        let builder = tracing_subscriber::fmt().with_writer(lines.clone());
        let subscriber = builder.json().flatten_event(true).map_event_format(JsonLine).finish();
        let hostile = "a\u{9b}2J\u{202e}\n\x1b";
        tracing::subscriber::with_default(subscriber, || tracing::info!(field = hostile, "{hostile}"));
        let text = lines.text();
        assert!(text.ends_with('\n') && !text.trim_end().contains(char::is_control), "{text:?}");
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((record["message"].as_str(), record["field"].as_str()), (Some(hostile), Some(hostile)));
    }
}
