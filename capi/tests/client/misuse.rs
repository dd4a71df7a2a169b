//! Wrong calls: each has an error code, and changes nothing.

use std::mem::MaybeUninit;
use std::ptr;

use crate::support::{Made, Place, event, init};
use lambda_proto_capi::*;

const TOO_LONG: usize = isize::MAX as usize + 1;

#[test]
fn memory_that_is_null_misaligned_or_short_makes_no_client() {
    let (size, align) = (lambda_proto_client_size(), lambda_proto_client_align());
    let place = Place::new(size + align, align);
    let address = "127.0.0.1:9001";
    let init = |memory: *mut u8, length| {
        // SAFETY: the memory has this length, or is refused before it is used.
        unsafe {
            lambda_proto_client_init(
                memory.cast(),
                length,
                address.as_ptr().cast(),
                address.len(),
                ptr::null(),
                0,
                1,
            )
        }
    };
    assert_eq!(init(ptr::null_mut(), size), LAMBDA_PROTO_ERROR_NULL);
    for offset in 1..align {
        let memory = place.pointer.wrapping_add(offset);
        assert_eq!(init(memory, size), LAMBDA_PROTO_ERROR_ALIGNMENT);
    }
    for length in 0..size {
        assert_eq!(init(place.pointer, length), LAMBDA_PROTO_ERROR_SHORT);
    }
    assert_eq!(init(place.pointer, TOO_LONG), LAMBDA_PROTO_ERROR_LENGTH);
    assert_eq!(init(place.pointer, size), LAMBDA_PROTO_OK);
}

#[test]
fn an_unusable_address_user_agent_or_number_of_slots_is_refused() {
    let place = Place::new(lambda_proto_client_size(), lambda_proto_client_align());
    for address in ["", "https://a", "host:0", "host:99999", "a b", "host?x"] {
        assert_eq!(init(&place, address, "", 1), LAMBDA_PROTO_ERROR_ADDRESS, "{address}");
    }
    for agent in [" a", "a\n", "ü", &"a".repeat(129)] {
        assert_eq!(init(&place, "host", agent, 1), LAMBDA_PROTO_ERROR_USER_AGENT, "{agent}");
    }
    assert_eq!(init(&place, "host", "", 0), LAMBDA_PROTO_ERROR_ARGUMENT);
    // SAFETY: null is refused before it is used.
    let code = unsafe {
        let (size, host) = (lambda_proto_client_size(), c"host".as_ptr());
        lambda_proto_client_init(place.pointer.cast(), size, host, 4, ptr::null(), 3, 1)
    };
    assert_eq!(code, LAMBDA_PROTO_ERROR_NULL);
    let address = b"\xff:80";
    // SAFETY: the pointers have these lengths.
    let code = unsafe {
        lambda_proto_client_init(
            place.pointer.cast(),
            lambda_proto_client_size(),
            address.as_ptr().cast(),
            address.len(),
            ptr::null(),
            0,
            1,
        )
    };
    assert_eq!(code, LAMBDA_PROTO_ERROR_UTF8);
    // None of them has made a client.
    // SAFETY: the memory has the size of a client.
    let code = unsafe { lambda_proto_client_step(place.pointer.cast()) };
    assert_eq!(code, LAMBDA_PROTO_ERROR_HANDLE);
}

