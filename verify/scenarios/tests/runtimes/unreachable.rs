//! A service that is absent, not started yet, or closes its connections immediately.

use ::std::time::{Duration, Instant};

use lambda_proto_scenarios::{
    Act, Error, Event, Place, Running, Service, Settings, Transport, scenarios,
};

scenarios! {
    on_every_runtime {
        a_service_that_closes_each_connection_is_not_called_in_a_tight_loop,
        a_service_that_closes_each_connection_for_a_while_is_logged,
        after_an_invocation_pauses_start_from_the_beginning,
    }
    on_sockets {
        a_service_that_starts_late_is_found_with_one_line_for_each_change,
        a_service_that_never_starts_is_given_up_with_address_and_time,
        without_patience_one_attempt_is_made,
        a_service_that_goes_away_is_given_up_with_an_error,
        a_host_that_cannot_be_resolved_is_given_up_with_its_name,
        addresses_of_every_form_reach_the_service,
    }
}

fn run(on: &dyn Transport, place: &Place) -> Running {
    on.run_with(Settings::default(), place, |_| Act::send("x"))
}

fn run_with_patience(on: &dyn Transport, patience: Duration, place: &Place) -> Running {
    let settings = Settings { patience: Some(patience), ..Settings::default() };
    on.run_with(settings, place, |_| Act::send("x"))
}

fn a_service_that_starts_late_is_found_with_one_line_for_each_change(on: &dyn Transport) {
    let place = Place::deserted();
    let run = run(on, &place);
    place.lines().wait_for("no connection");
    let service = Service::start_on(&place);
    service.connection().expect_next();
    let lines = run.stop();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let address = place.address();
    let lost = format!("no connection to the Runtime API at {address}: Connection refused");
    assert!(lines[0].starts_with(&lost), "{lines:?}");
    assert!(lines[0].ends_with("trying again for 60.0 s"), "{lines:?}");
    assert!(lines[1].starts_with(&format!("connected to the Runtime API at {address} after")));
}

fn a_service_that_never_starts_is_given_up_with_address_and_time(on: &dyn Transport) {
    let place = Place::deserted();
    let patience = Duration::from_millis(300);
    let began = Instant::now();
    let error = run_with_patience(on, patience, &place).end().unwrap_err();
    assert!(began.elapsed() >= patience, "{:?}", began.elapsed());
    assert!(matches!(&error, Error::Unreachable { waited, .. } if *waited >= patience));
    let message = error.to_string();
    let start = format!("no connection to the Runtime API at {} for 0.", place.address());
    assert!(message.starts_with(&start), "{message}");
    assert!(message.contains("giving up: Connection refused"), "{message}");
    let lines = place.lines().all();
    assert_eq!(lines.len(), 1, "{lines:?}");
}

fn without_patience_one_attempt_is_made(on: &dyn Transport) {
    let place = Place::deserted();
    let error = run_with_patience(on, Duration::ZERO, &place).error();
    assert!(error.contains("giving up"), "{error}");
    assert_eq!(place.lines().all(), [""; 0]);
}

fn a_service_that_goes_away_is_given_up_with_an_error(on: &dyn Transport) {
    let place = Place::deserted();
    let service = Service::start_on(&place);
    let run = run_with_patience(on, Duration::from_millis(300), &place);
    drop((service.connection(), service));
    let error = run.error();
    assert!(error.contains("giving up"), "{error}");
}

fn a_service_that_closes_each_connection_is_not_called_in_a_tight_loop(on: &dyn Transport) {
    let service = on.service();
    let run = run(on, service.place());
    let began = Instant::now();
    let mut count = 0;
    while let Some(left) = Duration::from_secs(1).checked_sub(began.elapsed()) {
        count += usize::from(service.connection_within(left).is_some());
    }
    // Pauses of at least 25, 50, 100, 200, 400 and 800 ms follow the second connection.
    assert!(count <= 8, "{count} connections in a second");
    // It goes on.
    service.connection();
    run.stop();
}

fn a_service_that_closes_each_connection_for_a_while_is_logged(on: &dyn Transport) {
    let service = on.service();
    let run = run(on, service.place());
    for _ in 0..6 {
        service.connection().close();
    }
    service.connection().expect_next();
    assert_ne!(run.stop(), [""; 0], "the closed connections must be logged");
}

fn after_an_invocation_pauses_start_from_the_beginning(on: &dyn Transport) {
    let service = on.service();
    let run = run(on, service.place());
    for _ in 0..6 {
        service.connection().close();
    }
    let mut connection = service.connection();
    let mut pauses = Vec::new();
    for _ in 0..4 {
        connection.invoke(Event::new("id-1", ""));
        connection.request().assert_response("id-1");
        connection.take_answer();
        connection.expect_next();
        connection.close();
        let closed = Instant::now();
        connection = service.connection();
        pauses.push(closed.elapsed());
    }
    // The seventh pause, and each after it, would be at least 800 ms. A busy machine may take as
    // long, but not every time.
    assert!(pauses.iter().any(|pause| *pause < Duration::from_millis(700)), "{pauses:?}");
    connection.expect_next();
    run.stop();
}

fn a_host_that_cannot_be_resolved_is_given_up_with_its_name(on: &dyn Transport) {
    // A name with an empty label is refused without a DNS query.
    let place = Place::at("no..host:9001");
    let error = run_with_patience(on, Duration::from_millis(10), &place).error();
    assert!(error.contains("at no..host:9001"), "{error}");
    assert!(error.contains("giving up"), "{error}");
}

fn addresses_of_every_form_reach_the_service(on: &dyn Transport) {
    let service = on.service();
    let port = service.address().rsplit_once(':').unwrap().1.to_owned();
    for (value, prefix) in [
        (format!("127.0.0.1:{port}"), ""),
        (format!("localhost:{port}"), ""),
        (format!("http://127.0.0.1:{port}/"), ""),
        (format!("http://localhost:{port}/.rt/hello"), "/.rt/hello"),
    ] {
        let run = run(on, &Place::at(&value));
        let mut connection = service.connection();
        let request = connection.request();
        assert_eq!(request.path, format!("{prefix}/2018-06-01/runtime/invocation/next"));
        let authority = value.trim_start_matches("http://").split('/').next();
        assert_eq!(request.header("Host"), authority);
        run.stop();
    }
}
