use std::fmt::{self, Write};
use std::time::SystemTime;

use super::time::timestamp;
use super::{Format, Level};

/// One log event, as a [`Log`](super::Log) takes it.
///
/// `Display` writes its line without the newline, in the [format](super::Log::format) of the log
/// that passes it to a writer, otherwise in text. A JSON line has the fields that AWS's own
/// runtimes write: `timestamp` (RFC 3339, UTC, milliseconds) and `level`; `message`, `logger` and
/// `requestId` unless they are empty; then any additional fields. A text line has the request id,
/// the message and the additional fields; adding the time, the level and the logger is up to the
/// writer.
///
/// Nothing in a record can break out of its line, or control the terminal that shows it. JSON
/// escapes control characters and the line separators of Unicode. In text, control characters
/// become spaces; only the line breaks and tabs of the message stay as they are.
///
/// ```
/// use lambda_proto_host::{Fields, Level, Record};
///
/// let (table, rows) = ("users", 3);
/// let fields = |fields: &mut Fields<'_>| {
///     fields.text("table", format_args!("{table}"));
///     fields.json("rows", format_args!("{rows}"));
/// };
/// let record = Record::new(Level::Info, format_args!("loaded"));
/// let record = record.request_id("8476a536").fields(&fields);
/// assert_eq!(record.to_string(), r#"invocation 8476a536: loaded table="users" rows=3"#);
/// ```
#[derive(Clone, Copy)]
pub struct Record<'a> {
    time: Option<SystemTime>,
    level: Level,
    pub(super) form: Form,
    logger: &'a str,
    request_id: &'a str,
    message: fmt::Arguments<'a>,
    fields: Option<&'a dyn Fn(&mut Fields<'_>)>,
}

impl<'a> Record<'a> {
    /// A record with a level and a message only.
    pub fn new(level: Level, message: fmt::Arguments<'a>) -> Self {
        let (form, logger, request_id) = (Form::default(), "", "");
        Self { time: None, level, form, logger, request_id, message, fields: None }
    }

    pub(super) fn with_message(self, message: fmt::Arguments<'a>) -> Self {
        Self { message, ..self }
    }

    /// Sets the name of the logger, the part of the program that logs; empty means none.
    #[must_use]
    pub fn logger(self, logger: &'a str) -> Self {
        Self { logger, ..self }
    }

    /// Sets the request id of the invocation; empty means none.
    #[must_use]
    pub fn request_id(self, request_id: &'a str) -> Self {
        Self { request_id, ..self }
    }

    /// Sets a function that adds fields; it may be called any number of times.
    #[must_use]
    pub fn fields(self, add: &'a dyn Fn(&mut Fields<'_>)) -> Self {
        Self { fields: Some(add), ..self }
    }

    /// Sets the time, instead of the time of writing.
    #[must_use]
    pub fn at(self, time: SystemTime) -> Self {
        Self { time: Some(time), ..self }
    }

    /// Sets the format.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        self.form(Form::of(format))
    }

    pub(super) fn form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    /// The level.
    pub fn level(&self) -> Level {
        self.level
    }

    /// The message alone, unchanged.
    pub fn message(&self) -> fmt::Arguments<'a> {
        self.message
    }

    /// The time; the current time unless one was set.
    pub(super) fn time(&self) -> SystemTime {
        self.time.unwrap_or_else(SystemTime::now)
    }

    /// The whole line, without the newline: that of `Display`; in text, the level and the logger
    /// come first.
    pub(super) fn line(&self) -> String {
        let mut line = String::new();
        if self.form.format == Format::Text {
            line.push_str(self.level.as_str());
            line.push(' ');
            if !self.logger.is_empty() {
                line.push_str(self.logger);
                line.push_str(": ");
            }
        }
        (self.form.put)(self, &mut line);
        line
    }
}

fn put_text(record: &Record<'_>, line: &mut String) {
    if !record.request_id.is_empty() {
        line.push_str("invocation ");
        put_plain(line, record.request_id, false);
        line.push_str(": ");
    }
    put_plain(line, &shown(record.message), true);
    if let Some(add) = record.fields {
        add(&mut Fields { line, format: Format::Text });
    }
}