/// Every function that takes a client, with arguments that are right otherwise.
fn all(client: *mut Client) -> Vec<(&'static str, i32)> {
    let (mut size, mut length, mut deadline, mut status) = (0_usize, 0_usize, 0_u64, 0_i32);
    let (mut text, mut bytes, mut room) = (ptr::null(), ptr::null(), ptr::null_mut());
    let (mut parts, mut lengths) = ([ptr::null(); 3], [0; 3]);
    let (none, nothing) = (ptr::null(), ptr::null());
    macro_rules! calls {
        ($($function:ident($($argument:expr),*)),* $(,)?) => {
            // SAFETY: all pointers but the client are valid, and there is memory of its size.
            vec![$((stringify!($function), unsafe { $function($($argument),*) })),*]
        };
    }
    calls![
        lambda_proto_client_give_memory(client, 1, ptr::null_mut(), 0),
        lambda_proto_client_set_max_memory(client, 1, 0),
        lambda_proto_client_memory_needed(client, 1, &mut size),
        lambda_proto_client_set_max_event(client, 9),
        lambda_proto_client_step(client),
        lambda_proto_client_port(client),
        lambda_proto_client_backoff_ms(client, 0, 0),
        lambda_proto_client_connected(client),
        lambda_proto_client_unsent(client, parts.as_mut_ptr(), lengths.as_mut_ptr()),
        lambda_proto_client_sent(client, 0),
        lambda_proto_client_write_failed(client),
        lambda_proto_client_room(client, &mut room, &mut length),
        lambda_proto_client_received(client, 0),
        lambda_proto_client_lost(client),
        lambda_proto_client_receipt(client, &mut status),
        lambda_proto_client_warning(client, &mut text, &mut length),
        lambda_proto_client_end(client, &mut text, &mut length),
        lambda_proto_client_begin_anew(client),
        lambda_proto_client_event(client, &mut bytes, &mut length),
        lambda_proto_client_field(client, 1, &mut text, &mut length),
        lambda_proto_client_header(client, none, 0, &mut text, &mut length),
        lambda_proto_client_deadline_ms(client, &mut deadline),
        lambda_proto_client_take_event(client, ptr::null_mut(), 0),
        lambda_proto_client_ask(client),
        lambda_proto_client_respond(client, none, 0, nothing, 0, 0),
        lambda_proto_client_stream(client, c"a/b".as_ptr(), 3),
        lambda_proto_client_chunk(client, nothing, 0),
        lambda_proto_client_finish(client, 0),
        lambda_proto_client_fail(client, none, 0, none, 0, none, 0, none, 0),
        lambda_proto_client_fail_json(client, none, 0, none, 0, none, 0, none, 0),
        lambda_proto_client_give_up(client),
        lambda_proto_client_fail_init(client, none, 0, none, 0, none, 0, none, 0),
        lambda_proto_client_fail_init_json(client, none, 0, none, 0, none, 0, none, 0),
        lambda_proto_client_restore_next(client),
        lambda_proto_client_fail_restore(client, none, 0, none, 0, none, 0, none, 0),
        lambda_proto_client_withdraw(client),
        lambda_proto_client_shut_down(client),
        lambda_proto_client_is_connected(client),
        lambda_proto_client_is_waiting(client),
        lambda_proto_client_losses(client),
        lambda_proto_client_is_streaming(client),
        lambda_proto_client_may_stop(client),
        lambda_proto_client_close(client),
    ]
}

fn assert_all(client: *mut Client, expected: i32) {
    for (function, code) in all(client) {
        assert_eq!(code, expected, "{function}");
    }
    // SAFETY: there is memory of the size of a client, or it is null.
    assert!(unsafe { lambda_proto_client_host(client) }.is_null());
}

#[test]
fn every_function_refuses_what_is_not_a_client() {
    assert_all(ptr::null_mut(), LAMBDA_PROTO_ERROR_NULL);
    let place = Place::new(lambda_proto_client_size() + 1, lambda_proto_client_align());
    assert_all(place.pointer.wrapping_add(1).cast(), LAMBDA_PROTO_ERROR_ALIGNMENT);
    assert_all(place.pointer.cast(), LAMBDA_PROTO_ERROR_HANDLE);
}

