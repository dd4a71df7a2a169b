//! What is not written costs no memory, and neither does the note of which invocation is in flight.
#![cfg(all(feature = "log", feature = "tracing"))]

#[path = "support/allocations.rs"]
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
fn a_record_below_the_level_allocates_nothing_and_the_meter_sees_one_that_is_not() {
    let log = Log::to(|record| assert!(!record.to_string().is_empty()));
    assert!(allocations(|| write(&log)) > 0);
    let log = log.with_level(Level::Warn);
    assert_eq!(allocations(|| write(&log)), 0);
    assert_eq!(allocations(|| log.info(format_args!("value {}", 1))), 0);
}

#[test]
fn nor_does_what_is_logged_through_others() {
    let log = Log::to(|_| {}).with_level(Level::Warn);
    let subscriber = registry().with(log.tracing_layer());
    tracing::subscriber::with_default(subscriber, || {
        let event = || tracing::info!(value = 1, "value {}", 1);
        // The first time, `tracing` gets to know the place.
        event();
        assert_eq!(allocations(event), 0);
    });
    let log: &dyn log::Log = &log;
    let arguments = format_args!("value {}", 1);
    let record = log::Record::builder().level(log::Level::Info).args(arguments).build();
    assert_eq!(allocations(|| log.log(&record)), 0);
}

#[test]
fn the_note_of_the_invocation_in_flight_allocates_nothing() {
    let count = allocations(|| {
        for _ in 0..100 {
            current::set("8476a536-e9f4-11e8-9739-2dfe598c3fcd");
            current::during("b8476a53", || assert_eq!(&*current::request_id(), "b8476a53"));
            current::set("");
        }
    });
    assert_eq!(count, 0);
}
