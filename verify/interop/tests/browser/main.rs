//! A real browser, Chromium, shows pages that try to reach the lab.
//!
//! The test is skipped, with a line that says so, where Chromium is not installed
//! (`apt-get install chromium`).

mod site;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lambda_interop::Process;
use lambda_lab::{Function, Output};
use lambda_proto_std::{Endpoint, Runtime};

use site::Site;

/// How long to wait for a page: a browser starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

const FOREIGN: &str = include_str!("foreign.html");
const FRIENDLY: &str = include_str!("friendly.html");

/// What a page said, and the events that the function got while it was shown.
#[derive(Debug)]
struct Shown {
    said: Vec<String>,
    events: Vec<String>,
}

/// Shows this page, from this host, to the lab of an external runtime that echoes; `None` without
/// a browser. `with` changes the function, given the origin of the page. The page is shown until
/// the events contain all words that are `expected`.
fn show(
    page: &str,
    host: &str,
    expected: &[&str],
    with: impl FnOnce(Function, String) -> Function,
) -> Option<Shown> {
    let browser = browser()?;
    let site = Site::new();
    let origin = format!("http://{host}:{}", site.port());
    let function = with(Function::external(), origin.clone());
    let lab = function.timeout(PATIENCE).output(Output::Discarded).start().unwrap();
    let runtime = Runtime::new(Endpoint::parse(&lab.runtime_api()).unwrap());
    let stop = runtime.stop_handle();
    let events = Mutex::new(Vec::new());
    let said = thread::scope(|scope| {
        scope.spawn(|| {
            let result = runtime.run(|invocation, responder| {
                let event = String::from_utf8_lossy(invocation.body()).into_owned();
                events.lock().unwrap().push(event);
                Ok(responder.send(invocation.body()))
            });
            result.unwrap();
        });
        // The runtime waits for its event when a page tries to take it.
        lab.invoke("\"before\"").unwrap();
        let page = page
            .replace("INVOKE_PORT", &lab.address().port().to_string())
            .replace("RUNTIME_API", &lab.runtime_api());
        let report = site.show(page);
        let browser = start(browser, &origin);
        let said = report.lines(PATIENCE);
        let said =
            said.unwrap_or_else(|| panic!("no word of the page: {}", browser.process.output()));
        let came = |word: &&str| events.lock().unwrap().iter().any(|event| event.contains(word));
        let began = Instant::now();
        while !expected.iter().all(came) && began.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
        drop(browser);
        // Nothing of it is left that could still arrive, or has taken this event.
        lab.invoke("\"after\"").unwrap();
        stop.stop();
        said
    });
    let mut events = events.into_inner().unwrap();
    assert_eq!(events.first().map(String::as_str), Some("\"before\""));
    assert_eq!(events.last().map(String::as_str), Some("\"after\""));
    events.retain(|event| event != "\"before\"" && event != "\"after\"");
    Some(Shown { said, events })
}

/// The name of Chromium, if it is in `PATH`.
fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let starts = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let found = names.into_iter().find(starts);
    if found.is_none() {
        // Not `eprintln!`, which a test that passes does not show.
        let _ = writeln!(std::io::stderr(), "skipped: no browser; install chromium");
    }
    found
}

/// A browser, and the folder with its profile, which is removed on drop.
struct Browser {
    process: Process,
    profile: PathBuf,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _best_effort = std::fs::remove_dir_all(&self.profile);
    }
}

fn start(browser: &str, url: &str) -> Browser {
    // Two browsers with one profile would be one browser.
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("browser-{}-{number}", std::process::id());
    let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut command = Command::new(browser);
    // Root needs `--no-sandbox`.
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-proxy-server"]);
    command.args(["--no-first-run", "--disable-dev-shm-usage"]);
    // Every name leads to this machine, as that of a page does after it has been rebound.
    command.arg("--host-resolver-rules=MAP *.example 127.0.0.1");
    command.arg(format!("--user-data-dir={}", profile.display())).arg(url);
    Browser { process: Process::start(&mut command).unwrap(), profile }
}

/// All that the page of a foreign origin tries.
const ATTEMPTS: [&str; 8] =
    ["json", "text", "beacon", "form", "image", "event", "rebound", "sandbox"];

#[test]
fn a_page_of_a_foreign_origin_reaches_nothing() {
    let Some(shown) = show(FOREIGN, "page.example", &[], |it, _| it) else { return };
    println!("{shown:?}");
    for attempt in ATTEMPTS {
        let tried = shown.said.iter().any(|it| it.starts_with(&format!("{attempt}: ")));
        assert!(tried, "{attempt}: {shown:?}");
    }
    assert!(shown.said.contains(&"json: TypeError".into()), "{shown:?}");
    assert_eq!(shown.events, [""; 0]);
}

#[test]
fn the_attempts_of_that_page_reach_a_lab_that_allows_all_pages() {
    let allow = |function: Function, _| function.allow_origin("*");
    let all = ["json", "text", "beacon", "form", "rebound", "sandbox"];
    let Some(shown) = show(FOREIGN, "page.example", &all, allow) else { return };
    println!("{shown:?}");
    for attempt in all {
        let came = shown.events.iter().any(|event| event.contains(attempt));
        assert!(came, "{attempt}: {shown:?}");
    }
    // The Runtime API refuses pages, whatever is allowed.
    assert!(!shown.events.iter().any(|event| event.contains("image")), "{shown:?}");
}

#[test]
fn pages_of_this_machine_and_allowed_ones_invoke_the_function_and_read_its_answer() {
    for host in ["127.0.0.1", "localhost", "app.example"] {
        let allow = |function: Function, origin| match host {
            "app.example" => function.allow_origin(origin),
            _ => function,
        };
        let Some(shown) = show(FRIENDLY, host, &[], allow) else { return };
        println!("{shown:?}");
        assert_eq!(shown.said, ["200 \"friendly\" 36"], "{host}");
        assert_eq!(shown.events, ["\"friendly\""], "{host}");
    }
}
