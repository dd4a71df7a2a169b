//! Every document that the service reads, and the calls around them: what the service replies to the
//! function, or what the caller gets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::script::{End, Script};
use End::{Answered, Failed};

/// Takes the document out of `event`: the body is a JSON string with the document in base64.
const BODY: &str = r#"body() {
    printf '%s' "${event#*"

"}" | tr -d '"' | base64 -d
}
"#;

/// The event that brings a document, as the lab passes on JSON only.
fn encoded(document: impl AsRef<[u8]>) -> String {
    format!("\"{}\"", STANDARD.encode(document))
}

/// The content type of a report with the X-Ray cause.
const WITH_CAUSE: &str = "Content-Type: application/vnd.aws.lambda.error.cause+json";

pub(crate) fn documents() -> Vec<Script> {
    vec![registrations(), reports_with_a_cause(), reports(), calls()]
        .into_iter()
        .chain(reports_of_init())
        .collect()
}

/// A bootstrap that has the document of each event in its standard input, and the response in its
/// standard output.
fn each_document(name: &'static str, script: &str) -> Script {
    Script::shell(name, &format!("{BODY}while next; do body | {script}; done"))
}

/// Registration is closed when the first event comes, which is checked after the document.
fn registrations() -> Script {
    let register = r#"curl -sS -i -H 'Lambda-Extension-Name: mine' --data-binary @- \
        "http://$AWS_LAMBDA_RUNTIME_API/2020-01-01/extension/register" |
        tr -d '\r' | grep -v '^Date: ' | post response --data-binary @-"#;
    let mut script =
        each_document("registrations", register).event("no document", Answered, encoded(""));
    for document in [
        "{}",
        " null ",
        "[]",
        "[1]",
        "1",
        "\"x\"",
        "true",
        "nul",
        "nonsense",
        "{",
        "[",
        "]",
        "{a}",
        "{'a':1}",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\"}",
        "[1,]",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"a\":t}",
        "{\"a\":\"x",
        "\u{feff}{}",
        "\u{80}",
        "\u{7f}",
        "{} x",
        "{}{}",
        r#"{"events":["NOPE"]}"#,
        r#"{"EVENTS":["NOPE"]}"#,
        "{\"event\u{17f}\":[\"NOPE\"]}",
        r#"{"\u0065vents":["NOPE"]}"#,
        r#"{"events":["A"],"events":["B"]}"#,
        r#"{"events":["A"],"Events":null}"#,
        r#"{"events":["A"],"Events":[]}"#,
        r#"{"events":["A","B"],"events":["C"],"events":[null,null,"D"]}"#,
        r#"{"events":[null]}"#,
        r#"{"events":"INVOKE"}"#,
        r#"{"events":{}}"#,
        r#"{"events":true}"#,
        r#"{"events":[1,"NOPE"]}"#,
        r#"{"events":[["a"]],"configurationKeys":1}"#,
        r#"{"events":[{}]}"#,
        r#"{"events":["<&>\u2028\b\f\u0001\u007f"]}"#,
        r#"{"events":["\ud800"]}"#,
        r#"{"events":["\ud83d\ude00\ud800\u0041"]}"#,
        r#"{"events":["x\q"]}"#,
        r#"{"events":["x\u12"]}"#,
        "{\"events\":[\"\u{1}\"]}",
        r#"{"events":["INVOKE"]}"#,
        r#"{"events":["invoke"]}"#,
        r#"{"events":["SHUTDOWN"]}"#,
        r#"{"configurationKeys":["a"],"events":["NOPE"]}"#,
        "{\"CONFIGURATION\u{212a}EYS\":[\"a\"]}",
        r#"{"configurationKeys":["a"],"configurationKeys":[]}"#,
        r#"{"configurationKeys":"x"}"#,
        r#"{"RegisterRequest":{"events":["NOPE"]},"x":1e999,"":0}"#,
    ] {
        script = script.event(document, Answered, encoded(document));
    }
    for (name, document) in [
        ("invalid UTF-8", &b"{\"events\":[\"a\xff\xe2\x82\xed\xa0\x80b\"]}"[..]),
        ("invalid UTF-8 in another member", b"{\"events\":[\"NOPE\"],\"\xff\":\"\xff\"}"),
    ] {
        script = script.event(name, Answered, encoded(document));
    }
    for (name, depth) in [("the deepest nesting", 9_999), ("deeper nesting", 10_000)] {
        let document = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        script = script.event(name, Answered, encoded(document));
    }
    script
}