#[test]
fn every_function_refuses_a_closed_and_a_moved_client() {
    let made = Made::new(1024, 4096);
    let copy = Place::new(lambda_proto_client_size(), lambda_proto_client_align());
    // SAFETY: both have the size of a client, of which some bytes are not initialised.
    unsafe {
        ptr::copy_nonoverlapping(
            made.client.cast::<MaybeUninit<u8>>(),
            copy.pointer.cast::<MaybeUninit<u8>>(),
            lambda_proto_client_size(),
        );
    }
    assert_all(copy.pointer.cast(), LAMBDA_PROTO_ERROR_HANDLE);
    let place = made.close();
    assert_all(place.pointer.cast(), LAMBDA_PROTO_ERROR_HANDLE);
}

#[test]
fn commands_in_the_wrong_phase_change_nothing() {
    let mut made = Made::new(1024, 4096);
    // Before the first event.
    assert_eq!(made.respond(b"", b"1", false), LAMBDA_PROTO_ERROR_PHASE);
    assert_eq!(made.stream(b"a/b"), LAMBDA_PROTO_ERROR_PHASE);
    assert_eq!(made.chunk(b"1"), LAMBDA_PROTO_ERROR_PHASE);
    assert_eq!(made.event(), Err(LAMBDA_PROTO_ERROR_PHASE));
    assert_eq!(made.receipt().0, LAMBDA_PROTO_ERROR_PHASE);
    assert_eq!(made.end().0, LAMBDA_PROTO_ERROR_PHASE);
    assert!(made.unsent().is_empty());
    made.ask(&event("1"), 1000);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_ANSWER);
    // SAFETY: there is a client.
    assert_eq!(unsafe { lambda_proto_client_ask(made.client) }, LAMBDA_PROTO_ERROR_PHASE);
    assert_eq!(made.respond(b"", b"1", false), LAMBDA_PROTO_OK);
    let unsent = made.unsent();
    assert!(made.respond(b"", b"again", false) < 0);
    assert!(made.stream(b"a/b") < 0);
    assert_eq!(made.unsent(), unsent);
}

#[test]
fn lengths_beyond_what_there_is_are_refused() {
    let mut made = Made::new(1024, 4096);
    made.ask(&event("1")[..20], 1000);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_READ);
    let (mut room, mut length) = (ptr::null_mut(), 0);
    // SAFETY: there is a client.
    unsafe {
        let client = made.client;
        assert_eq!(lambda_proto_client_received(client, 1), LAMBDA_PROTO_ERROR_LENGTH);
        assert_eq!(lambda_proto_client_room(client, &mut room, &mut length), LAMBDA_PROTO_OK);
        assert_eq!(lambda_proto_client_received(client, length + 1), LAMBDA_PROTO_ERROR_LENGTH);
        // A step makes the room invalid.
        assert_eq!(lambda_proto_client_step(client), LAMBDA_PROTO_STEP_READ);
        assert_eq!(lambda_proto_client_received(client, 1), LAMBDA_PROTO_ERROR_LENGTH);
    }
    made.receive_all(&event("1")[20..], 1000);
    assert_eq!(made.step(), LAMBDA_PROTO_STEP_ANSWER);
    assert_eq!(made.sent(1), LAMBDA_PROTO_ERROR_LENGTH);
    assert_eq!(made.respond(b"", b"1", false), LAMBDA_PROTO_OK);
    let length = made.unsent().len();
    assert_eq!(made.sent(length + 1), LAMBDA_PROTO_ERROR_LENGTH);
    assert_eq!(made.sent(usize::MAX), LAMBDA_PROTO_ERROR_LENGTH);
    assert_eq!(made.unsent().len(), length);
    assert_eq!(made.sent(length), LAMBDA_PROTO_OK);
}

