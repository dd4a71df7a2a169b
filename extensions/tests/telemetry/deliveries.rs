//! Batches that come again, and totals of what was lost.

use lambda_proto_extension::limits::{MAX_REMEMBERED_BATCHES, MAX_UNREADABLE_BATCHES};
use lambda_proto_extension::telemetry::{Batch, Deliveries, Fate, Losses, Refusal};

use super::{Arrival, Seen, WHOLE, batch, event, post, post_chunked, post_with, receive};

fn deliver(deliveries: &mut Deliveries, request: &[u8], fate: Fate) -> Seen {
    receive(deliveries, 4096, request, &WHOLE, |_| fate)
}

fn earlier(seen: &Seen) -> Vec<Option<Fate>> {
    seen.batches.iter().map(Batch::earlier).collect()
}

fn body(number: usize) -> String {
    batch(&[event("function", &format!("\"{number}\""))])
}

#[test]
fn a_batch_is_recognised_by_its_body_on_any_connection_and_in_any_framing() {
    let mut deliveries = Deliveries::new();
    let seen = deliver(&mut deliveries, &post(body(1)), Fate::Refused);
    assert_eq!((earlier(&seen), seen.batches[0].is_redelivery()), (vec![None], false));
    let seen = deliver(&mut deliveries, &post_chunked(3, body(1).as_bytes()), Fate::Taken);
    assert_eq!(earlier(&seen), [Some(Fate::Refused)]);
    assert!(seen.batches[0].is_redelivery());
    let seen = deliver(&mut deliveries, &post(body(1)), Fate::Taken);
    assert_eq!(earlier(&seen), [Some(Fate::Taken)]);
    let seen = deliver(&mut deliveries, &post(body(2)), Fate::Taken);
    assert_eq!(earlier(&seen), [None]);
}

#[test]
fn a_batch_with_a_sequence_id_is_recognised_by_that_alone() {
    let mut deliveries = Deliveries::new();
    let with = |id: &str, number| post_with(&format!("sequence-ID: {id}\r\n"), body(number));
    assert_eq!(earlier(&deliver(&mut deliveries, &with("YQ==", 1), Fate::Taken)), [None]);
    assert_eq!(
        earlier(&deliver(&mut deliveries, &with("YQ==", 2), Fate::Taken)),
        [Some(Fate::Taken)]
    );
    assert_eq!(earlier(&deliver(&mut deliveries, &with("Yg==", 1), Fate::Taken)), [None]);
    assert_eq!(earlier(&deliver(&mut deliveries, &with("", 9), Fate::Taken)), [None]);
    assert_eq!(
        earlier(&deliver(&mut deliveries, &post(body(9)), Fate::Taken)),
        [Some(Fate::Taken)]
    );
}

#[test]
fn a_batch_with_a_sequence_id_is_known_before_its_records() {
    use lambda_proto_extension::telemetry::{Receiver, Step};
    let mut deliveries = Deliveries::new();
    let request = post_with("Sequence-Id: YQ==\r\n", body(1));
    deliver(&mut deliveries, &request, Fate::Taken);
    let mut memory = [0; 1024];
    let mut receiver = Receiver::new(&mut memory[..]);
    receiver.room()[..request.len()].copy_from_slice(&request);
    receiver.received(request.len());
    let Step::Begin(batch) = receiver.step(&mut deliveries) else { panic!() };
    assert!(batch.is_redelivery());
}

#[test]
fn a_batch_that_broke_off_is_not_a_redelivery_when_it_comes_whole() {
    let mut deliveries = Deliveries::new();
    let request = post(batch(&[event("function", "\"1\""), event("function", "\"2\"")]));
    let arrival = Arrival { is_ended: true, ..WHOLE };
    let seen =
        receive(&mut deliveries, 4096, &request[..request.len() - 1], &arrival, |_| Fate::Taken);
    assert_eq!((seen.records.len(), seen.refusals), (1, vec![Refusal::CutOff]));
    assert_eq!(earlier(&deliver(&mut deliveries, &request, Fate::Taken)), [None]);
}

#[test]
fn the_batches_that_were_decided_last_are_remembered() {
    let mut deliveries = Deliveries::new();
    for number in 0..=MAX_REMEMBERED_BATCHES {
        deliver(&mut deliveries, &post(body(number)), Fate::Taken);
        // The one that comes again each time stays.
        let seen = deliver(&mut deliveries, &post(body(0)), Fate::Taken);
        assert_eq!(earlier(&seen), [Some(Fate::Taken)]);
    }
    for number in (2..=MAX_REMEMBERED_BATCHES).rev() {
        let seen = deliver(&mut deliveries, &post(body(number)), Fate::Taken);
        assert_eq!(earlier(&seen), [Some(Fate::Taken)], "{number}");
    }
    assert_eq!(earlier(&deliver(&mut deliveries, &post(body(1)), Fate::Taken)), [None]);
}

