//! `URL` and `URLSearchParams`.
#![allow(missing_docs)]

mod support;

use serde_json::{Value, json};
use support::{Running, module};

/// Answers with what the expression of an event is, or with what it throws.
fn evaluator() -> Running {
    evaluator_with(512)
}

/// The same with this memory, in megabytes.
fn evaluator_with(memory: u32) -> Running {
    let source = r"
        import * as url from 'node:url';
        const values = (value) => value instanceof URL ? value.href
            : value instanceof URLSearchParams ? [...value] : value;
        export const handler = (event) => {
            try {
                const result = new Function('url', event)(url);
                return Array.isArray(result) ? result.map(values) : values(result) ?? null;
            } catch (error) {
                return { name: error.name, code: error.code, message: error.message, input: error.input };
            }
        };";
    module(source).memory(memory).start()
}

#[track_caller]
fn are(running: &Running, cases: &[(&str, Value)]) {
    for (code, expected) in cases {
        let answer = running.text(json!(code).to_string());
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer, *expected, "{code}");
    }
}

#[test]
fn a_url_has_the_parts_that_the_standard_gives_it() {
    let parts = "const u = new URL(input); return [u.href, u.origin, u.protocol, u.username, \
                 u.password, u.host, u.hostname, u.port, u.pathname, u.search, u.hash];";
    let running = evaluator();
    let of = |input: &str| format!("const input = {}; {parts}", json!(input));
    for (input, expected) in [
        (
            "https://user:p%40ss@Example.COM:8443/a/../b c?q=1&é#frag",
            json!([
                "https://user:p%40ss@example.com:8443/b%20c?q=1&%C3%A9#frag",
                "https://example.com:8443",
                "https:",
                "user",
                "p%40ss",
                "example.com:8443",
                "example.com",
                "8443",
                "/b%20c",
                "?q=1&%C3%A9",
                "#frag"
            ]),
        ),
        (
            " \thttp:\\\\a:80\\b\n",
            json!(["http://a/b", "http://a", "http:", "", "", "a", "a", "", "/b", "", ""]),
        ),
        (
            "https://bücher.example/\u{1f600}",
            json!([
                "https://xn--bcher-kva.example/%F0%9F%98%80",
                "https://xn--bcher-kva.example",
                "https:",
                "",
                "",
                "xn--bcher-kva.example",
                "xn--bcher-kva.example",
                "",
                "/%F0%9F%98%80",
                "",
                ""
            ]),
        ),
        (
            "http://0x7f.1:8080/?#",
            json!([
                "http://127.0.0.1:8080/?#",
                "http://127.0.0.1:8080",
                "http:",
                "",
                "",
                "127.0.0.1:8080",
                "127.0.0.1",
                "8080",
                "/",
                "",
                ""
            ]),
        ),
        (
            "http://[2001:DB8::0:1]/",
            json!([
                "http://[2001:db8::1]/",
                "http://[2001:db8::1]",
                "http:",
                "",
                "",
                "[2001:db8::1]",
                "[2001:db8::1]",
                "",
                "/",
                "",
                ""
            ]),
        ),
        (
            "data:text/plain,Hi?x#y",
            json!([
                "data:text/plain,Hi?x#y",
                "null",
                "data:",
                "",
                "",
                "",
                "",
                "",
                "text/plain,Hi",
                "?x",
                "#y"
            ]),
        ),
        (
            "file:///var/task/index.mjs",
            json!([
                "file:///var/task/index.mjs",
                "null",
                "file:",
                "",
                "",
                "",
                "",
                "",
                "/var/task/index.mjs",
                "",
                ""
            ]),
        ),
    ] {
        are(&running, &[(&of(input), expected)]);
    }
}

