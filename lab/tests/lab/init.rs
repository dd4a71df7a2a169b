//! The limit for init.

use std::time::{Duration, Instant};

use lambda_lab::{FailureKind, InvokeError};

use crate::served::Served;
use crate::support::{PATIENCE, script};

/// The shell command for the bootstrap of these tests.
fn bootstrap() -> String {
    format!("{} --exact bootstrap --nocapture", std::env::current_exe().unwrap().display())
}

/// A script that hangs at its first start and is a bootstrap at the second, and the file by which
/// it knows.
fn slow_once(name: &str) -> (String, std::path::PathBuf) {
    let file = std::env::temp_dir().join(format!("lambda-lab-{name}-{}", std::process::id()));
    let file_name = file.display();
    let bootstrap = bootstrap();
    (
        format!("if [ -e {file_name} ]; then exec {bootstrap}; fi; touch {file_name}; sleep 1000"),
        file,
    )
}

#[test]
fn an_init_that_takes_too_long_is_repeated_within_the_invocation() {
    let (function, file) = slow_once("slow-start");
    let mut served = Served::start(&["--init-timeout", "300ms"], &function);
    let mut caller = served.invoke("1");
    assert_eq!(caller.response().text(), "1");
    let report = served.line_with("INIT_REPORT ");
    let (duration, rest) = report.split_once(" ms\t").unwrap();
    let duration = duration.strip_prefix("Init Duration: ").unwrap();
    assert!(duration.parse::<f64>().unwrap() >= 300.0, "{report}");
    assert_eq!(rest, "Phase: init\tStatus: timeout\t");
    served.line_with("shutdown (timeout): ");
    let report = served.line_with("REPORT RequestId: ");
    // The second init is part of the invocation.
    assert!(!report.contains("Init Duration"), "{report}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn the_timeout_begins_with_the_second_init() {
    let (function, file) = slow_once("deadline");
    let timeout = Duration::from_secs(5);
    let function = script(&function).timeout(timeout).init_timeout(Duration::from_millis(300));
    let lab = function.start().unwrap();
    let began = lab.now();
    let deadline = lab.invoke("deadline").unwrap().text();
    let deadline = Duration::from_millis(deadline.parse().unwrap());
    let began = began.duration_since(std::time::UNIX_EPOCH).unwrap();
    let ended = lab.now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(deadline >= began + timeout + Duration::from_millis(299), "{deadline:?} {began:?}");
    assert!(deadline <= ended + timeout, "{deadline:?} {ended:?}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_second_init_that_takes_too_long_times_the_invocation_out() {
    let lab = script("sleep 1000")
        .init_timeout(Duration::from_millis(150))
        .timeout(Duration::from_millis(250))
        .start()
        .unwrap();
    // After the first failure, init is a part of the invocation.
    for least in [400, 250] {
        let began = Instant::now();
        let Err(InvokeError::Function(failure)) = lab.invoke("in") else { panic!("it hangs") };
        assert_eq!(failure.kind, FailureKind::Timeout);
        assert_eq!(failure.to_string(), "Task timed out after 0.25 seconds");
        assert!(began.elapsed() >= Duration::from_millis(least), "{:?}", began.elapsed());
    }
}

#[test]
fn init_does_not_count_against_the_timeout() {
    let function = format!("sleep 3.1; exec {}", bootstrap());
    let lab = script(&function).timeout(Duration::from_secs(3)).start().unwrap();
    assert_eq!(lab.invoke("in").unwrap().body, b"in");
}

#[test]
fn an_exit_during_the_second_init_is_reported_like_one_during_the_first() {
    let (function, file) = slow_once("exit-start");
    let function = function.replace(&format!("exec {}", bootstrap()), "exit 9");
    let lab = script(&function)
        .init_timeout(Duration::from_millis(100))
        .timeout(PATIENCE)
        .start()
        .unwrap();
    let Err(InvokeError::Function(failure)) = lab.invoke("in") else { panic!("it ends") };
    assert_eq!(failure.kind, FailureKind::Exit);
    assert!(failure.to_string().ends_with("exit status 9"), "{failure}");
    std::fs::remove_file(file).unwrap();
}
