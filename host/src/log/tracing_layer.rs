//! Support for the crates `tracing` and `tracing_subscriber`.

use std::fmt::{self, Write};

use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id};
use tracing_core::{Event, LevelFilter, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Filtered;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::{Fields, Level, Log, Record};
use crate::current;

impl Log {
    /// A layer for `tracing_subscriber` that writes events to this log.
    ///
    /// A line has the fields of the event and of the spans around it; of several fields with the
    /// same name, the innermost. A field `request_id` or `requestId` sets the request id, for
    /// futures and other work that changes threads; otherwise it is that of the
    /// [thread](crate::current). Of a span whose target is [`TracingLayer::INVOCATION`], a line has
    /// only the request id.
    ///
    /// The [level](Log::level) filters only this layer. At FATAL it passes nothing, since `tracing`
    /// has no level that high.
    ///
    /// ```
    /// use lambda_proto_host::Log;
    /// use tracing_subscriber::layer::SubscriberExt;
    /// use tracing_subscriber::registry;
    ///
    /// let subscriber = registry().with(Log::from_env().tracing_layer());
    /// tracing::subscriber::set_global_default(subscriber)?;
    /// tracing::info!(rows = 3, "loaded");
    /// # Ok::<(), tracing::subscriber::SetGlobalDefaultError>(())
    /// ```
    pub fn tracing_layer<S>(&self) -> Filtered<TracingLayer, LevelFilter, S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let filter = match self.level() {
            Level::Trace => LevelFilter::TRACE,
            Level::Debug => LevelFilter::DEBUG,
            Level::Info => LevelFilter::INFO,
            Level::Warn => LevelFilter::WARN,
            Level::Error => LevelFilter::ERROR,
            Level::Fatal => LevelFilter::OFF,
        };
        TracingLayer { log: self.clone() }.with_filter(filter)
    }
}

/// Writes the events of `tracing` to a [`Log`]; made by [`Log::tracing_layer`].
#[derive(Clone, Debug)]
pub struct TracingLayer {
    log: Log,
}

impl TracingLayer {
    /// The target of spans that describe an invocation for traces. Their field `faas.invocation_id`
    /// is the request id of log lines; their other fields are not written to the log.
    pub const INVOCATION: &'static str = "lambda_proto::invocation";
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for TracingLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut kept = Kept::default();
        attributes.record(&mut kept);
        if is_invocation(attributes.metadata()) {
            kept.0.retain(|field| field.name == INVOCATION_ID);
        }
        span.extensions_mut().insert(kept);
    }

    fn on_record(&self, id: &Id, values: &tracing_core::span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id).filter(|span| !is_invocation(span.metadata())) else {
            return;
        };
        if let Some(kept) = span.extensions_mut().get_mut::<Kept>() {
            values.record(kept);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut all = Kept::default();
        event.record(&mut all);
        // From the innermost span outwards: inner fields hide outer ones.
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(kept) = span.extensions().get::<Kept>() {
                all.inherit(kept);
            }
        }
        let message = all.take(&["message"]);
        let request_id = all.take(&["request_id", "requestId", INVOCATION_ID]);
        let request_id = request_id.unwrap_or_else(|| current::request_id().to_string());
        let add = |fields: &mut Fields<'_>| all.add_to(fields);
        let metadata = event.metadata();
        let message = message.unwrap_or_default();
        let message = format_args!("{message}");
        let record = Record::new(level_of(*metadata.level()), message).logger(metadata.target());
        self.log.write(&record.request_id(&request_id).fields(&add));
    }
}

const INVOCATION_ID: &str = "faas.invocation_id";

fn is_invocation(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TracingLayer::INVOCATION
}

fn level_of(level: tracing_core::Level) -> Level {
    match level {
        tracing_core::Level::TRACE => Level::Trace,
        tracing_core::Level::DEBUG => Level::Debug,
        tracing_core::Level::INFO => Level::Info,
        tracing_core::Level::WARN => Level::Warn,
        tracing_core::Level::ERROR => Level::Error,
    }
}

/// The fields of a span or an event, with their displayed values.
#[derive(Default)]
struct Kept(Vec<KeptField>);

#[derive(Clone)]
struct KeptField {
    name: &'static str,
    value: String,
    is_json: bool,
}

impl Kept {
    fn keep(&mut self, field: &Field, value: fmt::Arguments<'_>, is_json: bool) {
        let name = field.name();
        let mut text = String::new();
        let _has_said_what_it_could = text.write_fmt(value);
        self.0.retain(|kept| kept.name != name);
        self.0.push(KeptField { name, value: text, is_json });
    }

    /// Adds the fields of an outer span whose names are not taken, except its message.
    fn inherit(&mut self, outer: &Self) {
        let own = self.0.len();
        for field in outer.0.iter().filter(|field| field.name != "message") {
            if self.0[..own].iter().all(|kept| kept.name != field.name) {
                self.0.push(field.clone());
            }
        }
    }

    /// Removes all fields with one of these names, and returns the first.
    fn take(&mut self, names: &[&str]) -> Option<String> {
        let at = self.0.iter().position(|kept| names.contains(&kept.name))?;
        let first = self.0.remove(at);
        self.0.retain(|kept| !names.contains(&kept.name));
        Some(first.value)
    }

    fn add_to(&self, fields: &mut Fields<'_>) {
        for KeptField { name, value, is_json } in &self.0 {
            match is_json {
                true => fields.json(name, format_args!("{value}")),
                false => fields.text(name, format_args!("{value}")),
            }
        }
    }
}

impl Visit for Kept {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.keep(field, format_args!("{value:?}"), false);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, format_args!("{value}"), false);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, format_args!("{value}"), true);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, format_args!("{value}"), true);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, format_args!("{value}"), true);
    }

    /// JSON has no number for NaN and the infinities.
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.keep(field, format_args!("{value}"), value.is_finite());
    }
}
