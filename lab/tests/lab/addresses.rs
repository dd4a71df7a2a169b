//! Where the lab listens, and what it says about it.

use std::net::{SocketAddr, TcpListener};

use lambda_lab::{Function, Output};

use crate::served::{Served, lab};
use crate::support::{Connection, NEXT};

fn has_ipv6() -> bool {
    TcpListener::bind("[::1]:0").is_ok()
}

#[test]
fn the_runtime_api_listens_where_it_is_asked_to() {
    // Below the ports that the system gives out. Others may have some of them.
    let own = 10_000 + (std::process::id() % 10_000) as u16;
    let mut started = (own..).filter_map(|port| {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let function = Function::external().runtime_api(address).output(Output::Discarded);
        Some((function.start().ok()?, address))
    });
    for _ in 0..2 {
        let (lab, address) = started.next().unwrap();
        assert_eq!(lab.runtime_api(), address.to_string());
        std::thread::scope(|scope| {
            let caller = scope.spawn(|| lab.invoke("in"));
            let mut runtime = Connection::open(address);
            let next = runtime.request(NEXT, &[], "");
            assert_eq!(next.text(), "in");
            runtime.post(&crate::support::of(&next.id(), "response"), "out").assert_accepted();
            assert_eq!(caller.join().unwrap().unwrap().body, b"out");
        });
    }
}

#[test]
fn a_runtime_api_port_that_is_taken_is_named() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    let function = Function::external().runtime_api(taken).output(Output::Discarded);
    let error = function.start().unwrap_err().to_string();
    assert!(error.contains(&format!("the Runtime API cannot listen on {taken}: ")), "{error}");
    assert!(error.contains("choose another port"), "{error}");
}

#[test]
fn beyond_loopback_the_addresses_can_be_used_and_the_lab_warns() {
    let options = ["--host", "0.0.0.0", "--runtime-port", "0.0.0.0:0"];
    let served = Served::start(&options, "");
    let address: SocketAddr = served.address.parse().unwrap();
    assert!(address.ip().is_loopback());
    let before = served.before();
    served.signal("TERM");
    let all = before + &served.rest();
    let (_, rest) = all.split_once("AWS_LAMBDA_RUNTIME_API=127.0.0.1:").expect("the address");
    let port = rest.split(' ').next().unwrap();
    for text in [
        format!("AWS_LAMBDA_RUNTIME_API=HOST:{port} BOOTSTRAP"),
        format!("warning: the Runtime API at 0.0.0.0:{port} is open to the network"),
        format!("warning: 0.0.0.0:{} is open to the network", address.port()),
        "which has the environment and the rights of this program".to_owned(),
    ] {
        assert!(all.contains(&text), "{text}: {all}");
    }
}

#[test]
fn on_loopback_the_lab_does_not_warn() {
    let served = Served::start(&[], "exit 1");
    served.signal("TERM");
    let all = served.before() + &served.rest();
    assert!(!all.contains("warning"), "{all}");
}

#[test]
fn a_function_that_the_lab_starts_gets_an_address_that_it_can_use() {
    for (option, start) in [("0.0.0.0:0", "127.0.0.1:"), ("[::]:0", "[::1]:")] {
        if start == "[::1]:" && !has_ipv6() {
            continue;
        }
        let options = ["--runtime-port", option];
        let mut served = Served::start(&options, "echo api $AWS_LAMBDA_RUNTIME_API >&2; exit 1");
        served.invoke_in_background().response();
        let api = served.line_with("api ");
        assert!(api.starts_with(start), "{api}");
        served.signal("TERM");
    }
}

#[test]
fn the_host_can_be_localhost_or_an_address_of_ipv6() {
    let hosts =
        [("localhost", true), ("127.0.0.1", true), ("::1", has_ipv6()), ("[::1]", has_ipv6())];
    for (host, _) in hosts.iter().filter(|(_, is_there)| *is_there) {
        let served = Served::start(&["--host", host], "exit 1");
        let address: SocketAddr = served.address.parse().unwrap();
        assert!(address.ip().is_loopback(), "{host}: {address}");
        assert_eq!(address.is_ipv6(), served.address.starts_with('['));
        let answer = served.invoke_in_background().response();
        assert!(answer.text().contains("Runtime.ExitError"), "{host}: {}", answer.text());
        served.signal("TERM");
    }
}

#[test]
fn a_name_of_another_machine_is_refused_as_a_host() {
    // The address is reserved for documentation, so no machine has it.
    let output =
        lab().args(["serve", "--port", "0", "--host", "192.0.2.1", "true"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("cannot listen on 192.0.2.1:0"), "{error}");
}
