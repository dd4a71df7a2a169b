//! Web pages: which of them may invoke the function, and the headers that tell a browser.
//!
//! A page that a developer visits can send requests to this machine, and the function runs with the
//! developer's credentials. Three headers show that a request comes from a page, which cannot
//! change them: `Origin`, which a browser adds to each POST, `Sec-Fetch-Site`, which it adds to
//! every request to a loopback address, and `Host`, which has the page's own name if that name has
//! been rebound to a loopback address. Other clients send neither of the first two.
//!
//! `Sec-Fetch-Mode` shows nothing: `fetch` of Node.js sends it, too, and runtimes may be built on
//! it.
//!
//! Sources: the Fetch standard, "CORS protocol"; W3C, "Fetch Metadata Request Headers" and "Private
//! Network Access".

use std::net::IpAddr;

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HOST,
    HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::{Response, StatusCode};
use tokio::net::TcpStream;

use crate::http::{self, Answering, header};

/// Allows every page.
const ANY: &str = "*";

/// The origin of pages that have none, such as files and sandboxed frames.
const OPAQUE: &str = "null";

const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Whether a connection arrived at a loopback address, so that its peer is a program on this
/// machine, which may be a browser that shows any page.
pub(crate) fn is_on_loopback(stream: &TcpStream) -> bool {
    stream.local_addr().is_ok_and(|address| address.ip().to_canonical().is_loopback())
}

/// The origin of the page that sends this request to the Invoke API; `None` if no page sends it.
///
/// Besides the allowed pages, those that this machine serves may invoke the function: those of a
/// loopback origin, and those of the address in `Host`.
///
/// # Errors
///
/// Why the request is refused, and what to do.
pub(crate) fn caller(
    headers: &HeaderMap,
    allowed: &[String],
    is_on_loopback: bool,
) -> Result<Option<HeaderValue>, String> {
    let host = header(headers, HOST.as_str());
    let is_listed = |origin: &str| allowed.iter().any(|it| it == ANY || it == origin);
    if is_on_loopback
        && !is_local(name_of(host))
        && !allowed.iter().any(|it| it == ANY || is_at(it, host))
    {
        let name = name_of(host);
        return Err(format!(
            "the host name {name} may be anybody's (DNS rebinding): call the function at localhost \
             or 127.0.0.1, or allow this name with --allow-origin http://{host}"
        ));
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return match header(headers, SEC_FETCH_SITE) {
            "" | "none" | "same-origin" => Ok(None),
            _ if allowed.iter().any(|it| it == ANY) => Ok(None),
            site => Err(format!(
                "a web page sent this request (Sec-Fetch-Site: {site}), without its origin: only a \
                 fetch with the method POST can be allowed, with --allow-origin"
            )),
        };
    };
    match origin.to_str() {
        Ok(text) if origins.next().is_none() => {
            if is_listed(text) || is_of_this_machine(text, host) {
                return Ok(Some(origin.clone()));
            }
            Err(match text {
                OPAQUE => "web pages without an origin, such as files and sandboxed frames, may not \
                           invoke the function: serve the page over HTTP on localhost, or allow all \
                           of them with --allow-origin null"
                    .into(),
                _ => format!(
                    "the web pages of {text} may not invoke the function: allow them with \
                     --allow-origin {text}"
                ),
            })
        }
        _ => Err("the request has several origins, or one that is not text: send one".into()),
    }
}

/// Why a request to the Runtime API or the Extensions API is refused, if it comes from a browser.
///
/// Unlike [`caller`], this accepts host names without a dot. Such a name cannot be registered, and
/// clients that write their requests by hand use them.
pub(crate) fn refused_by_runtime_api(headers: &HeaderMap, is_on_loopback: bool) -> Option<String> {
    for name in [ORIGIN.as_str(), SEC_FETCH_SITE] {
        if headers.contains_key(name) {
            return Some(format!(
                "only runtimes and extensions may use this API, and a web browser sent this \
                 request, as its header {name} shows: invoke the function at the Invoke API"
            ));
        }
    }
    let host = name_of(header(headers, HOST.as_str()));
    let is_rebindable = is_on_loopback && !is_local(host) && host.contains('.');
    is_rebindable.then(|| {
        format!(
            "the host name {host} may be anybody's (DNS rebinding): use the address in \
             AWS_LAMBDA_RUNTIME_API as it is"
        )
    })
}

/// The reply to the question whether a page may send a request.
pub(crate) fn preflight(asked: &HeaderMap) -> Response<Answering> {
    let mut response = http::answer(StatusCode::NO_CONTENT, "");
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if asked.contains_key("access-control-request-private-network") {
        let name = HeaderName::from_static("access-control-allow-private-network");
        headers.insert(name, HeaderValue::from_static("true"));
    }
    headers.append(
        VARY,
        HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers"),
    );
    response
}

/// Lets a page of this origin read the response.
pub(crate) fn allow(origin: HeaderValue, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(READABLE));
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

