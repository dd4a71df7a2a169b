use super::*;

fn none() -> Extensions {
    Extensions::new([].into())
}

#[test]
fn an_extension_may_fail_only_in_the_states_of_the_table() {
    use Failing::{Exit, Init};
    use State::*;
    for (state, failing, then) in [
        (LaunchError, Init, None),
        (LaunchError, Exit, None),
        (Started, Init, None),
        (Started, Exit, None),
        (Registered, Init, Some(InitError)),
        (Registered, Exit, Some(ExitError)),
        (Ready, Init, None),
        (Ready, Exit, Some(ExitError)),
        (Running, Init, None),
        (Running, Exit, Some(ExitError)),
        (InitError, Init, Some(InitError)),
        (InitError, Exit, None),
        (ExitError, Init, None),
        (ExitError, Exit, Some(ExitError)),
    ] {
        let mut extensions = none();
        let id = extensions.register("x", Events::default()).unwrap();
        extensions.all[0].state = state;
        let result = extensions.fail(id, failing, "Extension.Mine");
        assert_eq!(result.is_ok(), then.is_some(), "{state:?} {failing:?}");
        assert_eq!(extensions.all[0].state, then.unwrap_or(state), "{state:?} {failing:?}");
    }
}

#[test]
fn a_failed_extension_may_not_ask_and_blocks_further_events() {
    for failing in [Failing::Init, Failing::Exit] {
        let mut extensions = none();
        let id = extensions.register("x", Events::default()).unwrap();
        extensions.fail(id, failing, "Extension.Mine").unwrap();
        assert!(matches!(extensions.ask(id, None), Err(ExtensionRefusal::Order { .. })));
        assert!(!extensions.are_ready());
    }
}

#[test]
fn the_failure_that_was_reported_first_counts() {
    let mut extensions = none();
    let [one, two] = ["1", "2"].map(|name| extensions.register(name, Events::default()).unwrap());
    assert_eq!(extensions.failure(), None);
    extensions.fail(two, Failing::Exit, "Mine").unwrap();
    extensions.fail(one, Failing::Init, "Extension.Mine").unwrap();
    assert_eq!(extensions.failure(), Some("Extension.ExitError"));
    extensions.fail(one, Failing::Init, "Extension.Other").unwrap();
    let told = extensions.events().map(|event| match event {
        Platform::Extension { state, error_type, .. } => (state, error_type.unwrap()),
        other => panic!("{other:?}"),
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told[0], ("InitError", "Extension.Mine".to_owned()));
    assert_eq!(told[1], ("ExitError", "Extension.ExitError".to_owned()), "not well-formed");
}

#[test]
fn an_external_extension_registers_once_in_each_start() {
    let mut extensions = Extensions::new(["x".to_owned()].into());
    for _ in 0..2 {
        assert!(extensions.is_any() && !extensions.is_any_internal());
        assert!(!extensions.are_registered() && !extensions.are_ready());
        let id = extensions.register("x", Events::default()).unwrap();
        assert!(extensions.are_registered() && !extensions.are_ready());
        extensions.close();
        for state in ["Registered", "Ready"] {
            let refused = extensions.register("x", Events::default()).unwrap_err();
            let (extension, to) = ("x".to_owned(), "Registered");
            assert_eq!(refused, ExtensionRefusal::Order { extension, from: state, to });
            let number = extensions.ask(id, None).unwrap();
            extensions.leave(id, number);
        }
        assert!(extensions.are_ready());
        extensions = extensions.renewed();
        assert!(!extensions.has(id));
    }
}

#[test]
fn the_shutdown_replaces_an_event_that_was_not_fetched() {
    let mut extensions = Extensions::new(["x".to_owned(), "y".to_owned()].into());
    let both = Events { invoke: true, shutdown: true };
    let x = extensions.register("x", both).unwrap();
    let y = extensions.register("y", Events { shutdown: false, ..both }).unwrap();
    extensions.shut_down(Shutdown { deadline: 1, reason: Reason::Failure });
    assert!(extensions.takes_shutdown("x") && !extensions.takes_shutdown("y"));
    assert!(matches!(extensions.take(x), Some(ExtensionEvent::Shutdown(_))));
    assert!(extensions.take(y).is_none());
    // It may ask again, and waits until it is killed.
    extensions.ask(x, None).unwrap();
    assert!(extensions.take(x).is_none());
}
