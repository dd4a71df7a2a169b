//! The values that init hooks put: found by type and name, replaced on purpose only, and dropped.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use lambda_proto_host::lifecycle::{
    INIT_ERROR, InitEnd, Lifecycle, Resources, Shutdown, Store, run_init,
};
use lambda_proto_host::policy::Options;
use lambda_proto_host::{Failure, Log};

/// A time limit that only a broken test reaches.
const SOON: Duration = Duration::from_secs(20);

fn run(lifecycle: Lifecycle) -> Result<Resources, Failure> {
    let options = Options::new().with_init_timeout(Duration::from_secs(60)).unwrap();
    let (store, log) = (Store::default(), Log::to(|_| {}));
    let end = run_init(lifecycle.into_parts().init, &options, &store, &Shutdown::new(), &log)?;
    assert_eq!(end, InitEnd::Done);
    Ok(store.values())
}

/// The message of the failed start.
#[track_caller]
fn failed(lifecycle: Lifecycle) -> String {
    let text = run(lifecycle).unwrap_err().to_string();
    text.strip_prefix(&format!("{INIT_ERROR}: ")).expect("an init error").to_owned()
}

struct Pool(&'static str);

/// Counts its drops.
struct Noted(&'static str, Arc<AtomicUsize>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_value_is_found_by_its_type_from_any_thread_and_any_clone() {
    let lifecycle = Lifecycle::new()
        .on_init("pool", |init| init.put(Pool("one")))
        .on_init("number", |init| init.put(7_u8))
        .on_init("counter", |init| init.put(AtomicUsize::new(0)));
    let resources = run(lifecycle).unwrap();
    assert_eq!(resources.get::<Pool>().unwrap().0, "one");
    assert_eq!(resources.get(), Some(&7_u8));
    assert_eq!(resources.get::<u16>(), None);
    assert!(resources.get::<Arc<Pool>>().is_none());
    thread::scope(|scope| {
        for _ in 0..4 {
            let resources = resources.clone();
            scope.spawn(move || {
                resources.get::<AtomicUsize>().unwrap().fetch_add(1, Ordering::Relaxed)
            });
        }
    });
    assert_eq!(resources.get::<AtomicUsize>().unwrap().load(Ordering::Relaxed), 4);
}

#[test]
fn values_of_one_type_are_told_apart_by_their_names() {
    let lifecycle = Lifecycle::new()
        .on_init("primary", |init| init.put_named("primary", Pool("p")))
        .on_init("replica", |init| init.put_named(String::from("replica"), Pool("r")))
        .on_init("neither", |init| init.put(Pool("none")))
        .on_init("another type", |init| init.put_named("primary", 7_u8));
    let resources = run(lifecycle).unwrap();
    let pool = |name| resources.get_named::<Pool>(name).map(|pool| pool.0);
    assert_eq!([pool("primary"), pool("replica"), pool("")], [Some("p"), Some("r"), Some("none")]);
    assert_eq!(pool("other"), None);
    assert_eq!(resources.get::<Pool>().unwrap().0, "none");
    assert_eq!(resources.get_named("primary"), Some(&7_u8));
    assert_eq!(resources.get::<u8>(), None);
}

#[test]
fn a_second_value_of_one_type_fails_the_start_and_names_both_hooks() {
    // The second hook puts its value after the first.
    let (put, is_put) = mpsc::channel();
    let text = failed(
        Lifecycle::new()
            .on_init("one", move |init| {
                init.put(Pool("first"));
                put.send(()).unwrap();
            })
            .on_init("two", move |init| {
                is_put.recv_timeout(SOON).unwrap();
                init.put(Pool("second"));
                assert_eq!(init.get::<Pool>().unwrap().0, "first");
            }),
    );
    let part = r#"init hook "two" failed: Runtime.InitError: init hooks "one" and "two" both put a lifecycle_values::Pool: give each a name (put_named)"#;
    assert!(text.starts_with(part), "{text}");
}

#[test]
fn a_second_value_of_one_type_and_name_fails_the_start_even_in_one_hook() {
    let text = failed(Lifecycle::new().on_init("twice", |init| {
        init.put_named("a", 1_u8);
        init.put_named("b", 2_u8);
        init.put_named("a", 3_u8);
    }));
    let part = r#"init hooks "twice" and "twice" both put a u8 named "a": "#;
    assert!(text.contains(part), "{text}");
}

#[test]
fn a_hook_that_fails_and_has_a_conflict_is_reported_with_both() {
    let text = failed(Lifecycle::new().on_init("twice", |init| -> Result<(), Failure> {
        init.put(1_u8);
        init.put(2_u8);
        Err(Failure::new("Function.Own", "no table"))
    }));
    assert!(text.contains("Function.Own: no table; init hooks"), "{text}");
}

#[test]
fn a_value_is_replaced_on_purpose_and_dropped_with_its_last_user() {
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&dropped);
    let lifecycle = Lifecycle::new().on_init("twice", move |init| {
        assert!(init.get::<Noted>().is_none());
        init.replace(Noted("first", Arc::clone(&count)));
        let first = init.get::<Noted>().unwrap();
        init.replace(Noted("second", Arc::clone(&count)));
        assert_eq!((first.0, init.get::<Noted>().unwrap().0), ("first", "second"));
        init.replace_named("named", Noted("third", Arc::clone(&count)));
        assert_eq!(init.get_named::<Noted>("named").unwrap().0, "third");
        assert_eq!(count.load(Ordering::Relaxed), 0);
        drop(first);
        count.load(Ordering::Relaxed) == 1
    });
    let resources = run(lifecycle).unwrap();
    assert_eq!(resources.get::<Noted>().unwrap().0, "second");
    drop(resources);
    assert_eq!(dropped.load(Ordering::Relaxed), 3);
}

#[test]
fn a_hook_finds_the_value_of_another_hook() {
    let (put, is_put) = mpsc::channel();
    let lifecycle = Lifecycle::new()
        .on_init("puts", move |init| {
            init.put(Pool("shared"));
            put.send(()).unwrap();
        })
        .on_init("finds", move |init| {
            is_put.recv_timeout(SOON).unwrap();
            init.get::<Pool>().unwrap().0 == "shared"
        });
    run(lifecycle).unwrap();
}

#[test]
fn a_replaced_value_that_drops_slowly_does_not_block_other_hooks() {
    struct Slow(Sender<()>, Mutex<Receiver<()>>, Arc<AtomicUsize>);
    impl Drop for Slow {
        fn drop(&mut self) {
            // The second one is dropped at the end of the test.
            let _ = self.0.send(());
            if self.1.get_mut().unwrap().recv_timeout(SOON).is_ok() {
                self.2.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    let (goes, is_going) = mpsc::channel();
    let (found, is_found) = mpsc::channel();
    let gone = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&gone);
    let lifecycle = Lifecycle::new()
        .on_init("replaces", move |init| {
            init.put(Slow(goes.clone(), Mutex::new(is_found), Arc::clone(&count)));
            init.replace(Slow(goes, Mutex::new(mpsc::channel().1), count));
        })
        .on_init("finds", move |init| {
            is_going.recv_timeout(SOON).unwrap();
            let is_there = init.get::<Slow>().is_some();
            found.send(()).unwrap();
            is_there
        });
    let resources = run(lifecycle).unwrap();
    assert_eq!(gone.load(Ordering::Relaxed), 1);
    drop(resources);
}