#[test]
fn texts_and_bodies_are_checked() {
    let made = Made::in_flight("1");
    for (kind, message, trace, cause) in [
        (&b"\xff"[..], &b""[..], &b""[..], &b""[..]),
        (b"", b"\xc3", b"", b""),
        (b"", b"", b"a\xffb", b""),
        (b"", b"", b"", b"\xed\xa0\x80"),
    ] {
        assert_eq!(made.fail(kind, message, trace, cause), LAMBDA_PROTO_ERROR_UTF8);
        assert_eq!(made.fail_json(kind, message, trace, cause), LAMBDA_PROTO_ERROR_UTF8);
    }
    for content_type in [&b"a\r\nb"[..], b"\0", &[b'a'; 257]] {
        assert_eq!(made.respond(content_type, b"1", false), LAMBDA_PROTO_ERROR_CONTENT_TYPE);
        assert_eq!(made.stream(content_type), LAMBDA_PROTO_ERROR_CONTENT_TYPE);
    }
    assert_eq!(made.stream(b""), LAMBDA_PROTO_ERROR_CONTENT_TYPE);
    let client = made.client;
    let (text, body) = (c"a/b".as_ptr(), ptr::dangling());
    // SAFETY: there is a client, and these pointers are refused before they are used.
    unsafe {
        for (length, code) in [(1, LAMBDA_PROTO_ERROR_NULL), (TOO_LONG, LAMBDA_PROTO_ERROR_NULL)] {
            assert_eq!(lambda_proto_client_respond(client, text, 3, ptr::null(), length, 0), code);
            assert_eq!(lambda_proto_client_respond(client, ptr::null(), length, body, 0, 0), code);
            assert_eq!(lambda_proto_client_chunk(client, ptr::null(), length), code);
        }
        let code = LAMBDA_PROTO_ERROR_LENGTH;
        assert_eq!(lambda_proto_client_respond(client, text, 3, body, TOO_LONG, 0), code);
        assert_eq!(lambda_proto_client_respond(client, text, usize::MAX, body, 0, 0), code);
        assert_eq!(lambda_proto_client_chunk(client, body, TOO_LONG), code);
        let given = ptr::dangling_mut();
        assert_eq!(lambda_proto_client_give_memory(client, 1, given, TOO_LONG), code);
        assert_eq!(lambda_proto_client_take_event(client, given, TOO_LONG), code);
        assert_eq!(
            lambda_proto_client_give_memory(client, 1, given, 1023),
            LAMBDA_PROTO_ERROR_SHORT
        );
        for kind in [0, 3, -1] {
            let code = LAMBDA_PROTO_ERROR_ARGUMENT;
            assert_eq!(lambda_proto_client_give_memory(client, kind, given, 2000), code);
            assert_eq!(lambda_proto_client_set_max_memory(client, kind, 0), code);
        }
        let (mut value, mut length) = (ptr::null(), 0);
        for field in [0, 9, -1] {
            assert_eq!(
                lambda_proto_client_field(client, field, &mut value, &mut length),
                LAMBDA_PROTO_ERROR_ARGUMENT
            );
        }
        assert_eq!(
            lambda_proto_client_event(client, ptr::null_mut(), &mut length),
            LAMBDA_PROTO_ERROR_NULL
        );
        let name = b"x-other";
        let found = lambda_proto_client_header(
            client,
            name.as_ptr().cast(),
            name.len(),
            &mut value,
            &mut length,
        );
        assert_eq!(found, LAMBDA_PROTO_OK);
        assert_eq!(crate::support::text(value.cast(), length), "o");
    }
    // After all of that, the invocation is as it was.
    assert_eq!(made.respond(b"a/b", b"1", false), LAMBDA_PROTO_OK);
}

