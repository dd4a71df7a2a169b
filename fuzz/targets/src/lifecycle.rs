//! The arithmetic of the lifecycle, with arbitrary clock readings.

use std::time::Duration;

use lambda_proto::api::{Concurrency, Deadline};
use lambda_proto::client::backoff;
use lambda_proto::lifecycle::{Clocks, TimeLimit};
use lambda_proto_host::policy::{
    FreezeDecision, FreezePoint, Hook, HookResult, InitTracker, InvocationNumber, Ledger, Options,
    Policy, TaskToken,
};

use crate::input::Input;

/// Tasks begin, end and are left behind in a ledger, which must agree with a plain list. Limits,
/// windows and gaps never exceed the time span that contains them.
///
/// The first byte has flags, then each operation has a byte.
pub fn lifecycle(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let concurrency = if flags & 1 == 0 { Concurrency::Single } else { Concurrency::Multi };
    let mut ledger = Ledger::<3, 2>::new(concurrency);
    let (mut open, mut ended): (Vec<(TaskToken, bool)>, Vec<TaskToken>) = Default::default();
    let mut gate = InitTracker::new([Hook::Pending; 3], &options(&mut input), clocks(&mut input));
    while !input.is_empty() {
        let operation = input.byte();
        let now = clocks(&mut input);
        let which = usize::from(operation >> 4);
        match operation & 7 {
            0 | 1 => {
                let invocation = InvocationNumber((which % 4) as u64);
                let token = ledger.begin(invocation, &format!("id-{}", which % 4), now);
                let is_free = |place| open.iter().all(|(task, _)| task.place() != Some(place));
                assert!(token.place().is_none_or(|place| place < 3 && is_free(place)));
                open.push((token, false));
            }
            2 | 3 if !open.is_empty() => {
                let (token, is_left_behind) = open.swap_remove(which % open.len());
                let task = ledger.end(token, now).expect("it is open");
                assert_eq!(task.is_late, is_left_behind);
                ended.push(token);
            }
            4 if !ended.is_empty() => {
                // Tasks without a place are only counted, so one cannot be distinguished from
                // another.
                let token = ended[which % ended.len()];
                let is_told_apart =
                    token.place().is_some() || open.iter().all(|(task, _)| task.place().is_some());
                assert!(!is_told_apart || ledger.end(token, now).is_err());
            }
            5 => {
                let freeze_point = freeze_point(&mut input);
                let undecided = ledger.undecided();
                let crossing = ledger.cross(&freeze_point, now);
                let is_decided = concurrency == Concurrency::Single
                    && matches!(crossing, FreezeDecision::GoOn | FreezeDecision::Report);
                if is_decided {
                    open.iter_mut().for_each(|(_, is_left_behind)| *is_left_behind = true);
                }
                assert!(undecided > 0 || crossing == FreezeDecision::GoOn);
                if let FreezeDecision::Wait { until } = crossing {
                    assert!(until > now.monotonic || now.monotonic == Duration::MAX);
                }
            }
            6 => check_gate(&mut gate, which, now),
            _ => check_times(&mut input, now),
        }
        let undecided = open.iter().filter(|(_, is_left_behind)| !is_left_behind).count();
        assert_eq!((ledger.outstanding(), ledger.undecided()), (open.len(), undecided));
        let report = ledger.report(now);
        assert_eq!(report.outstanding(), open.len());
        assert_eq!(report.tasks().count() + report.untracked(), open.len());
        assert_eq!(report.oldest_age().is_some(), !open.is_empty());
    }
}

fn check_gate(gate: &mut InitTracker<[Hook; 3]>, which: usize, now: Clocks) {
    let results = [HookResult::Done, HookResult::Aborted, HookResult::Failed];
    let before = gate.hooks().to_vec();
    let settled = gate.settle(which % 4, results[which % 3]);
    assert_eq!(settled.is_ok(), before.get(which % 4) == Some(&Hook::Pending));
    assert!(settled.is_ok() || gate.hooks() == before);
    let outcome = gate.outcome(now);
    assert_eq!(outcome.is_none(), gate.hooks().contains(&Hook::Pending));
    assert!(outcome.is_some() || now.monotonic < gate.expires_at());
}

fn check_times(input: &mut Input<'_>, now: Clocks) {
    let (arrival, later, buffer) = (clocks(input), clocks(input), duration(input));
    let limit = limit(input, arrival);
    if let Some(left) = limit.remaining(later) {
        assert!(left <= limit.remaining(arrival).expect("it is known"));
        assert_eq!(limit.is_cancellation_due(buffer, later), left <= buffer);
        let cancelled = limit.cancel_at(buffer).expect("it is known");
        assert!(cancelled >= arrival.monotonic);
    }
    let window = options(input).shutdown_window();
    assert_eq!(window.hooks() + window.invocation(), window.duration());
    let killed = arrival.monotonic.saturating_add(window.duration());
    assert!(window.cancel_at(arrival) <= killed && window.hooks_until(arrival, now) <= killed);
    let pause =
        backoff(u32::from(input.byte()), u32::from_le_bytes([(); 4].map(|()| input.byte())));
    assert!(pause <= Duration::from_millis(3200));
    let gap = now.since(arrival);
    assert!(gap.thawed_after(buffer).is_none_or(|length| length == gap.length()));
}

/// A duration, usually of some seconds, but sometimes of any length.
fn duration(input: &mut Input<'_>) -> Duration {
    match input.byte() {
        0xff => Duration::MAX,
        0xfe => Duration::from_secs(u64::MAX / 1_000_000),
        byte @ 0xf0.. => Duration::from_secs(1 << (4 * (byte & 0x0f))),
        byte => Duration::from_millis(u64::from(byte) * 100),
    }
}

fn clocks(input: &mut Input<'_>) -> Clocks {
    Clocks { monotonic: duration(input), wall: duration(input) }
}

fn limit(input: &mut Input<'_>, arrival: Clocks) -> TimeLimit {
    let millis = u64::try_from(duration(input).as_millis()).unwrap_or(u64::MAX);
    let deadline = input.flag().then(|| Deadline::from_unix_millis(millis));
    TimeLimit::on_arrival(deadline, arrival)
}

fn freeze_point(input: &mut Input<'_>) -> FreezePoint {
    let reserve = duration(input);
    let policies = [Policy::Drain { reserve }, Policy::Report, Policy::Strict, Policy::Abandon];
    let (policy, arrival, reached) = (input.choose(&policies), clocks(input), clocks(input));
    FreezePoint::reached(policy, limit(input, arrival), reached)
}

/// Options with arbitrary values; those out of range keep their defaults.
fn options(input: &mut Input<'_>) -> Options {
    let options = Options::new();
    let options = options.with_init_timeout(duration(input)).unwrap_or(options);
    let options = options.with_cancellation_buffer(duration(input)).unwrap_or(options);
    let options = options.with_shutdown_duration(duration(input)).unwrap_or(options);
    let options = options.with_shutdown_buffer(duration(input)).unwrap_or(options);
    assert!(options.init_timeout() <= Options::MAX_TIMEOUT);
    assert!(options.cancellation_buffer() <= Options::MAX_TIMEOUT);
    options
}