#[test]
fn a_batch_that_can_never_be_read_is_accepted_at_its_third_delivery_and_counted_once() {
    let mut deliveries = Deliveries::new();
    for (delivery, status) in [(1, "400"), (2, "400"), (3, "200"), (4, "200")] {
        let seen = deliver(&mut deliveries, &post("{\"not\":\"a batch\"}"), Fate::Taken);
        assert_eq!((seen.statuses(), seen.is_closed), (vec![status], false));
        let is_lost = delivery >= 3;
        assert_eq!(seen.refusals, [Refusal::NotABatch { delivery, is_lost }]);
        assert_eq!(seen.refusals[0].to_string().starts_with("lost"), is_lost);
        assert_eq!(deliveries.losses().unreadable_batches, u64::from(is_lost));
        // Others in between change nothing.
        deliver(&mut deliveries, &post(body(delivery as usize)), Fate::Taken);
        deliver(&mut deliveries, &post(format!("{{\"other\":{delivery}}}")), Fate::Taken);
    }
}

#[test]
fn more_unreadable_batches_than_can_be_remembered_are_accepted_at_once() {
    let mut deliveries = Deliveries::new();
    let unreadable = |number: usize| post(format!("{{\"n\":{number}}}"));
    for number in 0..MAX_UNREADABLE_BATCHES {
        assert_eq!(deliver(&mut deliveries, &unreadable(number), Fate::Taken).statuses(), ["400"]);
    }
    let seen = deliver(&mut deliveries, &unreadable(99), Fate::Taken);
    assert_eq!((seen.statuses(), deliveries.losses().unreadable_batches), (vec!["200"], 1));
    // One that is accepted makes place for another.
    for status in ["400", "200"] {
        assert_eq!(deliver(&mut deliveries, &unreadable(0), Fate::Taken).statuses(), [status]);
    }
    assert_eq!(deliver(&mut deliveries, &unreadable(100), Fate::Taken).statuses(), ["400"]);
    assert_eq!(deliver(&mut deliveries, &unreadable(100), Fate::Taken).statuses(), ["400"]);
    assert_eq!(deliver(&mut deliveries, &unreadable(100), Fate::Taken).statuses(), ["200"]);
}

#[test]
fn losses_are_the_totals_of_what_taken_batches_say() {
    let mut deliveries = Deliveries::new();
    assert!(deliveries.losses().is_none());
    let dropped = event("platform.logsDropped", "{\"droppedRecords\":3,\"droppedBytes\":400}");
    let odd = event("platform.logsDropped", "{\"droppedRecords\":-1,\"droppedBytes\":1e400}");
    let request = post(format!("[{dropped},7,{odd},{dropped}]"));
    deliver(&mut deliveries, &request, Fate::Refused);
    let losses = deliveries.losses();
    assert_eq!((losses.dropped_records, losses.unread_records, losses.refused_batches), (0, 0, 1));
    for _ in 0..3 {
        // The second delivery is taken; the others are duplicates.
        deliver(&mut deliveries, &request, Fate::Taken);
        let losses = deliveries.losses();
        assert_eq!((losses.dropped_records, losses.dropped_bytes), (6, 800));
        assert_eq!((losses.unread_records, losses.refused_batches), (1, 1));
    }
    assert!(!deliveries.losses().is_none());
    let text = deliveries.losses().to_string();
    assert!(text.starts_with("records dropped by Lambda: 6 (800 bytes); records not read: 1; "));
    assert!(!text.contains(char::is_control));
}

#[test]
fn what_a_taken_batch_says_counts_once_although_a_later_delivery_is_sent_back() {
    let mut deliveries = Deliveries::new();
    let dropped = event("platform.logsDropped", "{\"droppedRecords\":3,\"droppedBytes\":400}");
    let request = post(format!("[{dropped},7]"));
    // The reply to the first was lost, and the handler failed with the second.
    for fate in [Fate::Taken, Fate::Refused, Fate::Taken, Fate::Refused, Fate::Taken] {
        deliver(&mut deliveries, &request, fate);
        let losses = deliveries.losses();
        assert_eq!((losses.dropped_records, losses.unread_records), (3, 1));
    }
    assert_eq!(deliveries.losses().refused_batches, 2);
}

#[test]
fn losses_of_several_listeners_add_up_without_overflow() {
    let mut losses = Losses::default();
    let mut deliveries = Deliveries::new();
    let most = format!("{{\"droppedRecords\":{0},\"droppedBytes\":{0}}}", u64::MAX);
    let dropped = event("platform.logsDropped", &most);
    deliver(&mut deliveries, &post(format!("[{dropped},{dropped}]")), Fate::Taken);
    losses.add(&deliveries.losses());
    losses.add(&deliveries.losses());
    assert_eq!((losses.dropped_records, losses.dropped_bytes), (u64::MAX, u64::MAX));
}