fn reports_with_a_cause() -> Script {
    let report = format!("post error -H '{WITH_CAUSE}' --data-binary @-");
    let mut script = each_document("error reports with a cause", &report).event(
        "no document",
        Failed,
        encoded(""),
    );
    for document in [
        "{}",
        "null",
        "[]",
        "1",
        "\"x\"",
        "nonsense",
        "{} {}",
        r#"{"errorMessage":"m","errorType":"t","errorCause":{"working_directory":"x"}}"#,
        r#"{"ERRORMESSAGE":"m","ErrorType":"t"}"#,
        r#"{"errorMessage":"a","errormessage":"b","errorType":"a","errorType":null}"#,
        r#"{"errorMessage":null}"#,
        r#"{"errorMessage":1,"errorType":"t"}"#,
        r#"{"errorType":["t"]}"#,
        r#"{"stackTrace":[]}"#,
        r#"{"stackTrace":null}"#,
        r#"{"stackTrace":["a", "b"]}"#,
        r#"{"stackTrace":[null]}"#,
        r#"{"stackTrace":["a"],"STACKTRACE":[]}"#,
        r#"{"stackTrace":"a"}"#,
        r#"{"stackTrace":{}}"#,
        r#"{"stackTrace":[1]}"#,
        r#"{"stackTrace":[{"path":"a"}]}"#,
        r#"{"errorCause":1,"errorMessage":"a/\/\"\\<&>\u2029\u0000\t"}"#,
        r#"{"errorMessage":"\ud800"}"#,
    ] {
        script = script.event(document, Failed, encoded(document));
    }
    script.event("invalid UTF-8", Failed, encoded(b"{\"errorMessage\":\"a\xe2\x82b\"}"))
}

/// Other reports reach the caller unchanged.
fn reports() -> Script {
    let mut script = each_document("error reports", "post error -H Content-Type: --data-binary @-");
    for document in ["null", "[]", "nonsense", r#"{"ERRORTYPE":1,"errorMessage":null}"#] {
        script = script.event(document, Failed, encoded(document));
    }
    script
}

fn reports_of_init() -> Vec<Script> {
    let report =
        format!(r#"curl -sS -H '{WITH_CAUSE}' --data-binary "$0" "$api/init/error"; exit 1"#);
    [
        ("an error in init that is null", "null"),
        ("an error in init that is a list", "[]"),
        ("an error in init with a cause", r#"{"errorType":"t","errorCause":{},"stackTrace":1}"#),
    ]
    .into_iter()
    .map(|(name, document)| {
        Script::shell(name, &report).argument(document).event("error", Failed, "{}")
    })
    .collect()
}

/// Calls by the function, each as the arguments of curl.
fn calls() -> Script {
    let call = r#"{
            base="http://$AWS_LAMBDA_RUNTIME_API"
            extension="$base/2020-01-01/extension"
            nobody=00000000-0000-0000-0000-000000000000
            id='Lambda-Extension-Identifier:'
            type='Lambda-Extension-Function-Error-Type: T'
            eval "curl -sS -i $(cat)"
        } | tr -d '\r' | grep -v '^Date: ' | post response --data-binary @-"#;
    let mut script = each_document("calls of extensions", call);
    for arguments in [
        "-X PUT $base/2022-07-01/telemetry",
        "-X PUT $base/2022-07-01/telemetry -d nonsense -H \"$id me\"",
        "-X PUT $base/2022-07-01/telemetry/",
        "-X PUT $base/2022-07-01/logs",
        "-X POST $base/2022-07-01/telemetry",
        "$base/2022-07-01/telemetry",
        "-I $base/2022-07-01/telemetry",
        "-X PUT $base/2020-08-15/logs",
        "-X PUT $base/2020-08-15/logs -d '[]' -H \"$id $nobody\"",
        "-X DELETE $base/2020-08-15/logs",
        "-X PUT $base/2020-08-15",
        "$extension/event/next",
        "$extension/event/next -H \"$id me\"",
        "$extension/event/next -H \"$id $nobody\"",
        "$extension/event/next -H \"$id {$nobody]\"",
        "-X POST $extension/init/error -H \"$type\"",
        "-X POST $extension/init/error -H \"$id $nobody\"",
        "-X POST $extension/init/error -H \"$type\" -H \"$id $nobody\"",
        "-X POST $extension/init/error -H \"$type\" -H \"$id urn:uuid:$nobody\"",
        "-X POST $extension/exit/error -H \"$type\"",
        "-X POST $extension/exit/error -H \"$type\" -H \"$id 00000000000000000000000000000000\"",
        "-X POST $extension/exit/error -H \"$type\" -H \"$id ${nobody}0\"",
        "-X POST $extension/exit/error -H \"$id $nobody\"",
        "-X POST $extension/exit/error -H \"$type\" -H \"$id $nobody\" -d '[]'",
        "$extension/register -d '{}'",
        "$extension/register -d '{}' -H 'Lambda-Extension-Name: é'",
    ] {
        script = script.event(arguments, Answered, encoded(arguments));
    }
    script
}
