//! The request id that a thread works on, for the log lines of the function.
#![cfg(any(feature = "log", feature = "tracing"))]

mod support;

use std::sync::mpsc::channel;

use lambda_proto_std::current;
use support::{Event, PATIENCE, Service};

#[test]
fn the_thread_of_a_handler_knows_its_request_id_until_the_next_invocation_is_asked_for() {
    let service = Service::start();
    let (sender, behind_answers) = channel();
    let runtime = service.runtime();
    let stop = runtime.stop_handle();
    let run = service.run_loop(stop, move || {
        let result = runtime.run(move |_, responder| {
            let sent = responder.send(&*current::request_id());
            sender.send(current::request_id().to_string()).unwrap();
            Ok(sent)
        });
        assert_eq!(&*current::request_id(), "", "nothing is in flight");
        result
    });
    let mut connection = service.connection();
    for id in ["id-1", "id-2"] {
        connection.invoke(Event::new(id, ""));
        assert_eq!(connection.request().body, id.as_bytes());
        connection.take_answer();
        assert_eq!(behind_answers.recv_timeout(PATIENCE).unwrap(), id);
    }
    run.stop();
}
