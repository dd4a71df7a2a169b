//! The init tracker: its outcome for every combination of hooks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lambda_proto::lifecycle::Clocks;
use lambda_proto_host::policy::{Hook, HookResult, InitOutcome, InitTracker, Options, SettleError};

fn at(secs: u64) -> Clocks {
    Clocks { monotonic: Duration::from_secs(secs), wall: Duration::ZERO }
}

fn tracker<const N: usize>() -> InitTracker<[Hook; N]> {
    InitTracker::new([Hook::Pending; N], &Options::new(), at(100))
}

const LAST_MOMENT: u64 = 104;
const OVER: u64 = 105;

#[test]
fn without_hooks_the_function_is_ready_at_any_time() {
    assert_eq!(tracker::<0>().outcome(at(100)), Some(InitOutcome::Ready));
    assert_eq!(tracker::<0>().outcome(at(OVER)), Some(InitOutcome::Ready));
}

#[test]
fn a_tracker_begins_with_all_hooks_pending_whatever_the_memory_held() {
    let mut tracker = InitTracker::new([Hook::Failed, Hook::Done], &Options::new(), at(100));
    assert_eq!(tracker.hooks(), [Hook::Pending; 2]);
    assert_eq!(tracker.outcome(at(LAST_MOMENT)), None);
    assert_eq!(tracker.expires_at(), Duration::from_secs(OVER));
}

/// The result of a hook; `None` if it does not settle.
const ENDS: [(Option<HookResult>, Hook, InitOutcome); 4] = [
    (Some(HookResult::Done), Hook::Done, InitOutcome::Ready),
    (None, Hook::TimedOut, InitOutcome::TimedOut),
    (Some(HookResult::Aborted), Hook::Aborted, InitOutcome::Aborted),
    (Some(HookResult::Failed), Hook::Failed, InitOutcome::Failed),
];

#[test]
fn a_failure_outranks_an_abort_which_outranks_a_timeout() {
    for one in ENDS {
        for two in ENDS {
            for three in ENDS {
                let ends = [one, two, three];
                let mut tracker = tracker::<3>();
                for (place, (result, ..)) in ends.iter().enumerate() {
                    if let Some(result) = result {
                        tracker.settle(place, *result).unwrap();
                    }
                }
                // `ENDS` is in the order of precedence.
                let rank = |outcome| ENDS.iter().position(|end| end.2 == outcome).unwrap();
                let most = ends.iter().map(|end| rank(end.2)).max().unwrap();
                let has_pending = ends.iter().any(|end| end.0.is_none());
                let early = (!has_pending).then_some(ENDS[most].2);
                assert_eq!(tracker.outcome(at(LAST_MOMENT)), early, "{ends:?}");
                assert_eq!(tracker.outcome(at(OVER)), Some(ENDS[most].2), "{ends:?}");
                assert_eq!(tracker.hooks(), ends.map(|end| end.1));
            }
        }
    }
}

#[test]
fn a_hook_settles_once() {
    let mut tracker = tracker::<2>();
    tracker.settle(0, HookResult::Aborted).unwrap();
    let again = tracker.settle(0, HookResult::Done);
    assert_eq!(again, Err(SettleError::Settled(Hook::Aborted)));
    assert_eq!(tracker.hooks(), [Hook::Aborted, Hook::Pending]);
    assert_eq!(again.unwrap_err().to_string(), "this init hook has already settled: Aborted");
}

#[test]
fn a_hook_that_does_not_exist_cannot_settle() {
    for place in [2, usize::MAX] {
        assert_eq!(tracker::<2>().settle(place, HookResult::Failed), Err(SettleError::NoSuchHook));
    }
}

#[test]
fn an_outcome_stays_the_same_whatever_late_hooks_do() {
    let mut tracker = tracker::<2>();
    tracker.settle(0, HookResult::Done).unwrap();
    assert_eq!(tracker.outcome(at(OVER)), Some(InitOutcome::TimedOut));
    let late = tracker.settle(1, HookResult::Failed);
    assert_eq!(late, Err(SettleError::Settled(Hook::TimedOut)));
    // Even if the clock goes back.
    assert_eq!(tracker.outcome(at(100)), Some(InitOutcome::TimedOut));
}

#[test]
fn a_time_limit_that_overflows_the_clock_never_expires() {
    let end = Clocks { monotonic: Duration::MAX, wall: Duration::MAX };
    let tracker = InitTracker::new([Hook::Pending], &Options::new(), end);
    assert_eq!(tracker.expires_at(), Duration::MAX);
}

#[test]
fn hooks_on_threads_settle_under_a_lock_in_memory_of_any_kind() {
    let hooks = vec![Hook::Pending; 8];
    let tracker = Arc::new(Mutex::new(InitTracker::new(hooks, &Options::new(), at(100))));
    let threads: Vec<_> = (0..8)
        .map(|place| {
            let tracker = Arc::clone(&tracker);
            std::thread::spawn(move || tracker.lock().unwrap().settle(place, HookResult::Done))
        })
        .collect();
    for thread in threads {
        thread.join().unwrap().unwrap();
    }
    assert_eq!(tracker.lock().unwrap().outcome(at(LAST_MOMENT)), Some(InitOutcome::Ready));

    let mut memory = [Hook::Pending];
    let mut borrowed = InitTracker::new(&mut memory[..], &Options::new(), at(100));
    borrowed.settle(0, HookResult::Failed).unwrap();
    assert_eq!(borrowed.outcome(at(100)), Some(InitOutcome::Failed));
}
