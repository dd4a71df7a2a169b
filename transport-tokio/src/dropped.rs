//! The report of a worker that is dropped with an invocation in flight.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Instant;

use lambda_proto::api::Call;
use lambda_proto::async_driver::Driver;
use lambda_proto::machine::{Machine, Phase};
use lambda_proto_host::{Failure, Level, NO_RESPONSE};
use tokio::task::unconstrained;

use crate::connector::SlotConnector;
use crate::memory::Memory;

/// Reports the invocation that the worker leaves, if there is one: with `failure`, or as one without
/// an answer.
pub(crate) fn report(driver: &mut Driver<SlotConnector, Memory>, failure: Option<Failure>) {
    if driver.machine().invocation().is_none() {
        return;
    }
    driver.connector().is_dropped = true;
    let message = "the function ended with the invocation in flight";
    let failure = failure.unwrap_or_else(|| Failure::new(NO_RESPONSE, message));
    // Takes back an answer of which nothing was sent.
    let is_streaming = driver.stream().is_some() && driver.machine().is_streaming();
    if is_streaming {
        // The socket nearly always has room for the end of the stream.
        poll(driver.fail_in_flight(&failure.as_error_report()));
    } else if is_unreported(driver.machine()) {
        post(driver, &failure);
    } else {
        // Warns about an answer that was cut off, or refused.
        poll(driver.wait());
    }
}

/// Does what can be done without waiting.
fn poll<F: Future>(future: F) {
    let future = pin!(unconstrained(future));
    let _waits = future.poll(&mut Context::from_waker(Waker::noop()));
}

/// Whether the service has neither an answer nor a whole report.
fn is_unreported(machine: &Machine) -> bool {
    match machine.phase() {
        // The event is arriving, or the handler has run.
        Phase::Ready | Phase::Invoking => true,
        Phase::Reporting => machine.awaits() == Some(Call::Error) && machine.unsent_len() > 0,
        Phase::Init | Phase::ShuttingDown => false,
    }
}

/// Posts the report on a connection of its own, since a drop cannot wait for the worker's.
fn post(driver: &mut Driver<SlotConnector, Memory>, failure: &Failure) {
    let Some(ids) = driver.machine().invocation().cloned() else { return };
    let SlotConnector { dialer, stop, in_flight, .. } = driver.connector();
    let settings = dialer.settings();
    settings.log.failure(Level::Error, ids.request_id(), format_args!("failed"), failure);
    let (report, until) = (failure.as_error_report(), Instant::now() + stop.patience_of_drop());
    if let Err(error) = in_flight.report_dropped(&settings.endpoint, &ids, report, until) {
        stop.service_is_silent();
        let line = format_args!("the failure could not be reported: {error}");
        settings.log.error(line);
    }
}