#[test]
fn an_outage_counts_from_the_first_failed_attempt() {
    let place = Place::new(lambda_proto_outage_size(), lambda_proto_outage_align());
    let outage = place.pointer.cast();
    let mut lasted = 9;
    // SAFETY: there is memory for an outage.
    unsafe {
        assert_eq!(lambda_proto_outage_connected(outage), LAMBDA_PROTO_ERROR_HANDLE);
        assert_eq!(lambda_proto_outage_connected(ptr::null_mut()), LAMBDA_PROTO_ERROR_NULL);
        let size = lambda_proto_outage_size();
        assert_eq!(
            lambda_proto_outage_init(place.pointer.cast(), size - 1),
            LAMBDA_PROTO_ERROR_SHORT
        );
        assert_eq!(lambda_proto_outage_init(place.pointer.cast(), size), LAMBDA_PROTO_OK);
        let mut lasted = |now| {
            let code = lambda_proto_outage_lasted_ms(outage, now, &mut lasted);
            assert_eq!(code, LAMBDA_PROTO_OK);
            lasted
        };
        assert_eq!(lasted(5), 0);
        lambda_proto_outage_failed(outage, 100);
        assert_eq!(lasted(60_100), 60_000);
        assert_eq!(lasted(0), 0);
        assert_eq!(lasted(u64::MAX), u64::MAX - 100);
        lambda_proto_outage_connected(outage);
        assert_eq!(lasted(70_000), 0);
        lambda_proto_outage_lost(outage, 70_000);
        lambda_proto_outage_failed(outage, 71_000);
        assert_eq!(lasted(72_000), 1_000);
    }
}

#[test]
fn a_number_of_slots_is_decimal() {
    let read = |value: &str| {
        let mut slots = 0;
        let (at, length) = (value.as_ptr().cast(), value.len());
        // SAFETY: the text has this length.
        match unsafe { lambda_proto_slots(at, length, &mut slots) } {
            LAMBDA_PROTO_OK => Ok(slots),
            code => Err(code),
        }
    };
    assert_eq!(read(""), Ok(1));
    assert_eq!(read("0"), Ok(1));
    assert_eq!(read("64"), Ok(64));
    assert_eq!(read("+1"), Err(LAMBDA_PROTO_ERROR_ARGUMENT));
    assert_eq!(read("99999999999999999999"), Err(LAMBDA_PROTO_ERROR_ARGUMENT));
}

#[test]
fn an_http_prelude_is_written_or_says_its_length() {
    let texts = ["content-type", "text/plain"];
    let fields = texts.map(|text| text.as_ptr().cast());
    let lengths = texts.map(str::len);
    let cookie = ["a=1"];
    let (cookies, cookie_lengths) = (cookie.map(|text| text.as_ptr().cast()), cookie.map(str::len));
    let prelude = |status, headers, count, out: &mut [u8]| {
        let mut written = 0;
        // SAFETY: the arrays have the lengths that are used.
        let code = unsafe {
            lambda_proto_http_prelude(
                status,
                fields.as_ptr(),
                lengths.as_ptr(),
                headers,
                cookies.as_ptr(),
                cookie_lengths.as_ptr(),
                count,
                out.as_mut_ptr().cast(),
                out.len(),
                &mut written,
            )
        };
        (code, written)
    };
    let expected = b"{\"statusCode\":404,\"headers\":{\"content-type\":\"text/plain\"},\
        \"cookies\":[\"a=1\"]}\0\0\0\0\0\0\0\0";
    let mut out = [0; 200];
    assert_eq!(prelude(404, 1, 1, &mut out), (LAMBDA_PROTO_OK, expected.len()));
    assert_eq!(&out[..expected.len()], expected);
    for length in 0..expected.len() {
        let (code, needed) = prelude(404, 1, 1, &mut out[..length]);
        assert_eq!((code, needed), (LAMBDA_PROTO_ERROR_SHORT, expected.len()));
    }
    for (status, headers, count) in
        [(99, 1, 1), (-1, 1, 1), (70_000, 1, 1), (200, 65, 0), (200, 0, 65)]
    {
        assert_eq!(prelude(status, headers, count, &mut out).0, LAMBDA_PROTO_ERROR_ARGUMENT);
    }
    let mut written = 0;
    // SAFETY: null is refused before it is used.
    let code = unsafe {
        lambda_proto_http_prelude(
            200,
            ptr::null(),
            ptr::null(),
            1,
            ptr::null(),
            ptr::null(),
            0,
            out.as_mut_ptr().cast(),
            out.len(),
            &mut written,
        )
    };
    assert_eq!(code, LAMBDA_PROTO_ERROR_NULL);
}
