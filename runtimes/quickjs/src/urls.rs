//! The parser of `URL` and `URLSearchParams`, which `prelude/url.js` calls.

use rquickjs::{Array, Ctx, Exception, Function, Object, Result};
use url::form_urlencoded;
use url::{Url, quirks};

/// The longest URL in bytes. It bounds the time in the parser, which cannot be interrupted, and the
/// memory outside of the engine's limit.
const MAX_URL: usize = 4 * 1024 * 1024;

/// Adds the functions to the object with all functions.
///
/// # Errors
///
/// If the memory does not suffice.
pub(crate) fn functions<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    native.set("parseUrl", Function::new(ctx.clone(), parse_parts)?)?;
    let set = |ctx: Ctx<'js>, href: String, part: String, value: String| {
        if href.len().saturating_add(value.len()) > MAX_URL {
            let message = format!("the URL would be longer than {MAX_URL} bytes");
            return Err(Exception::throw_range(&ctx, &message));
        }
        Ok(set_part(&href, &part, &value))
    };
    native.set("setUrl", Function::new(ctx.clone(), set)?)?;
    native.set("parseQuery", Function::new(ctx.clone(), parse_query)?)?;
    native.set("formatQuery", Function::new(ctx.clone(), format_query)?)?;
    native.set("domainToAscii", Function::new(ctx.clone(), to_ascii)?)?;
    native.set("domainToUnicode", Function::new(ctx.clone(), to_unicode)?)
}

/// The parts of the URL that this text means; `None` if it means none.
fn parse_parts(text: String, base: Option<String>) -> Option<Vec<String>> {
    parse(&text, base.as_deref()).as_ref().map(parts)
}

fn parse(text: &str, base: Option<&str>) -> Option<Url> {
    if text.len().saturating_add(base.map_or(0, str::len)) > MAX_URL {
        return None;
    }
    match base {
        Some(base) => Url::parse(base).ok()?.join(text).ok(),
        None => Url::parse(text).ok(),
    }
}

/// The parts, in the order in which `prelude/url.js` names them.
fn parts(url: &Url) -> Vec<String> {
    let origin = quirks::origin(url);
    let parts = [
        quirks::href(url),
        &origin,
        quirks::protocol(url),
        quirks::username(url),
        quirks::password(url),
        quirks::host(url),
        quirks::hostname(url),
        quirks::port(url),
        quirks::pathname(url),
        quirks::search(url),
        quirks::hash(url),
    ];
    parts.map(str::to_owned).into()
}

/// The parts of the URL with another value for one of them; `None` if it does not take the value,
/// which changes nothing then.
fn set_part(href: &str, part: &str, value: &str) -> Option<Vec<String>> {
    let mut url = Url::parse(href).ok()?;
    match part {
        "protocol" => quirks::set_protocol(&mut url, value).ok()?,
        "username" => quirks::set_username(&mut url, value).ok()?,
        "password" => quirks::set_password(&mut url, value).ok()?,
        "host" => quirks::set_host(&mut url, value).ok()?,
        "hostname" => quirks::set_hostname(&mut url, value).ok()?,
        "port" => quirks::set_port(&mut url, value).ok()?,
        "pathname" => quirks::set_pathname(&mut url, value),
        "search" => quirks::set_search(&mut url, value),
        "hash" => quirks::set_hash(&mut url, value),
        _ => return None,
    }
    // For a few paths of URLs without a host, the library makes a text that means another URL.
    let means = Url::parse(url.as_str()).ok()?;
    Some(parts(&url)).filter(|own| *own == parts(&means))
}

/// The names and values of a query, alternately. A short query has many, so they are in the engine's
/// memory, which has a limit.
fn parse_query<'js>(ctx: Ctx<'js>, query: String) -> Result<Array<'js>> {
    let list = Array::new(ctx)?;
    for (index, (name, value)) in form_urlencoded::parse(query.as_bytes()).enumerate() {
        list.set(2 * index, &*name)?;
        list.set(2 * index + 1, &*value)?;
    }
    Ok(list)
}

/// The reverse of [`parse_query`].
fn format_query(list: Array<'_>) -> Result<String> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for index in (0..list.len()).step_by(2) {
        query.append_pair(&list.get::<String>(index)?, &list.get::<String>(index + 1)?);
    }
    Ok(query.finish())
}

fn to_ascii(domain: String) -> String {
    if domain.len() > MAX_URL { String::new() } else { quirks::domain_to_ascii(&domain) }
}

fn to_unicode(domain: String) -> String {
    if domain.len() > MAX_URL { String::new() } else { quirks::domain_to_unicode(&domain) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARTS: [&str; 9] = [
        "protocol", "username", "password", "host", "hostname", "port", "pathname", "search",
        "hash",
    ];

    /// Text with what parsers treat specially.
    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("https:"),
            Just("file:"),
            Just("non-spec:"),
            Just("//"),
            Just("/.//"),
            Just(".."),
            Just("%2e"),
            Just("\\"),
            Just(":"),
            Just("@"),
            Just("?"),
            Just("#"),
            Just("["),
            Just("]"),
            Just("::1"),
            Just("0x7f.1"),
            Just("a"),
            Just("xn--"),
            Just("ß"),
            Just("\u{ad}"),
            Just("\u{1f600}"),
            Just("\t"),
            Just("\n"),
            Just("\0"),
            Just(" "),
            Just("C|"),
            Just("99999"),
            Just("%"),
            Just("%ff"),
            Just("|"),
            Just("^"),
        ];
        prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn a_url_means_what_its_text_means_whatever_is_set(
            text in hostile(),
            base in prop::option::of(hostile()),
            changes in prop::collection::vec((prop::sample::select(&PARTS[..]), hostile()), 0..6),
        ) {
            let made = parse_parts(text, base);
            let mut url = made.unwrap_or_else(|| parse_parts("non-spec:/".to_owned(), None).unwrap());
            for (part, value) in changes {
                url = set_part(&url[0], part, &value).unwrap_or(url);
                let means = parse_parts(url[0].clone(), None);
                prop_assert_eq!(means.as_ref(), Some(&url));
            }
        }

        #[test]
        fn a_list_of_names_and_values_survives_its_text(list in prop::collection::vec(any::<String>(), 0..8)) {
            let mut list = list;
            list.truncate(list.len() / 2 * 2);
            let runtime = rquickjs::Runtime::new().unwrap();
            let read = rquickjs::Context::full(&runtime).unwrap().with(|ctx| {
                let array = Array::new(ctx.clone()).unwrap();
                for (index, text) in list.iter().enumerate() {
                    array.set(index, text.as_str()).unwrap();
                }
                let read = parse_query(ctx, format_query(array).unwrap()).unwrap();
                read.iter::<String>().collect::<Result<Vec<_>>>().unwrap()
            });
            prop_assert_eq!(read, list);
        }
    }

    #[test]
    fn a_path_that_would_become_a_host_is_not_set() {
        assert_eq!(set_part("non-spec:/", "pathname", "//host/p"), None);
        let set = set_part("https://a/", "pathname", "//b").unwrap();
        assert_eq!(set[0], "https://a//b");
    }

    #[test]
    fn a_url_that_is_too_long_is_refused() {
        let long = format!("https://a/{}", "a".repeat(MAX_URL));
        assert_eq!(parse(&long, None), None);
        assert_eq!(parse("b", Some(&long)), None);
        assert!(parse(&long[..MAX_URL], None).is_some());
    }
}
