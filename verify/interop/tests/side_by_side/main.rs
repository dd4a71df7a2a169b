//! The same scripts against AWS's emulator and the lab, step by step: what a caller gets is the same,
//! but for the differences that are wanted, which are in `table.rs`. What a runtime says byte for byte is
//! in the vectors of `conformance/service/` instead.

mod compare;
mod differences;
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
    ]
    .concat()
}

#[test]
fn events_and_answers_of_every_size_are_handed_on_alike() {
    check(&scripts::sizes());
}

#[test]
fn failures_are_told_alike_and_leave_the_process_running() {
    check(&scripts::failures());
}

#[test]
fn the_end_of_a_process_is_told_alike_and_another_one_is_started() {
    check(&scripts::ends_of_the_process());
}

#[test]
fn timeouts_are_told_alike_and_another_process_is_started() {
    check(&scripts::timeouts());
}

#[test]
fn starts_that_fail_are_told_alike() {
    check(&scripts::starts_that_fail());
}

#[test]
fn streams_arrive_alike_and_only_the_lab_tells_their_failures() {
    check(&scripts::streams());
}

#[test]
fn paths_and_methods_are_known_alike_but_for_those_of_lambda() {
    check(&scripts::paths_and_methods());
}

#[test]
fn what_comes_with_an_event_is_handed_on_alike() {
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