/// The headers that a page may read, besides those that every page may.
const READABLE: &str = "x-amz-executed-version, x-amz-function-error, x-amz-log-result, \
                        x-amzn-errortype, x-amzn-requestid";

/// An origin as browsers send it; `None` if it is not one. `*` stands for every origin.
pub(crate) fn origin(text: &str) -> Option<String> {
    let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    if text == ANY || text == OPAQUE {
        return Some(text);
    }
    let (scheme, authority) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|it: char| it.is_ascii_lowercase())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let name = name_of(authority);
    let is_name = !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@\\*\"'<>".contains(&byte));
    let port = authority[name.len()..].strip_prefix(':');
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok())
        && (port.is_some() || authority.len() == name.len());
    if !is_scheme || !is_name || !is_port || (name.contains(':') && !is_address(name)) {
        return None;
    }
    // A browser leaves out the port that the scheme implies.
    Some(match (scheme, port) {
        ("http", Some("80")) | ("https", Some("443")) => format!("{scheme}://{name}"),
        _ => text,
    })
}

/// Whether a `Host` is that of this origin, which is [normalised](origin).
fn is_at(origin: &str, host: &str) -> bool {
    // The port that the scheme implies may be left out of both.
    let Some((scheme, _)) = origin.split_once("://").filter(|_| !host.ends_with('/')) else {
        return false;
    };
    self::origin(&format!("{scheme}://{host}")).is_some_and(|own| own == origin)
}

/// A host without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether pages of this origin come from this machine: from a loopback address, or from the
/// address to which the request was sent.
fn is_of_this_machine(origin: &str, host: &str) -> bool {
    let Some(("http" | "https", authority)) = origin.split_once("://") else { return false };
    let name = name_of(authority);
    let is_loopback = address(name).is_some_and(|it| it.is_loopback());
    is_localhost(name) || is_loopback || (is_address(name) && is_at(origin, host))
}

/// Whether a host name cannot be rebound: it is an address or a name of this machine, or empty.
fn is_local(name: &str) -> bool {
    name.is_empty() || is_address(name) || is_localhost(name) || is_of_containers(name)
}

/// `localhost`, and the names below it, which always mean this machine (RFC 6761, section 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The names that Docker and Podman give to the host. Docker Desktop connects them to a loopback
/// address. The domain `internal` is reserved, so names below it cannot be registered.
fn is_of_containers(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.ends_with(".docker.internal") || name.ends_with(".containers.internal")
}

fn is_address(name: &str) -> bool {
    address(name).is_some()
}