fn put_json(record: &Record<'_>, line: &mut String) {
    line.push('{');
    let mut fields = Fields { line, format: Format::Json };
    fields.put_known("timestamp", &timestamp(record.time()));
    fields.put_known("level", record.level.as_str());
    fields.put_known("message", &shown(record.message));
    fields.put_known("logger", record.logger);
    fields.put_known("requestId", record.request_id);
    if let Some(add) = record.fields {
        add(&mut fields);
    }
    line.push('}');
}

/// A format and its writer: a program that never asks for JSON does not contain the code for it.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) format: Format,
    put: fn(&Record<'_>, &mut String),
}

impl Form {
    pub(super) fn of(format: Format) -> Self {
        match format {
            Format::Text => Self::default(),
            Format::Json => Self { format, put: put_json },
        }
    }
}

impl Default for Form {
    fn default() -> Self {
        Self { format: Format::Text, put: put_text }
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        (self.form.put)(self, &mut line);
        f.write_str(&line)
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Adds fields to a record.
///
/// A field with a name that every record uses, such as `level`, gets an underscore before its name.
pub struct Fields<'l> {
    line: &'l mut String,
    format: Format,
}

/// The field names that every record uses.
const RESERVED: [&str; 5] = ["timestamp", "level", "message", "logger", "requestId"];

impl Fields<'_> {
    /// Adds a text field.
    pub fn text(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.put_name(name);
        self.put_string(&shown(value));
    }

    /// Adds a value that displays as JSON: a number, `true`, a list. The caller must ensure that it
    /// is valid JSON; control characters in it become spaces.
    pub fn json(&mut self, name: &str, value: fmt::Arguments<'_>) {
        self.put_name(name);
        put_plain(self.line, &shown(value), false);
    }

    /// Adds a list of text values.
    pub(super) fn texts(&mut self, name: &str, values: &mut dyn Iterator<Item = &str>) {
        self.put_name(name);
        self.line.push('[');
        for (at, value) in values.enumerate() {
            self.line.push_str(if at == 0 { "" } else { "," });
            self.put_string(value);
        }
        self.line.push(']');
    }

    fn put_name(&mut self, name: &str) {
        let before = if RESERVED.contains(&name) { "_" } else { "" };
        match self.format {
            Format::Json => {
                self.line.push(',');
                self.put_string(&format!("{before}{name}"));
                self.line.push(':');
            }
            Format::Text => {
                self.line.push(' ');
                self.line.push_str(before);
                put_plain(self.line, name, false);
                self.line.push('=');
            }
        }
    }

    /// Writes one of the standard JSON fields, unless it is empty.
    fn put_known(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        self.line.push_str(if self.line.len() == 1 { "" } else { "," });
        self.put_string(name);
        self.line.push(':');
        self.put_string(value);
    }

    fn put_string(&mut self, text: &str) {
        self.line.push('"');
        put_escaped(self.line, text);
        self.line.push('"');
    }
}

/// The displayed text of a value; if its `Display` fails, the text up to there.
fn shown(value: fmt::Arguments<'_>) -> String {
    let mut text = String::new();
    let _has_said_what_it_could = text.write_fmt(value);
    text
}

/// Writes a text with control characters replaced by spaces, except line breaks and tabs if they
/// are kept.
fn put_plain(line: &mut String, text: &str, keeps_breaks: bool) {
    for character in text.chars() {
        match character {
            '\n' | '\t' if keeps_breaks => line.push(character),
            character if character.is_control() => line.push(' '),
            _ => line.push(character),
        }
    }
}

/// Writes a text as the content of a JSON string, without the quotes.
pub(crate) fn put_escaped(line: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                line.push('\\');
                line.push(character);
            }
            '\n' => line.push_str("\\n"),
            '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                line.push_str("\\u");
                for shift in [12, 8, 4, 0] {
                    let digit = u32::from(character) >> shift & 0xf;
                    line.push(char::from(b"0123456789abcdef"[digit as usize]));
                }
            }
            _ => line.push(character),
        }
    }
}
