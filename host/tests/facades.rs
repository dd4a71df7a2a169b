//! Log lines of a function through the crates `log` and `tracing`.
#![cfg(all(feature = "log", feature = "tracing"))]

use std::sync::{Arc, Mutex};
use std::thread;

use lambda_proto_host::{Format, Level, Log, TracingLayer, current};
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Value>>>);

impl Lines {
    fn log(&self, level: Level) -> Log {
        let lines = self.0.clone();
        let log = Log::to(move |record| {
            lines.lock().unwrap().push(serde_json::from_str(&record.to_string()).unwrap());
        });
        log.with_format(Format::Json).with_level(level)
    }

    /// The lines that were written, without the times.
    fn take(&self) -> Vec<Value> {
        let mut lines = std::mem::take(&mut *self.0.lock().unwrap());
        for line in &mut lines {
            assert!(line.as_object_mut().unwrap().remove("timestamp").unwrap().is_string());
        }
        lines
    }
}

/// Runs with a layer that writes this level and above.
fn traced(level: Level, work: impl FnOnce()) -> Vec<Value> {
    let lines = Lines::default();
    let subscriber = registry().with(lines.log(level).tracing_layer());
    tracing::subscriber::with_default(subscriber, work);
    lines.take()
}

#[test]
fn an_event_has_message_target_and_typed_fields() {
    let lines = traced(Level::Info, || {
        tracing::warn!(
            target: "orders", rows = 3_u64, delta = -2, ratio = 0.5, is_new = true, name = "a\"b",
            shown = %"x y", debugged = ?Some(1), infinite = f64::INFINITY, "slow {}", "query"
        );
    });
    let expected = json!({
        "level": "WARN", "message": "slow query", "logger": "orders", "rows": 3, "delta": -2,
        "ratio": 0.5, "is_new": true, "name": "a\"b", "shown": "x y", "debugged": "Some(1)",
        "infinite": "inf"
    });
    assert_eq!(lines, [expected]);
}

#[test]
fn levels_are_filtered() {
    let expected = [
        (Level::Trace, 5),
        (Level::Debug, 4),
        (Level::Info, 3),
        (Level::Warn, 2),
        (Level::Error, 1),
        (Level::Fatal, 0),
    ];
    for (level, count) in expected {
        let lines = traced(level, || {
            tracing::trace!("x");
            tracing::debug!("x");
            tracing::info!("x");
            tracing::warn!("x");
            tracing::error!("x");
        });
        let written: Vec<_> = lines.iter().map(|line| line["level"].as_str().unwrap()).collect();
        assert_eq!(written, ["TRACE", "DEBUG", "INFO", "WARN", "ERROR"][5 - count..], "{level}");
    }
}

#[test]
fn the_level_filters_only_this_layer() {
    let (few, many) = (Lines::default(), Lines::default());
    let subscriber = registry()
        .with(few.log(Level::Error).tracing_layer())
        .with(many.log(Level::Debug).tracing_layer());
    tracing::subscriber::with_default(subscriber, || tracing::debug!("x"));
    assert_eq!((few.take().len(), many.take().len()), (0, 1));
}

#[test]
fn fields_of_spans_are_inherited_and_the_innermost_wins() {
    let lines = traced(Level::Info, || {
        let outer = tracing::info_span!("outer", a = 1, b = 1, c = 1, message = "of the span");
        let inner = tracing::info_span!(parent: &outer, "inner", b = 2, c = 2, later = 0);
        inner.record("later", 7);
        let _entered = inner.enter();
        tracing::info!(c = 3, "x");
    });
    let line = &lines[0];
    assert_eq!((&line["a"], &line["b"], &line["c"]), (&json!(1), &json!(2), &json!(3)));
    assert_eq!((&line["later"], &line["message"]), (&json!(7), &json!("x")));
}

#[test]
fn the_request_id_comes_from_the_event_or_else_the_span_or_else_the_thread() {
    let lines = traced(Level::Info, || {
        tracing::info!("none");
        current::during("thread", || {
            tracing::info!("thread");
            let span = tracing::info_span!("invocation", request_id = "span");
            let _entered = span.enter();
            tracing::info!("span");
            tracing::info_span!("inner", requestId = "inner").in_scope(|| tracing::info!("inner"));
            tracing::info!(request_id = "event", "event");
        });
        tracing::info!("none");
    });
    assert_eq!(lines.len(), 6);
    for line in lines {
        let id = line["requestId"].as_str().unwrap_or("none");
        assert_eq!(id, line["message"], "{line}");
        assert!(line.get("request_id").is_none(), "{line}");
    }
}

#[test]
fn of_the_span_of_an_invocation_a_line_has_only_the_request_id() {
    let lines = traced(Level::Info, || {
        let span = tracing::info_span!(
            target: TracingLayer::INVOCATION, "invocation", "faas.invocation_id" = "id-1",
            "faas.coldstart" = true, "otel.status_code" = tracing::field::Empty
        );
        let _entered = span.enter();
        span.record("otel.status_code", "ERROR");
        let _inner = tracing::info_span!("query", rows = 3).entered();
        tracing::info!("loaded");
    });
    let expected = json!({
        "level": "INFO", "message": "loaded", "logger": "facades", "rows": 3, "requestId": "id-1"
    });
    assert_eq!(lines, [expected]);
}

#[test]
fn a_hostile_field_stays_a_value() {
    let lines = traced(Level::Info, || {
        tracing::info!(level = "FATAL", logger = "x\"},{", rows = %"1,\"a\":2\n", "a\n{}", '\u{2028}');
    });
    let line = &lines[0];
    assert_eq!((&line["level"], &line["_level"]), (&json!("INFO"), &json!("FATAL")));
    assert_eq!((&line["rows"], &line["_logger"]), (&json!("1,\"a\":2\n"), &json!("x\"},{")));
    assert_eq!(line["message"], "a\n\u{2028}");
}

fn logged(level: Level, logged: log::Level, message: &str) -> Vec<Value> {
    let lines = Lines::default();
    let log: &dyn log::Log = &lines.log(level);
    let arguments = format_args!("{message}");
    let record = log::Record::builder().level(logged).target("orders").args(arguments).build();
    let filter = log::LevelFilter::from(level);
    assert_eq!(log.enabled(record.metadata()), logged <= filter);
    log.log(&record);
    log.flush();
    lines.take()
}

#[test]
fn every_level_of_the_crate_log_is_filtered() {
    let levels = [
        (log::Level::Trace, Level::Trace),
        (log::Level::Debug, Level::Debug),
        (log::Level::Info, Level::Info),
        (log::Level::Warn, Level::Warn),
        (log::Level::Error, Level::Error),
    ];
    for least in Level::ALL {
        for (theirs, ours) in levels {
            let lines = logged(least, theirs, "a \"b\"");
            if ours < least {
                assert!(lines.is_empty(), "{least} {theirs}: {lines:?}");
                continue;
            }
            let level = ours.to_string();
            assert_eq!(lines, [json!({"level": level, "message": "a \"b\"", "logger": "orders"})]);
        }
    }
}

#[test]
fn a_record_has_the_request_id_of_its_thread() {
    let id = |lines: Vec<Value>| lines[0]["requestId"].clone();
    let log = || logged(Level::Info, log::Level::Info, "x");
    let other = current::during("mine", || {
        assert_eq!(id(log()), "mine");
        thread::spawn(log).join().unwrap()
    });
    assert_eq!(id(other), Value::Null);
    assert_eq!(id(log()), Value::Null);
}
