//! Records as lines, over TCP.

use lambda_proto_extension::telemetry::{Line, Lines, Losses};

use super::event;

/// The records, and what could not be read with its reason.
type Seen = (Vec<String>, Vec<(Vec<u8>, String)>);

/// Shows these bytes, cut at these positions, to lines that have this much memory; then the stream
/// ends.
fn receive(memory: usize, bytes: &[u8], cuts: &[usize]) -> (Seen, Losses) {
    let mut memory = vec![0; memory];
    let mut lines = Lines::new(&mut memory[..]);
    let (mut seen, mut losses) = (Seen::default(), Losses::default());
    let mut arrived = 0;
    let mut cuts = cuts.iter().copied().chain([bytes.len()]).peekable();
    loop {
        match lines.step(&mut losses) {
            Line::Read if arrived == bytes.len() => lines.end_of_stream(),
            Line::Read => {
                while cuts.next_if(|cut| *cut <= arrived).is_some() {}
                let room = lines.room();
                let length = room.len().min(cuts.peek().unwrap() - arrived);
                assert!(length > 0);
                room[..length].copy_from_slice(&bytes[arrived..arrived + length]);
                lines.received(length);
                arrived += length;
            }
            Line::Record(record) => seen.0.push(record.raw().to_owned()),
            Line::Unread(unread) => seen.1.push((unread.raw.to_vec(), unread.reason.to_string())),
            Line::Close => {
                assert!(matches!(lines.step(&mut losses), Line::Close));
                return (seen, losses);
            }
        }
    }
}

fn receive_cut(memory: usize, bytes: &[u8]) -> (Seen, Losses) {
    let whole = receive(memory, bytes, &[]);
    let each: Vec<_> = (1..bytes.len()).collect();
    assert_eq!(receive(memory, bytes, &each), whole, "byte by byte");
    for cut in each {
        assert_eq!(receive(memory, bytes, &[cut]), whole, "cut at {cut}");
    }
    whole
}

#[test]
fn each_line_is_a_record_and_blank_lines_are_none() {
    let [one, two] =
        [event("function", "\"1\\n\""), event("platform.start", "{\"requestId\":\"r\"}")];
    let (seen, losses) = receive_cut(1024, format!("\n{one}\n\r\n \n{two}\r\n").as_bytes());
    assert_eq!(seen, (vec![one, two], vec![]));
    assert!(losses.is_none());
}

#[test]
fn a_last_line_without_a_line_end_is_a_line() {
    let one = event("function", "\"1\"");
    let (seen, _) = receive_cut(1024, format!("{one}\n{one}").as_bytes());
    assert_eq!(seen.0, [&one[..], &one]);
    let (seen, losses) = receive_cut(1024, &one.as_bytes()[..20]);
    assert_eq!((seen.0.len(), seen.1[0].1.as_str(), losses.unread_records), (0, "not JSON", 1));
}

#[test]
fn the_neighbours_of_an_unreadable_line_arrive() {
    let [one, two] = [event("function", "\"1\""), event("function", "\"2\"")];
    let bytes = [one.as_bytes(), b"\nxyz\xff\n[]\n", two.as_bytes(), b"\n"].concat();
    let (seen, losses) = receive_cut(1024, &bytes);
    assert_eq!(seen.0, [one, two]);
    assert_eq!(seen.1[0], (b"xyz\xff".to_vec(), "not UTF-8".to_owned()));
    assert_eq!(seen.1[1], (b"[]".to_vec(), "not a JSON object".to_owned()));
    assert_eq!(losses.unread_records, 2);
}

#[test]
fn a_line_that_is_longer_than_the_memory_is_skipped_with_its_size() {
    let one = event("function", "\"1\"");
    let long = "x".repeat(1000);
    for end in ["\n", ""] {
        let bytes = format!("{one}\n{long}\n{one}\n{long}{end}");
        let (seen, losses) = receive_cut(256, bytes.as_bytes());
        assert_eq!(seen.0, [&one[..], &one]);
        let unread = (vec![], "its 1000 bytes do not fit the memory".to_owned());
        assert_eq!(seen.1, [unread.clone(), unread]);
        assert_eq!(losses.unread_records, 2);
    }
}

#[test]
fn dropped_logs_are_counted() {
    let dropped = event("platform.logsDropped", "{\"droppedRecords\":3,\"droppedBytes\":400}");
    let (_, losses) = receive_cut(256, format!("{dropped}\n{dropped}\n").as_bytes());
    assert_eq!((losses.dropped_records, losses.dropped_bytes), (6, 800));
}

#[test]
fn without_memory_nothing_is_read() {
    let none: &mut [u8] = &mut [];
    let mut lines = Lines::new(none);
    assert!(matches!(lines.step(&mut Losses::default()), Line::Close));
}
