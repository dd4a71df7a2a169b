//! Neither filtered records nor changes of the current request id allocate memory.
#![cfg(all(feature = "log", feature = "tracing"))]

#[path = "../../verify/allocations.rs"]
mod allocations;

use allocations::allocations;
use lambda_proto_host::{Fields, Level, Log, Record, current};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry;

fn write(log: &Log) {
    let value = 1;
    let add = |fields: &mut Fields<'_>| fields.json("value", format_args!("{value}"));
    log.write(&Record::new(Level::Info, format_args!("value {value}")).fields(&add));
}

#[test]
fn a_record_below_the_level_allocates_nothing_and_a_written_one_does() {
    let log = Log::to(|record| assert!(!record.to_string().is_empty()));
    assert!(allocations(|| write(&log)) > 0);
    let log = log.with_level(Level::Warn);
    assert_eq!(allocations(|| write(&log)), 0);
    assert_eq!(allocations(|| log.info(format_args!("value {}", 1))), 0);
}

#[test]
fn a_filtered_record_of_log_and_tracing_allocates_nothing() {
    let log = Log::to(|_| {}).with_level(Level::Warn);
    let subscriber = registry().with(log.tracing_layer());
    tracing::subscriber::with_default(subscriber, || {
        let event = || tracing::info!(value = 1, "value {}", 1);
        // The first time, `tracing` registers the call site.
        event();
        assert_eq!(allocations(event), 0);
    });
    let log: &dyn log::Log = &log;
    let arguments = format_args!("value {}", 1);
    let record = log::Record::builder().level(log::Level::Info).args(arguments).build();
    assert_eq!(allocations(|| log.log(&record)), 0);
}

#[test]
fn setting_the_current_request_id_allocates_nothing() {
    let count = allocations(|| {
        for _ in 0..100 {
            current::set("8476a536-e9f4-11e8-9739-2dfe598c3fcd");
            current::during("b8476a53", || assert_eq!(&*current::request_id(), "b8476a53"));
            current::set("");
        }
    });
    assert_eq!(count, 0);
}
