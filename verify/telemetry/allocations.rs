//! Once it is warm, an extension allocates nothing for a record or a batch on the thread that takes
//! them. What the handler itself allocates counts too, and this one allocates nothing.

use std::sync::mpsc::channel;
use std::thread;

use lambda_proto_service::{PATIENCE, Service};

use crate::transport::{self, Telemetry};
use crate::{allocations, support};

const BATCHES: usize = 5;

#[test]
fn no_record_and_no_batch_allocates_once_the_connection_is_warm() {
    let service = Service::start();
    let (tell, counted) = channel();
    let (mut marks, mut first) = (0, 0);
    let extension = support::external(&service);
    let take = move |telemetry: Telemetry<'_>| {
        if let Telemetry::Record(record) = telemetry
            && record.raw().contains("mark")
        {
            marks += 1;
            match marks {
                // The first batches warm it up.
                2 => first = allocations::so_far(),
                BATCHES => tell.send(allocations::so_far() - first).unwrap(),
                _ => {}
            }
        }
        Ok(None)
    };
    let run =
        thread::spawn(move || transport::run(extension, support::options(), take, |_event| Ok(())));
    let mut api = support::registers(&service);
    let subscription = api.request().json();
    let uri = subscription["destination"]["URI"].as_str().unwrap().to_owned();
    api.answer(200, "", "\"OK\"");
    let port: u16 = uri.rsplit(':').next().unwrap().parse().unwrap();
    let mut client = support::Client::connect(([127, 0, 0, 1], port).into());
    let mut records: Vec<_> = (0..1_000).map(|n| support::function(&n.to_string())).collect();
    records.push("7".to_owned());
    records.push(support::runtime_done("id"));
    records.push(support::report("id"));
    records.push(support::function("mark"));
    for _ in 0..BATCHES {
        assert_eq!(client.post(&records), 200);
    }
    assert_eq!(counted.recv_timeout(PATIENCE).unwrap(), 0);
    api.expect_extension_next();
    api.answer(200, "", r#"{"eventType":"SHUTDOWN","deadlineMs":7,"shutdownReason":"x"}"#);
    run.join().unwrap().unwrap();
}
