//! Runs the same scripts against AWS's emulator and the lab, and compares what a caller gets at
//! each step. The intended differences are in `table.rs`. The exact bytes on the side of the
//! runtime are covered by the vectors of `conformance/service/` instead.

mod compare;
mod differences;
mod documents;
mod http;
mod script;
mod scripts;
mod table;

use crate::differences::check;
use crate::script::Script;

/// Every script of every group.
fn all() -> Vec<Script> {
    [
        scripts::sizes(),
        scripts::failures(),
        scripts::ends_of_the_process(),
        scripts::timeouts(),
        scripts::starts_that_fail(),
        scripts::streams(),
        scripts::paths_and_methods(),
        scripts::what_comes_with_an_event(),
        scripts::invocation_types(),
        scripts::what_a_function_sees(),
        documents::documents(),
    ]
    .concat()
}

#[test]
fn events_and_responses_of_every_size_are_passed_on_alike() {
    check(&scripts::sizes());
}

#[test]
fn failures_are_reported_alike_and_leave_the_process_running() {
    check(&scripts::failures());
}

#[test]
fn the_end_of_a_process_is_reported_alike_and_another_one_is_started() {
    check(&scripts::ends_of_the_process());
}

#[test]
fn timeouts_are_reported_alike_and_another_process_is_started() {
    check(&scripts::timeouts());
}

#[test]
fn failed_starts_are_reported_alike() {
    check(&scripts::starts_that_fail());
}

#[test]
fn streams_arrive_alike_and_only_the_lab_reports_their_failures() {
    check(&scripts::streams());
}

#[test]
fn paths_and_methods_are_handled_alike_except_where_lambda_differs() {
    check(&scripts::paths_and_methods());
}

#[test]
fn the_metadata_of_an_event_is_passed_on_alike() {
    check(&scripts::what_comes_with_an_event());
}

#[test]
fn only_the_lab_knows_invocation_types() {
    check(&scripts::invocation_types());
}

#[test]
fn functions_see_the_same_environment_and_the_same_events() {
    check(&scripts::what_a_function_sees());
}

#[test]
fn documents_are_read_alike_and_calls_of_extensions_are_replied_to_alike() {
    check(&documents::documents());
}