#[test]
fn a_url_may_be_relative_to_another_one_and_has_the_forms_of_its_text() {
    are(
        &evaluator(),
        &[
            ("return new URL('../c?x', 'https://a/b/d/e')", json!("https://a/b/c?x")),
            ("return new URL('//b', new URL('https://a'))", json!("https://b/")),
            ("return new URL('', 'https://a/b?c#d')", json!("https://a/b?c")),
            ("return URL.parse('b', 'https://a')", json!("https://a/b")),
            ("return URL.parse('b')", json!(null)),
            ("return URL.canParse('b') || URL.canParse('b', 'c')", json!(false)),
            ("return URL.canParse('b', 'https://a') && URL.canParse('x:y')", json!(true)),
            ("return JSON.stringify({ a: new URL('https://a') })", json!(r#"{"a":"https://a/"}"#)),
            ("return `${new URL('https://a')}`", json!("https://a/")),
            (
                "return String(Object.prototype.toString.call(new URL('a:b')))",
                json!("[object URL]"),
            ),
            (
                "return Object.keys(Object.getOwnPropertyDescriptors(URL.prototype)).length",
                json!(15),
            ),
            ("return new URL('a:b') instanceof url.URL && url.URL === URL", json!(true)),
        ],
    );
}

#[test]
fn setters_change_a_url_and_ignore_what_does_not_fit() {
    let set = |from: &str, part: &str, value: &str| {
        format!("const u = new URL({}); u.{part} = {}; return u", json!(from), json!(value))
    };
    let running = evaluator();
    for (from, part, value, to) in [
        ("https://a/b", "protocol", "http", "http://a/b"),
        ("https://a/b", "protocol", "ftp:ignored", "ftp://a/b"),
        ("https://a/b", "protocol", "mailto", "https://a/b"),
        ("https://a/b", "protocol", "1", "https://a/b"),
        ("https://a/b", "username", "u@:", "https://u%40%3A@a/b"),
        ("https://u:p@a/b", "password", "", "https://u@a/b"),
        ("https://a/b", "host", "c:8080", "https://c:8080/b"),
        ("https://a/b", "host", "c d", "https://a/b"),
        ("https://a:1/b", "hostname", "c", "https://c:1/b"),
        ("https://a/b", "hostname", "", "https://a/b"),
        ("https://a/b", "port", "8080x", "https://a:8080/b"),
        ("https://a/b", "port", "65536", "https://a/b"),
        ("https://a:1/b", "port", "443", "https://a/b"),
        ("https://a:1/b", "port", "", "https://a/b"),
        ("https://a/b", "pathname", "c?d#e", "https://a/c%3Fd%23e"),
        ("https://a/b", "pathname", "", "https://a/"),
        ("data:b", "pathname", "c", "data:b"),
        // The text of such a URL would name a host.
        ("non-spec:/", "pathname", "//host/c", "non-spec:/"),
        ("https://a/b", "search", "c=d'#", "https://a/b?c=d%27%23"),
        ("https://a/b?c", "search", "?", "https://a/b?"),
        ("https://a/b?c", "search", "", "https://a/b"),
        ("https://a/b", "hash", "#c d", "https://a/b#c%20d"),
        ("https://a/b#c", "hash", "", "https://a/b"),
        ("https://a/b", "href", "x:y", "x:y"),
        ("https://a/b", "origin", "https://c", "https://a/b"),
    ] {
        are(&running, &[(&set(from, part, value), json!(to))]);
    }
}

#[test]
fn the_parameters_of_a_url_and_its_query_follow_each_other() {
    are(
        &evaluator(),
        &[
            (
                "const u = new URL('https://a/?b=1&b=2'), p = u.searchParams;
                 p.append('c', 'é &='); const one = u.href; p.delete('b', '1'); const two = u.href;
                 u.search = '?z=9'; const three = [...p].join(); u.href = 'https://c/?y';
                 return [one, two, three, [...p].join(), p === u.searchParams];",
                json!([
                    "https://a/?b=1&b=2&c=%C3%A9+%26%3D",
                    "https://a/?b=2&c=%C3%A9+%26%3D",
                    "z,9",
                    "y,",
                    true
                ]),
            ),
            (
                "const u = new URL('https://a/?b'); u.searchParams.delete('b'); return u",
                json!("https://a/"),
            ),
            (
                "const u = new URL('https://a/?b=1'); u.hash = 'h'; u.searchParams.set('b', 2); return u",
                json!("https://a/?b=2#h"),
            ),
            (
                "const u = new URL('https://a/?b=1'), p = new URLSearchParams(u.searchParams);
                 p.set('b', 2); return u",
                json!("https://a/?b=1"),
            ),
            (
                "const u = new URL('https://a/'), p = u.searchParams, long = 'x'.repeat(5e6); let name;
                 try { p.append('b', long); } catch (error) { name = error.name; }
                 return [name, u, p.size];",
                json!(["RangeError", "https://a/", 0]),
            ),
        ],
    );
}

#[test]
fn parameters_are_made_from_text_pairs_and_records() {
    let pairs = |text: &str| format!("return new URLSearchParams({text})");
    let running = evaluator();
    for (text, expected) in [
        ("", json!([])),
        ("null", json!([])),
        ("'?a=1&b=%20+%zz&&c'", json!([["a", "1"], ["b", "  %zz"], ["c", ""]])),
        ("'??a'", json!([["?a", ""]])),
        ("'=&a=b=c&%FF=\\ud800'", json!([["", ""], ["a", "b=c"], ["\u{fffd}", "\u{fffd}"]])),
        ("[['a', 1], new Set(['b', null])]", json!([["a", "1"], ["b", "null"]])),
        ("new Map([['a', 1]])", json!([["a", "1"]])),
        ("{ a: 1, b: undefined }", json!([["a", "1"], ["b", "undefined"]])),
        ("{ '\\ud800': 1, '\\udfff': 2 }", json!([["\u{fffd}", "2"]])),
        ("Object.create({ a: 1 }, { b: { value: 2 } })", json!([])),
        ("new URLSearchParams('a=1&a=2')", json!([["a", "1"], ["a", "2"]])),
        ("7", json!([["7", ""]])),
    ] {
        are(&running, &[(&pairs(text), expected)]);
    }
}

#[test]
fn parameters_are_read_changed_sorted_and_iterated() {
    let with = |code: &str| {
        format!("const p = new URLSearchParams('z=1&\u{1f600}=2&\u{fb03}=3&z=0&a'); {code}")
    };
    let running = evaluator();
    for (code, expected) in [
        ("return [p.get('z'), p.get('none'), p.getAll('z').join(), p.size]", json!(["1", null, "1,0", 5])),
        ("return [p.has('z'), p.has('z', 0), p.has('z', 2), p.has('none'), p.has('a', undefined)]",
            json!([true, true, false, false, true])),
        // By code units: the first half of the emoji is less than the ligature.
        ("p.sort(); return `${p}`", json!("a=&z=1&z=0&%F0%9F%98%80=2&%EF%AC%83=3")),
        ("p.set('z', 7); p.set('new', '~*-._'); return `${p}`",
            json!("z=7&%F0%9F%98%80=2&%EF%AC%83=3&a=&new=%7E*-._")),
        ("p.delete('z', undefined); return p.size", json!(3)),
        ("return [[...p.keys()].join(), [...p.values()].join(), p.entries === p[Symbol.iterator]]",
            json!(["z,\u{1f600},\u{fb03},z,a", "1,2,3,0,", true])),
        ("const seen = []; p.forEach(function (value, name, all) { seen.push(name + value + (all === p) + this.x); }, { x: 8 });
          return seen[0]", json!("z1true8")),
        // A change is seen by an iterator that runs.
        ("const seen = []; for (const [name] of p) { seen.push(name); if (seen.length < 3) p.delete(name); } return seen.join()",
            json!("z,\u{fb03}")),
        ("const i = p.keys(); return [String(i), i[Symbol.iterator]() === i, i.next().value, [...i].length, i.next().done]",
            json!(["[object URLSearchParams Iterator]", true, "z", 4, true])),
    ] {
        are(&running, &[(&with(code), expected)]);
    }
}

#[test]
fn what_is_wrong_is_a_type_error_with_the_words_of_node() {
    let is =
        |code: &str, message: &str| json!({"name": "TypeError", "code": code, "message": message});
    let pair = "Each query pair must be an iterable [name, value] tuple";
    let running = evaluator();
    for (code, expected) in [
        ("new URL()", is("ERR_MISSING_ARGS", "The \"url\" argument must be specified")),
        ("URL.canParse()", is("ERR_MISSING_ARGS", "The \"url\" argument must be specified")),
        (
            "new URLSearchParams().append('a')",
            is("ERR_MISSING_ARGS", "The \"name\" and \"value\" arguments must be specified"),
        ),
        ("new URLSearchParams([['a']])", is("ERR_INVALID_TUPLE", pair)),
        ("new URLSearchParams(['ab'])", is("ERR_INVALID_TUPLE", pair)),
        ("new URLSearchParams([null])", is("ERR_INVALID_TUPLE", pair)),
        ("new URLSearchParams([{}])", is("ERR_INVALID_TUPLE", pair)),
        (
            "new URLSearchParams({ [Symbol.iterator]: 1 })",
            is("ERR_ARG_NOT_ITERABLE", "Query pairs must be iterable"),
        ),
        (
            "new URLSearchParams().forEach(1)",
            is("ERR_INVALID_ARG_TYPE", "The \"callback\" argument must be of type function."),
        ),
        (
            "url.fileURLToPath('https://a')",
            is("ERR_INVALID_URL_SCHEME", "The URL must be of scheme file"),
        ),
        (
            "url.fileURLToPath('file://host/a')",
            is(
                "ERR_INVALID_FILE_URL_HOST",
                "File URL host must be \"localhost\" or empty on linux",
            ),
        ),
    ] {
        are(&running, &[(code, expected)]);
    }
    let invalid = json!({"name": "TypeError", "code": "ERR_INVALID_URL", "message": "Invalid URL", "input": "x"});
    are(&running, &[("new URL('x')", invalid.clone())]);
    are(&running, &[("const u = new URL('a:b'); u.href = 'x'", invalid)]);
    // Of no class, and without a text.
    for code in [
        "Object.getOwnPropertyDescriptor(URL.prototype, 'href').get.call({})",
        "URLSearchParams.prototype.get.call(new URL('a:b'), 'c')",
        "URLSearchParams.prototype.keys.call({})",
        "URL('a:b')",
        "new URL(Symbol('s'))",
        "new URL({ toString() { return {}; } })",
    ] {
        let answer: Value = serde_json::from_str(&running.text(json!(code).to_string())).unwrap();
        assert_eq!(answer["name"], "TypeError", "{code}: {answer}");
    }
}

#[test]
fn hostile_input_is_refused_or_parsed_and_the_process_lives() {
    let running = evaluator_with(128);
    are(
        &running,
        &[
            ("return URL.canParse('https://a/' + 'x'.repeat(5e6))", json!(false)),
            ("return new URL('https://' + '@'.repeat(2e4) + 'a').host", json!("a")),
            ("return new URL('a/../'.repeat(2e4), 'https://a').href", json!("https://a/")),
            ("return URL.canParse('https://' + 'xn--'.repeat(2e4))", json!(false)),
            ("return URL.canParse('https://' + 'a.'.repeat(2e4) + '%00')", json!(false)),
            ("return new URLSearchParams('&'.repeat(2e4)).size", json!(0)),
            ("return new URLSearchParams('a&'.repeat(1e4)).getAll('a').length", json!(10_000)),
            ("return new URL('https://a/\\ud800?\\udc00')", json!("https://a/%EF%BF%BD?%EF%BF%BD")),
        ],
    );
    for text in [
        "http://",
        "http://%00",
        "http://a b",
        "http://[::1",
        "http://1.2.3.256",
        "http://a:b",
        "::",
        "http://%zz",
    ] {
        let code = format!("return URL.canParse({})", json!(text));
        are(&running, &[(&code, json!(false))]);
    }
    // An iterator without an end takes no more than the function's memory.
    let endless = "new URLSearchParams((function* () { for (;;) yield ['a', 'b']; })())";
    running.failure(json!(endless).to_string());
    are(&running, &[("return new URL('a:b')", json!("a:b"))]);
}

#[test]
fn the_console_prints_them_as_node_does_and_they_cannot_be_cloned() {
    let source = "export const handler = () => {
        console.log(new URL('https://a:1/b?c=d#e'), new URLSearchParams('a=1&b'), new URLSearchParams());
        try { structuredClone({ u: new URL('a:b') }); } catch (error) { return error.name; }
    };";
    let running = module(source).records().start();
    assert_eq!(running.text("1"), "\"DataCloneError\"");
    let expected = "URL {
  href: 'https://a:1/b?c=d#e',
  origin: 'https://a:1',
  protocol: 'https:',
  username: '',
  password: '',
  host: 'a:1',
  hostname: 'a',
  port: '1',
  pathname: '/b',
  search: '?c=d',
  searchParams: URLSearchParams { 'c' => 'd' },
  hash: '#e'
} URLSearchParams { 'a' => '1', 'b' => '' } URLSearchParams {}";
    assert_eq!(running.records()[0]["message"], expected);
}

#[test]
fn the_module_url_knows_paths_and_domains() {
    are(
        &evaluator(),
        &[
            ("return url.fileURLToPath('file:///a%20b/c%23')", json!("/a b/c#")),
            ("return url.fileURLToPath(new URL('file://localhost/a'))", json!("/a")),
            ("return url.pathToFileURL('/a b//c%#?/../d')", json!("file:///a%20b/d")),
            (
                "return url.pathToFileURL('x').href === 'file://' + process.cwd() + '/x'",
                json!(true),
            ),
            ("return url.domainToASCII('español.com')", json!("xn--espaol-zwa.com")),
            ("return url.domainToUnicode('xn--espaol-zwa.com')", json!("español.com")),
            ("return url.domainToASCII('xn--iñvalid.com')", json!("")),
        ],
    );
}
