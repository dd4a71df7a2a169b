//! Parses addresses of the Runtime API.

use lambda_proto::api::{Endpoint, Request};
use lambda_proto::limits::{MAX_AUTHORITY, MAX_PATH_PREFIX};

use crate::input::Input;
use crate::request::encode;
use crate::wire;

/// An accepted address makes requests in which another parser finds the same host and path. The
/// error for any other is one line.
///
/// The input is an address, a NUL and a user agent.
pub fn endpoint(data: &[u8]) {
    let mut input = Input::new(data);
    let value = input.text(0);
    let user_agent = String::from_utf8_lossy(input.rest());
    let endpoint = match Endpoint::parse(&value) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            let line = error.to_string();
            assert!(line.len() < 1024 && !line.contains(char::is_control), "{line:?}");
            return;
        }
    };
    assert!(endpoint.authority().len() <= MAX_AUTHORITY);
    assert!(endpoint.path_prefix().len() <= MAX_PATH_PREFIX && endpoint.port() > 0);
    assert_eq!(endpoint.user_agent(), Endpoint::DEFAULT_USER_AGENT);
    let before_prefix = format!("{}{}", endpoint.authority(), endpoint.path_prefix());
    for again in [before_prefix.clone(), format!("HTTP://{before_prefix}/")] {
        assert_eq!(Endpoint::parse(&again).as_ref(), Ok(&endpoint));
    }
    let host = endpoint.host();
    let is_v6 = host.parse::<std::net::Ipv6Addr>().is_ok();
    let bracketed = if is_v6 { format!("[{host}]") } else { host.to_owned() };
    let port = endpoint.authority().strip_prefix(&bracketed).expect("the host comes first");
    match port.strip_prefix(':') {
        Some(digits) => assert_eq!(digits.parse(), Ok(endpoint.port())),
        None => assert_eq!((port, endpoint.port()), ("", 80)),
    }
    check_request(&endpoint);

    let authority = endpoint.authority().to_owned();
    let Ok(endpoint) = endpoint.with_user_agent(&user_agent) else { return };
    assert_eq!(endpoint.user_agent(), user_agent);
    assert_eq!(endpoint.authority(), authority);
    check_request(&endpoint);
}

fn check_request(endpoint: &Endpoint) {
    let bytes = encode(|out| Request::Next.encode(endpoint, out));
    let [request] = &wire::requests(&bytes)[..] else { panic!("one request") };
    assert!(request.is_whole);
    let path = request.path.strip_suffix("/2018-06-01/runtime/invocation/next");
    assert_eq!(path, Some(endpoint.path_prefix()));
    assert_eq!(request.field("Host"), Some(endpoint.authority().as_bytes()));
    assert_eq!(request.field("User-Agent"), Some(endpoint.user_agent().as_bytes()));
    assert_eq!(request.fields.len(), 2);
}