/// An address, which has brackets in version 6.
fn address(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(name) => name.parse().ok().filter(IpAddr::is_ipv6),
        None => name.parse().ok().filter(IpAddr::is_ipv4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    /// Whether a request with these headers is from an allowed page, from no page, or refused.
    fn seen(allowed: &[&str], is_on_loopback: bool, sent: &[(&str, &str)]) -> &'static str {
        let allowed: Vec<_> = allowed.iter().map(|it| origin(it).unwrap()).collect();
        match caller(&headers(sent), &allowed, is_on_loopback) {
            Ok(Some(_)) => "page",
            Ok(None) => "no page",
            Err(_) => "refused",
        }
    }

    #[test]
    fn pages_of_this_machine_and_listed_ones_may_invoke_the_function() {
        let listed = ["https://App.example:443/", "http://app.example:8080"];
        for (origin, without, with) in [
            ("http://localhost:3000", "page", "page"),
            ("https://localhost", "page", "page"),
            ("http://a.localhost:1", "page", "page"),
            ("http://127.0.0.1:5173", "page", "page"),
            ("http://127.8.9.1", "page", "page"),
            ("http://[::1]:8000", "page", "page"),
            ("https://app.example", "refused", "page"),
            ("http://app.example:8080", "refused", "page"),
            ("http://app.example", "refused", "refused"),
            ("http://page.example", "refused", "refused"),
            ("http://localhost.page.example", "refused", "refused"),
            ("http://127.0.0.1.page.example", "refused", "refused"),
            ("http://page.example:80@localhost", "refused", "refused"),
            ("http://192.168.0.1:3000", "refused", "refused"),
            ("file://localhost", "refused", "refused"),
            ("null", "refused", "refused"),
            ("", "refused", "refused"),
        ] {
            let sent = [("host", "127.0.0.1:9000"), ("origin", origin)];
            assert_eq!(seen(&[], true, &sent), without, "{origin}");
            assert_eq!(seen(&listed, true, &sent), with, "{origin}");
            assert_eq!(seen(&["*"], true, &sent), "page", "{origin}");
        }
        let opaque = [("host", "localhost"), ("origin", "null")];
        assert_eq!(seen(&["null"], true, &opaque), "page");
        let two = [("host", "a"), ("origin", "http://localhost"), ("origin", "http://localhost")];
        assert_eq!(seen(&["*"], true, &two), "refused");
    }

    #[test]
    fn a_page_at_the_address_of_the_lab_is_its_own_but_not_at_a_name() {
        for (host, origin, expected) in [
            ("192.168.0.7:9000", "http://192.168.0.7:9000", "page"),
            ("192.168.0.7:9000", "http://192.168.0.7", "refused"),
            ("192.168.0.7:80", "http://192.168.0.7", "page"),
            ("192.168.0.7:9000", "http://192.168.0.8:9000", "refused"),
            ("page.example:9000", "http://page.example:9000", "refused"),
        ] {
            let sent = [("host", host), ("origin", origin)];
            assert_eq!(seen(&[], false, &sent), expected, "{origin}");
        }
    }

    #[test]
    fn names_that_can_be_rebound_are_refused_on_loopback_only() {
        for (host, expected) in [
            ("127.0.0.1:9000", "no page"),
            ("127.0.0.1", "no page"),
            ("[::1]:9000", "no page"),
            ("localhost:9000", "no page"),
            ("LOCALHOST.:9000", "no page"),
            ("me.localhost:9000", "no page"),
            ("192.168.0.7:9000", "no page"),
            ("host.docker.internal:9000", "no page"),
            ("host.containers.internal:9000", "no page"),
            ("", "no page"),
            ("page.example:9000", "refused"),
            ("localhost.page.example", "refused"),
            ("127.0.0.1.page.example", "refused"),
            ("lab:9000", "refused"),
            ("::1", "refused"),
        ] {
            assert_eq!(seen(&[], true, &[("host", host)]), expected, "{host}");
            assert_eq!(seen(&[], false, &[("host", host)]), "no page", "{host}");
            assert_eq!(seen(&["*"], true, &[("host", host)]), "no page", "{host}");
        }
        let own = [("host", "lab.example:9000")];
        assert_eq!(seen(&["http://lab.example:9000"], true, &own), "no page");
        assert_eq!(seen(&["http://lab.example"], true, &own), "refused");
        for (allowed, host, expected) in [
            ("http://Lab.Example:9000", "Lab.Example:9000", "no page"),
            ("http://lab.example:9000", "LAB.example:9000", "no page"),
            ("https://lab.example", "lab.example:443", "no page"),
            ("https://lab.example:443", "lab.example", "no page"),
            ("http://lab.example", "lab.example:80", "no page"),
            ("http://lab.example", "lab.example:443", "refused"),
            ("https://lab.example", "lab.example:80", "refused"),
            ("http://lab.example", "lab.example/", "refused"),
            ("null", "lab.example", "refused"),
        ] {
            let sent = [("host", host)];
            assert_eq!(seen(&[allowed], true, &sent), expected, "{allowed}, {host}");
        }
        assert_eq!(seen(&[], true, &[]), "no page");
    }

    #[test]
    fn requests_of_other_pages_without_an_origin_are_refused() {
        for (site, expected) in [
            ("none", "no page"),
            ("same-origin", "no page"),
            ("same-site", "refused"),
            ("cross-site", "refused"),
            ("nonsense", "refused"),
        ] {
            let sent = [("host", "localhost"), ("sec-fetch-site", site)];
            assert_eq!(seen(&[], true, &sent), expected, "{site}");
        }
        // Sent by `fetch` of Node.js.
        let sent = [("host", "localhost"), ("sec-fetch-mode", "cors")];
        assert_eq!(seen(&[], true, &sent), "no page");
    }

    #[test]
    fn the_runtime_api_refuses_what_only_browsers_send() {
        for (sent, is_refused) in [
            (&[("host", "127.0.0.1:1")][..], false),
            (&[("host", "lambda")], false),
            (&[("host", "localhost")], false),
            (&[("host", "127.0.0.1:1"), ("sec-fetch-mode", "cors")], false),
            (&[("host", "127.0.0.1:1"), ("origin", "http://127.0.0.1:1")], true),
            (&[("host", "127.0.0.1:1"), ("origin", "null")], true),
            (&[("host", "127.0.0.1:1"), ("sec-fetch-site", "none")], true),
            (&[("host", "page.example:1")], true),
        ] {
            let reason = refused_by_runtime_api(&headers(sent), true);
            assert_eq!(reason.is_some(), is_refused, "{sent:?} {reason:?}");
        }
        assert_eq!(refused_by_runtime_api(&headers(&[("host", "page.example")]), false), None);
    }

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for (text, expected) in [
            ("*", Some("*")),
            ("null", Some("null")),
            ("https://App.Example", Some("https://app.example")),
            ("https://app.example/", Some("https://app.example")),
            ("http://app.example:80", Some("http://app.example")),
            ("http://app.example:443", Some("http://app.example:443")),
            ("http://[::1]:3000", Some("http://[::1]:3000")),
            ("chrome-extension://abc", Some("chrome-extension://abc")),
            ("app.example", None),
            ("http://", None),
            ("http://app.example/path", None),
            ("http://*.example", None),
            ("http://a b", None),
            ("http://a:b", None),
            ("http://a:99999", None),
            ("http://::1", None),
            ("://a", None),
            ("", None),
        ] {
            assert_eq!(origin(text).as_deref(), expected, "{text}");
        }
    }
}
