//! The example with axum under the lab: requests of a function URL, as a whole and streamed.

use lambda_interop::programs;
use lambda_lab::{Function, Lab};
use serde_json::{Value, json};

fn start(arguments: &[&str]) -> Lab {
    let program = programs::example("async_axum").unwrap();
    let function = Function::new(program);
    arguments.iter().fold(function, |function, it| function.argument(it)).start().unwrap()
}

/// A request, as a function URL passes it on.
fn request(method: &str, path: &str, query: &str, body: &str) -> String {
    let event = json!({
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "domainName": "abcdefghij.lambda-url.eu-west-1.on.aws",
            "http": {"method": method, "path": path, "sourceIp": "192.0.2.7"},
            "timeEpoch": 1_772_359_200_000_u64
        },
        "body": body,
        "isBase64Encoded": false
    });
    event.to_string()
}

#[test]
fn an_axum_application_answers_requests_of_a_function_url() {
    let lab = start(&[]);
    let answer = |event: String| -> (Value, Value) {
        let answer: Value = serde_json::from_str(&lab.invoke(event).unwrap().text()).unwrap();
        (answer["statusCode"].clone(), answer["body"].clone())
    };
    let hello = answer(request("GET", "/", "name=Ada%20L", ""));
    assert_eq!(hello, (json!(200), json!("Hello, Ada L at 192.0.2.7!\n")));
    let price = answer(request("POST", "/orders/chair", "", r#"{"pieces":3}"#));
    assert_eq!(price, (json!(200), json!(r#"{"article":"chair","price":21}"#)));
    assert_eq!(answer(request("POST", "/orders/chair", "", "{")).0, json!(400));
    assert_eq!(answer(request("GET", "/nowhere", "", "")).0, json!(404));
}

#[test]
fn an_axum_application_streams_to_a_function_url() {
    let lab = start(&["stream"]);
    let answer = lab.invoke(request("GET", "/lines/3", "", "")).unwrap().text();
    let (prelude, body) = answer.split_once("\0\0\0\0\0\0\0\0").unwrap();
    let prelude: Value = serde_json::from_str(prelude).unwrap();
    assert_eq!(prelude["statusCode"], 200);
    assert_eq!(body, "line 1\nline 2\nline 3\n");
}
