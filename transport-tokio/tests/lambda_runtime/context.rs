//! What a handler learns from its context.

use std::time::{Duration, SystemTime};

use lambda_proto_service::Event;
use lambda_proto_tokio::lambda_runtime::{
    ClientContext, CognitoIdentity, Config, Context, Error, LambdaEvent, service_fn,
};
use serde_json::{Value, json};

use crate::support::{event, invoke_once};

/// The context of an event, as a handler sees it.
fn context_of(event: Event) -> Context {
    async fn show(event: LambdaEvent<Value>) -> Result<Context, Error> {
        Ok(event.context)
    }

    serde_json::from_value(invoke_once(event, service_fn(show)).json()).expect("a context")
}

#[test]
fn the_context_has_the_headers_of_the_event() {
    let event = event("null")
        .header("Lambda-Runtime-Deadline-Ms", "1795252820229")
        .header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:…:orders")
        .header("Lambda-Runtime-Trace-Id", "Root=1-5e1b;Sampled=1")
        .header("Lambda-Runtime-Aws-Tenant-Id", "blue");
    let context = context_of(event);
    assert_eq!(context.request_id, "id-1");
    assert_eq!(context.deadline, 1_795_252_820_229);
    let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_252_820_229);
    assert_eq!(context.deadline(), deadline);
    assert_eq!(context.invoked_function_arn, "arn:aws:lambda:…:orders");
    assert_eq!(context.xray_trace_id.as_deref(), Some("Root=1-5e1b;Sampled=1"));
    assert_eq!(context.tenant_id.as_deref(), Some("blue"));
    assert_eq!((context.client_context, context.identity), (None, None));
    assert_eq!(*context.env_config, Config::from_env());
}

#[test]
fn headers_that_are_absent_leave_their_fields_empty() {
    let context = context_of(event("null"));
    let mut expected = Context::default();
    expected.request_id = "id-1".to_owned();
    expected.env_config = context.env_config.clone();
    assert_eq!(context, expected);
    assert_eq!(context.deadline(), SystemTime::UNIX_EPOCH);
}

#[test]
fn a_deadline_beyond_all_time_is_no_panic() {
    let most = u64::MAX.to_string();
    let context = context_of(event("null").header("Lambda-Runtime-Deadline-Ms", most));
    assert_eq!(context.deadline, u64::MAX);
    let _whatever_the_system_can_express = context.deadline();
    let context = context_of(event("null").header("Lambda-Runtime-Deadline-Ms", "soon"));
    assert_eq!(context.deadline, 0);
}

#[test]
fn the_client_context_and_the_identity_are_read() {
    let client = json!({
        "client": {"installation_id": "i", "app_title": "Shop", "app_package_name": "com.shop"},
        "custom": {"colour": "blue"},
        "env": {"locale": "en"},
    });
    let identity = json!({"cognitoIdentityId": "a", "cognitoIdentityPoolId": "b"});
    let context = context_of(
        event("null")
            .header("Lambda-Runtime-Client-Context", client.to_string())
            .header("Lambda-Runtime-Cognito-Identity", identity.to_string()),
    );
    let ClientContext { client, custom, environment } =
        context.client_context.expect("it is there");
    assert_eq!((&*client.installation_id, &*client.app_title), ("i", "Shop"));
    assert_eq!((&*client.app_version_name, &*client.app_package_name), ("", "com.shop"));
    assert_eq!((&*custom["colour"], &*environment["locale"]), ("blue", "en"));
    let identity = context.identity.expect("it is there");
    let expected =
        CognitoIdentity { identity_id: "a".to_owned(), identity_pool_id: "b".to_owned() };
    assert_eq!(identity, expected);
}

#[test]
fn headers_that_cannot_be_read_do_not_fail_the_invocation() {
    for value in ["e30=", "{", "[]", "{\"custom\":{\"n\":1}}", "\"text\""] {
        let context = context_of(
            event("null")
                .header("Lambda-Runtime-Client-Context", value)
                .header("Lambda-Runtime-Cognito-Identity", value),
        );
        let is_read = (context.client_context.is_some(), context.identity.is_some());
        // An empty array has no fields, as an empty object.
        assert!(!is_read.1, "{value}: {context:?}");
        assert_eq!(is_read.0, value == "[]", "{value}: {context:?}");
    }
}
