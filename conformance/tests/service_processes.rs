//! The steps of the player that are about processes of the service, with processes that this test
//! starts in its place.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lambda_conformance::service::{
    Bootstrap, Cut, Failure, Player, Process, Service, Vector, Words,
};

/// A service whose only external extension is `ext`.
struct Fake {
    bootstrap: Bootstrap,
    extension: Child,
    is_stopped: AtomicBool,
}

const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

impl Fake {
    fn start() -> Self {
        let bootstrap = Bootstrap::new().unwrap();
        let extensions = bootstrap.extensions(&["ext".to_owned()]).unwrap();
        let extension = Command::new(extensions.join("ext"))
            .env(Bootstrap::VARIABLE, bootstrap.file())
            .env("AWS_LAMBDA_RUNTIME_API", NOWHERE.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { bootstrap, extension, is_stopped: AtomicBool::new(false) }
    }

    fn play(&self, steps: &str) -> Result<usize, Failure> {
        let service = r#"{"extensions": ["ext"]}"#;
        let vector = format!(
            r#"{{"name": "n", "source": ["s"], "service": {service}, "steps": [{steps}]}}"#
        );
        let vector: Vector = serde_json::from_str(&vector).unwrap();
        let (patience, moment) = (Duration::from_secs(30), Duration::from_millis(50));
        Player { patience, moment, cut: Cut::Whole, words: Words::Own }.play(&vector, self)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _may_have_ended = self.extension.kill();
        let _may_have_ended = self.extension.wait();
    }
}

impl Service for Fake {
    fn runtime_api(&self) -> SocketAddr {
        NOWHERE
    }

    fn invoke_api(&self) -> SocketAddr {
        NOWHERE
    }

    fn await_start(&self, process: &Process) -> Result<(), String> {
        self.bootstrap.await_start(process).map(drop)
    }

    fn bootstrap(&self) -> Option<&Bootstrap> {
        Some(&self.bootstrap)
    }

    fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_process_starts_writes_and_exits_as_the_vector_says() {
    let mut fake = Fake::start();
    let steps = [
        r#"{"starts": "ext"}"#,
        r#"{"hangs": "runtime"}"#,
        r#"{"hangs": "ext"}"#,
        r#"{"print": {"text": "a line", "times": 2}, "by": "ext"}"#,
        r#"{"exit": 3, "by": "ext"}"#,
        r#"{"stop": {}}"#,
    ];
    fake.play(&steps.join(",")).unwrap();
    assert!(fake.is_stopped.load(Ordering::Relaxed));
    assert_eq!(fake.extension.wait().unwrap().code(), Some(3));
    let output = std::io::read_to_string(fake.extension.stdout.take().unwrap()).unwrap();
    assert_eq!(output, "a line\na line\n");
}

#[test]
fn a_start_where_none_is_expected_is_a_failure() {
    let fake = Fake::start();
    assert!(fake.bootstrap.starts_within(&Process::Extension("ext".into()), Duration::MAX));
    let failure = fake.play(r#"{"hangs": "ext"}"#).unwrap_err();
    assert_eq!((failure.step, failure.came.as_str()), (1, "its start"));
}

#[test]
fn an_order_for_a_process_that_does_not_run_is_a_failure() {
    let failure = Fake::start().play(r#"{"exit": 0, "by": "runtime"}"#).unwrap_err();
    assert!(failure.came.contains("started.orders"), "{failure}");
}
