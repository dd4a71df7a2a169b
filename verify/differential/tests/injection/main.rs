//! No value of a handler or of the service can break out of its place in a request.
//!
//! Each value of [`values`] is put into each of the places of [`places`]. The judge is hyper's
//! server. The bytes must be exactly one request with the method, the path and the field names of a
//! request with a harmless value, and with the intended value in the place. Otherwise nothing may
//! be written, and the caller gets a typed error.

mod places;
mod through_std;
mod values;

use std::collections::BTreeSet;

use lambda_proto_differential::{Call, Parts, Request, Served, serve};
use places::{PLACES, Place};
use proptest::prelude::*;

/// Checks that these are the same requests as with harmless values, except in these places.
fn check_shape(harmless: &Served, served: &Served, places: &[&Place]) -> Result<(), String> {
    let fault = |what: &str| Err(format!("{what}: {served:.1000?}"));
    if served.left > 0 || served.error.is_some() || served.requests.len() != harmless.requests.len()
    {
        return fault("not the intended requests");
    }
    for (wanted, request) in harmless.requests.iter().zip(&served.requests) {
        let is_left_out =
            |name: &str| places.iter().any(|place| place.may_be_left_out == Some(name));
        let mut names = request.names();
        names.extend(
            wanted
                .names()
                .into_iter()
                .filter(|name| is_left_out(name) && request.field(name).is_none()),
        );
        names.sort_unstable();
        if names != wanted.names() {
            return fault("other header fields");
        }
        if (&request.method, shape(&request.target, places))
            != (&wanted.method, shape(&wanted.target, places))
        {
            return fault("another method or path");
        }
        let trailers =
            |it: &Request| it.trailers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        if trailers(request) != trailers(wanted) {
            return fault("other trailers");
        }
    }
    Ok(())
}

/// A path without the request id and without the prefix before the version, if these are places.
fn shape(target: &str, places: &[&Place]) -> Vec<String> {
    let has = |name: &str| places.iter().any(|place| place.name.contains(name));
    // A `/` in an id is always escaped, so the path of the API begins here.
    let start = if has("endpoint") { target.rfind("/20").unwrap_or(0) } else { 0 };
    let mut segments: Vec<_> = target[start..].split('/').map(str::to_owned).collect();
    if has("request id")
        && let [.., invocation, id, _] = &mut segments[..]
        && invocation == "invocation"
    {
        id.clear();
    }
    segments
}

/// The fate of a value.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Sent,
    Refused,
    /// It is not text, which the types of this place require.
    NoText,
}

/// Puts a value into a place of a request.
fn try_value(place: &Place, call: Call, harmless: &Served, value: &[u8]) -> Result<Fate, String> {
    let mut parts = Parts::harmless();
    if !(place.put)(&mut parts, value) {
        return Ok(Fate::NoText);
    }
    let Ok(bytes) = call.encode(&parts) else { return Ok(Fate::Refused) };
    let served = serve(&bytes);
    check_shape(harmless, &served, &[place])?;
    match (place.is_meant)(call, &served.requests[0], value) {
        true => Ok(Fate::Sent),
        false => Err(format!("not the intended value: {:.1000?}", served.requests[0])),
    }
}

fn harmless(call: Call) -> Served {
    serve(&call.encode(&Parts::harmless()).expect("harmless parts are taken"))
}

/// Checks these values in all places; returns their fates.
fn check(values: &[Vec<u8>]) -> Vec<(&'static str, BTreeSet<Fate>)> {
    let of_place = |place: &'static Place| {
        let mut fates = BTreeSet::new();
        for call in place.calls {
            let harmless = harmless(*call);
            for value in values {
                let fate = try_value(place, *call, &harmless, value).unwrap_or_else(|fault| {
                    let value = value[..value.len().min(100)].escape_ascii();
                    panic!("{} of {call:?}, \"{value}\": {fault}", place.name)
                });
                fates.insert(fate);
            }
        }
        (place.name, fates)
    };
    PLACES.iter().map(of_place).collect()
}

#[test]
fn no_byte_breaks_out_of_any_place() {
    for (place, fates) in check(&values::bytes()) {
        assert!(fates.contains(&Fate::Sent), "{place}: {fates:?}");
    }
}

#[test]
fn no_hostile_text_breaks_out_of_any_place() {
    for (place, fates) in check(&values::attempts()) {
        assert!(fates.contains(&Fate::Sent), "{place}: {fates:?}");
    }
}

#[test]
fn no_long_value_breaks_out_of_any_place() {
    check(&values::long());
}

#[test]
fn every_request_with_a_place_in_it_is_tried() {
    let tried: Vec<Call> = PLACES.iter().flat_map(|place| place.calls).copied().collect();
    let all = Call::ALL.iter().filter(|call| **call != Call::ResponseAndNext);
    assert!(all.clone().all(|call| tried.contains(call)));
}

#[test]
fn a_value_that_breaks_out_is_detected() {
    // A program that writes these fields without any checks.
    let write = |error_type: &str| {
        format!(
            "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nHost: 127.0.0.1:9001\r\nUser-Agent: test/1\r\n\
             Content-Type: application/vnd.aws.lambda.error+json\r\n\
             Lambda-Runtime-Function-Error-Type: {error_type}\r\n\
             Lambda-Runtime-Function-XRay-Error-Cause: {{}}\r\nContent-Length: 2\r\n\r\n{{}}"
        )
    };
    let harmless = harmless(Call::InitError);
    let place = PLACES.iter().find(|place| place.name == "error type").expect("it is a place");
    let check =
        |error_type: &str| check_shape(&harmless, &serve(write(error_type).as_bytes()), &[place]);
    assert_eq!(check("A.B"), Ok(()));
    for value in [
        "A\r\nX-Injected: yes",
        "A\nX-Injected: yes",
        "A\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n",
        "A\r\nContent-Length: 0",
        "A\r\nContent-Length: 100",
        "A\r\nTransfer-Encoding: chunked",
        "A\rX-Injected: yes",
        "A\0",
        "\x7f",
    ] {
        assert!(check(value).is_err(), "{value:?}");
    }
}

#[test]
fn a_value_that_differs_from_the_intended_one_is_detected() {
    for place in PLACES {
        let call = place.calls[0];
        let request = &harmless(call).requests[0];
        assert!(!(place.is_meant)(call, request, b"something else"), "{}", place.name);
    }
}

proptest! {
    // Integration tests have no place for regression files; a counterexample belongs in a test.
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 300, ..Default::default() })]

    #[test]
    fn no_combination_of_values_breaks_out_of_its_places(
        hostile in prop::collection::vec((prop::sample::select(PLACES), values::combined()), 1..4)
    ) {
        for call in Call::ALL {
            let mut parts = Parts::harmless();
            let of_call = hostile.iter().filter(|(place, _)| place.calls.contains(&call));
            let mut put = Vec::new();
            for (place, value) in of_call {
                let is_free = !put.iter().any(|(other, _): &(&Place, &[u8])| other.excludes(place));
                if is_free && (place.put)(&mut parts, value) {
                    put.push((place, value));
                }
            }
            let Ok(bytes) = call.encode(&parts) else { continue };
            let served = serve(&bytes);
            let places: Vec<&Place> = put.iter().map(|(place, _)| *place).collect();
            check_shape(&harmless(call), &served, &places).map_err(TestCaseError::fail)?;
            for (place, value) in put {
                let is_meant = (place.is_meant)(call, &served.requests[0], value);
                prop_assert!(is_meant, "{} of {call:?}", place.name);
            }
        }
    }
}
