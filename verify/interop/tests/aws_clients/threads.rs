//! The class under the sanitizer for threads.

use std::path::Path;
use std::process::Command;
use std::thread;

use lambda_interop::under_lab::{Logged, PATIENCE};
use lambda_lab::InvokeError;

use crate::calls::threaded;

const THREADS: usize = 6;

const INVOCATIONS: usize = 600;

/// With more random bits in addresses, the sanitizer of older compilers does not start.
const MOST_RANDOM_BITS: u32 = 28;

/// A program of the sanitizer, without random addresses where it would not start with them. `None`
/// where the system forbids that, as a container may.
fn started(program: &Path, arguments: &[&str]) -> Option<Logged> {
    let bits = std::fs::read_to_string("/proc/sys/vm/mmap_rnd_bits").unwrap_or_default();
    if bits.trim().parse::<u32>().is_ok_and(|bits| bits <= MOST_RANDOM_BITS) {
        return Some(Logged::program(program, arguments));
    }
    let without = [std::env::consts::ARCH, "-R"];
    let tried = Command::new("setarch").args(without).arg("true").status();
    if !tried.is_ok_and(|status| status.success()) {
        return None;
    }
    let program = program.to_str().expect("the path of this workspace is UTF-8");
    let all = [&without[..], &[program], arguments].concat();
    Some(Logged::program(Path::new("setarch"), &all))
}

#[test]
fn threads_that_share_an_object_have_no_data_race() {
    let calls = format!("serve|{THREADS}");
    let Some(function) = started(threaded(), &[&calls, "join"]) else {
        println!("not run: the sanitizer does not start here (vm.mmap_rnd_bits, setarch -R)");
        return;
    };
    let running = function
        .with(|it| it.concurrency(THREADS).timeout(PATIENCE * 3))
        .with(|it| it.variable("TSAN_OPTIONS", "halt_on_error=1"))
        .start();
    thread::scope(|scope| {
        for caller in 0..THREADS {
            let running = &running;
            scope.spawn(move || {
                for number in (caller..INVOCATIONS).step_by(THREADS) {
                    let event = format!("{{\"caller\":{caller},\"number\":{number}}}");
                    match running.lab.invoke(event.as_str()) {
                        Ok(answer) => assert_eq!(answer.body, event.as_bytes()),
                        Err(error) => panic!("{error}\n{}", running.log()),
                    }
                    if number % 10 == 0 {
                        let failed = running.lab.invoke("\"fail\"");
                        assert!(
                            matches!(failed, Err(InvokeError::Function(ref it))
                                if it.error_type().as_deref() == Some("Function.AsAsked")),
                            "{failed:?}\n{}",
                            running.log()
                        );
                    }
                }
            });
        }
    });
    let log = running.log();
    assert!(!log.contains("ThreadSanitizer"), "{log}");
}
