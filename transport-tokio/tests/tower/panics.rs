//! A panic in each part of a service.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use lambda_proto_service::Service as Lambda;
use lambda_proto_tokio::Error;
use lambda_proto_tokio::parallel::Invocation;
use lambda_proto_tokio::tower::BoxError;
use tower::Service;

use crate::support::{error_of, invoke, run_one};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Nowhere,
    Clone,
    Ready,
    Call,
    Future,
    DropOfFuture,
    DropOfService,
}

/// Panics in one place, which the test sets.
struct Panics(Arc<Mutex<Place>>);

/// Panics if this is the place.
#[track_caller]
fn pass(place: &Mutex<Place>, here: Place) {
    let is_here = *place.lock().unwrap() == here;
    assert!(!is_here, "panics in {here:?}");
}

impl Clone for Panics {
    fn clone(&self) -> Self {
        pass(&self.0, Place::Clone);
        Self(self.0.clone())
    }
}

impl Service<Invocation> for Panics {
    type Response = &'static str;
    type Error = BoxError;
    type Future = PanickingFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        pass(&self.0, Place::Ready);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Invocation) -> PanickingFuture {
        pass(&self.0, Place::Call);
        PanickingFuture(self.0.clone())
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        pass(&self.0, Place::DropOfService);
    }
}

struct PanickingFuture(Arc<Mutex<Place>>);

impl Future for PanickingFuture {
    type Output = Result<&'static str, BoxError>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        pass(&self.0, Place::Future);
        Poll::Ready(Ok("answer"))
    }
}

impl Drop for PanickingFuture {
    fn drop(&mut self) {
        pass(&self.0, Place::DropOfFuture);
    }
}

#[test]
fn a_panic_in_any_part_of_a_service_fails_its_invocation_and_the_loop_goes_on() {
    use Place::{Call, Clone, DropOfFuture, Future, Ready};

    let lambda = Lambda::start();
    let place = Arc::new(Mutex::new(Place::Nowhere));
    let run = run_one(&lambda, Panics(place.clone()));
    let mut connection = lambda.connection();
    for here in [Clone, Ready, Call, Future, DropOfFuture] {
        *place.lock().unwrap() = here;
        let expected = ("Function.Panic".to_owned(), format!("panics in {here:?}"));
        assert_eq!(error_of(&invoke(&mut connection, "")), expected);
        *place.lock().unwrap() = Place::Nowhere;
        assert_eq!(invoke(&mut connection, "").body, b"answer", "after {here:?}");
    }
    connection.expect_next();
    assert_eq!(run.stop().len(), 5);
}

#[test]
fn a_panic_in_the_drop_of_a_service_is_logged_after_its_answer() {
    let lambda = Lambda::start();
    let place = Arc::new(Mutex::new(Place::Nowhere));
    let run = run_one(&lambda, Panics(place.clone()));
    let mut connection = lambda.connection();
    *place.lock().unwrap() = Place::DropOfService;
    assert_eq!(invoke(&mut connection, "").body, b"answer");
    lambda.lines().wait_for("panics in DropOfService");
    *place.lock().unwrap() = Place::Nowhere;
    assert_eq!(invoke(&mut connection, "").body, b"answer");
    connection.expect_next();
    let lines = run.stop();
    assert!(lines[0].contains("failed after it was answered"), "{lines:?}");
}

#[test]
fn a_panic_when_the_service_of_a_slot_is_dropped_is_an_error_of_the_run() {
    let lambda = Lambda::start();
    let place = Arc::new(Mutex::new(Place::Nowhere));
    /// Panics when the first clone is dropped, which belongs to the slot.
    struct Once(Panics, Arc<AtomicUsize>);

    impl Clone for Once {
        fn clone(&self) -> Self {
            Self(self.0.clone(), self.1.clone())
        }
    }

    impl Service<Invocation> for Once {
        type Response = &'static str;
        type Error = BoxError;
        type Future = PanickingFuture;

        fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            self.0.poll_ready(context)
        }

        fn call(&mut self, invocation: Invocation) -> PanickingFuture {
            self.0.call(invocation)
        }
    }

    impl Drop for Once {
        fn drop(&mut self) {
            let is_first = self.1.fetch_add(1, SeqCst) == 0;
            assert!(!is_first, "the first drop");
        }
    }

    let run = run_one(&lambda, Once(Panics(place), Arc::default()));
    let mut connection = lambda.connection();
    connection.expect_next();
    run.tell_to_stop();
    let error = run.end().unwrap_err();
    assert!(matches!(error, Error::Panicked { .. }), "{error}");
}
