//! A service that is not there, not there yet, or hangs up at once.

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use lambda_proto_std::{Endpoint, Error, Runtime};

use support::{Event, Lines, Running, Service, runtime_at};

/// An address where nobody listens.
///
/// Each test has a loopback address of its own, so that no other test is given the same port.
fn deserted(host: u8) -> SocketAddr {
    let host = Ipv4Addr::new(127, 0, 1, host);
    let listener = TcpListener::bind((host, 0)).expect("on Linux all of 127.0.0.0/8 is loopback");
    listener.local_addr().expect("a bound socket has an address")
}

fn run(runtime: Runtime, lines: &Lines) -> Running {
    let stop = runtime.stop_handle();
    Running::new(lines, stop, move || runtime.run(|_, reply| Ok(reply.send("x"))))
}

#[test]
fn a_service_that_comes_late_is_found_with_one_line_for_each_change() {
    let address = deserted(1);
    let lines = Lines::default();
    let run = run(runtime_at(&address.to_string(), &lines), &lines);
    lines.wait_for("no connection");
    let service = Service::start_at(address);
    service.connection().expect_next();
    let lines = run.stop();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let lost = format!("no connection to the Runtime API at {address}: Connection refused");
    assert!(lines[0].starts_with(&lost), "{lines:?}");
    assert!(lines[0].ends_with("trying again for 60s"), "{lines:?}");
    assert!(lines[1].starts_with(&format!("connected to the Runtime API at {address} after")));
}

#[test]
fn a_service_that_never_comes_is_given_up_with_address_and_time() {
    let address = deserted(2);
    let lines = Lines::default();
    let patience = Duration::from_millis(300);
    let runtime = runtime_at(&address.to_string(), &lines).give_up_after(patience);
    let began = Instant::now();
    let error = run(runtime, &lines).end().unwrap_err();
    assert!(began.elapsed() >= patience, "{:?}", began.elapsed());
    assert!(matches!(&error, Error::Unreachable { waited, .. } if *waited >= patience));
    let message = error.to_string();
    let start = format!("no connection to the Runtime API at {address} for 0.");
    assert!(message.starts_with(&start), "{message}");
    assert!(message.contains("giving up: Connection refused"), "{message}");
    assert_eq!(lines.all().len(), 1, "{:?}", lines.all());
}

#[test]
fn without_patience_one_attempt_is_made() {
    let address = deserted(3);
    let lines = Lines::default();
    let runtime = runtime_at(&address.to_string(), &lines).give_up_after(Duration::ZERO);
    let error = run(runtime, &lines).error();
    assert!(error.contains("giving up"), "{error}");
    assert_eq!(lines.all(), [""; 0]);
}

#[test]
fn a_service_that_goes_away_is_given_up_with_an_error() {
    let address = deserted(4);
    let listener = TcpListener::bind(address).unwrap();
    let lines = Lines::default();
    let patience = Duration::from_millis(300);
    let run = run(runtime_at(&address.to_string(), &lines).give_up_after(patience), &lines);
    let (stream, _) = listener.accept().unwrap();
    drop((stream, listener));
    let error = run.error();
    assert!(error.contains("giving up"), "{error}");
}

#[test]
fn a_service_that_accepts_and_hangs_up_is_not_called_in_a_busy_loop() {
    let service = Service::start();
    let run = service.run(|_, reply| Ok(reply.send("x")));
    let began = Instant::now();
    let mut count = 0;
    while let Some(left) = Duration::from_secs(1).checked_sub(began.elapsed()) {
        count += usize::from(service.connection_within(left).is_some());
    }
    // Pauses of at least 25, 50, 100, 200, 400 and 800 ms follow the second connection.
    assert!((3..=8).contains(&count), "{count} connections in a second");
    run.stop();
}

#[test]
fn a_service_that_accepts_and_hangs_up_for_a_while_is_told_of() {
    let service = Service::start();
    let run = service.run(|_, reply| Ok(reply.send("x")));
    for _ in 0..6 {
        service.connection().close();
    }
    service.connection().expect_next();
    assert_ne!(run.stop(), [""; 0], "somebody should know");
}

#[test]
fn after_an_invocation_pauses_begin_anew() {
    let service = Service::start();
    let run = service.run(|_, reply| Ok(reply.send("x")));
    for _ in 0..6 {
        service.connection().close();
    }
    let mut connection = service.connection();
    connection.invoke(Event::new("id-1", ""));
    connection.request().assert_response("id-1");
    connection.take_answer();
    connection.expect_next();
    connection.close();
    let began = Instant::now();
    let mut connection = service.connection();
    // The seventh pause would be at least 800 ms.
    assert!(began.elapsed() < Duration::from_millis(700), "{:?}", began.elapsed());
    connection.expect_next();
    run.stop();
}

#[test]
fn an_address_that_makes_no_sense_is_refused_with_the_value() {
    let wrong = [
        ("", "host is missing"),
        (":9001", "host is missing"),
        ("127.0.0.1:port", "port is not a number"),
        ("127.0.0.1:0", "port is not a number"),
        ("127.0.0.1:65536", "port is not a number"),
        ("https://127.0.0.1:9001", "plain HTTP"),
        ("[::1:9001", "host is missing"),
        ("a host:9001", "host is missing"),
        ("127.0.0.1:9001/a path", "path has a character"),
    ];
    for (value, reason) in wrong {
        let error = Endpoint::parse(value).expect_err(value).to_string();
        assert!(error.contains(&format!("\"{value}\"")) && error.contains(reason), "{error}");
    }
}

#[test]
fn a_host_that_no_resolver_knows_is_given_up_with_its_name() {
    let lines = Lines::default();
    // An empty label is refused before any server is asked.
    let runtime = runtime_at("no..host:9001", &lines).give_up_after(Duration::from_millis(10));
    let error = run(runtime, &lines).error();
    assert!(error.contains("at no..host:9001"), "{error}");
    assert!(error.contains("giving up"), "{error}");
}

#[test]
fn addresses_of_every_form_reach_the_service() {
    let service = Service::start();
    let port = service.address().rsplit_once(':').unwrap().1.to_owned();
    for (value, prefix) in [
        (format!("127.0.0.1:{port}"), ""),
        (format!("localhost:{port}"), ""),
        (format!("http://127.0.0.1:{port}/"), ""),
        (format!("http://localhost:{port}/.rt/hello"), "/.rt/hello"),
    ] {
        let run = run(runtime_at(&value, service.lines()), service.lines());
        let mut connection = service.connection();
        let request = connection.request();
        assert_eq!(request.path, format!("{prefix}/2018-06-01/runtime/invocation/next"));
        let authority = value.trim_start_matches("http://").split('/').next();
        assert_eq!(request.header("Host"), authority);
        run.stop();
    }
}
