//! The intended differences.

use crate::differences::At::{Ends, Steps};
use crate::differences::Difference;
use crate::script::End::{Answered, Described, Failed, Refused, Streamed, TimedOut};

/// Every intended difference between the lab and the emulator.
pub(crate) const WANTED: &[Difference] = &[
    Difference {
        at: Ends(&[Answered, Described, Streamed, Failed, TimedOut]),
        why: "Lambda sends these headers with the answer to every invocation",
        parts: &[
            ("header x-amzn-requestid", "", "<id>"),
            ("header x-amz-executed-version", "", "$LATEST"),
        ],
    },
    Difference {
        at: Ends(&[Refused]),
        why: "Lambda sends a request id with every response",
        parts: &[("header x-amzn-requestid", "", "<id>")],
    },
    Difference {
        at: Ends(&[Failed, TimedOut]),
        why: "Lambda marks failures with this header; the emulator does not mark them",
        parts: &[("header x-amz-function-error", "", "Unhandled")],
    },
    Difference {
        at: Ends(&[Answered, Described, Streamed]),
        why: "the lab passes on the function's content type; the emulator guesses one from the body",
        parts: &[("header content-type", "*", "*")],
    },
    Difference {
        at: Ends(&[Failed, TimedOut]),
        why: "every failure has the content type that it has on Lambda; the emulator guesses one from the body",
        parts: &[("header content-type", "*", "application/json")],
    },
    Difference {
        at: Ends(&[Described]),
        why: "Lambda has had ids of attempts since 2026; this emulator is older",
        parts: &[("body.attempt_id", "null", "<id>")],
    },
    Difference {
        at: Ends(&[Described]),
        why: "Lambda sends a trace id with each invocation; the emulator does not trace",
        parts: &[("body.trace_id", "null", "<trace>")],
    },
    Difference {
        at: Ends(&[Streamed]),
        why: "the lab passes on a stream as it arrives, and reports its failure at the end",
        parts: &[(
            "header trailer",
            "",
            "lambda-runtime-function-error-type, lambda-runtime-function-error-body",
        )],
    },
    // Events and responses.
    Difference {
        at: Steps("events of every size", &["0 bytes", "0 bytes again"]),
        why: "on Lambda no payload is an empty object; the emulator passes on nothing",
        parts: &[("body", "", "{}")],
    },
    Difference {
        at: Steps("an event that is not JSON", &["a word"]),
        why: "Lambda refuses it; the emulator passes on everything",
        parts: &[
            ("status", "200", "400"),
            ("header x-amzn-errortype", "", "InvalidRequestContentException"),
            ("header content-type", "text/plain; charset=utf-8", "application/json"),
            (
                "body",
                "nonsense",
                r#"{"Type":"User","message":"Could not parse request body into json: expected ident at line 1 column 2"}"#,
            ),
        ],
    },
    Difference {
        at: Steps("an event that is too large", &["one byte too many"]),
        why: "Lambda refuses it; the emulator cuts it silently",
        parts: &[
            ("status", "200", "413"),
            ("header x-amzn-errortype", "", "RequestTooLargeException"),
            ("header content-type", "text/plain; charset=utf-8", "application/json"),
            (
                "body",
                "6291556 bytes: 11111111111111111111…",
                r#"{"Type":"User","message":"the event has 6291557 bytes; Lambda accepts at most 6291556"}"#,
            ),
        ],
    },
    // The Telemetry and Logs APIs. The vectors of `conformance/service/` show that the lab without
    // telemetry replies as the emulator.
    Difference {
        at: Steps("calls of extensions", &["-X PUT $base/2022-07-01/telemetry"]),
        why: "the lab has the Telemetry API, whose subscribers name themselves; the emulator has none",
        parts: &[(
            "lines of body",
            "HTTP/1.1 202 Accepted\nContent-Length: 87\n{\"errorMessage\":\"Telemetry API is not supported\",\"errorType\":\"Telemetry.NotSupported\"}",
            "HTTP/1.1 403 Forbidden\nContent-Length: 113\n{\"errorMessage\":\"Missing Lambda-Extension-Identifier header\",\"errorType\":\"Extension.MissingExtensionIdentifier\"}",
        )],
    },
    Difference {
        at: Steps(
            "calls of extensions",
            &["-X PUT $base/2022-07-01/telemetry -d nonsense -H \"$id me\""],
        ),
        why: "the lab has the Telemetry API, whose subscribers name themselves; the emulator has none",
        parts: &[(
            "lines of body",
            "HTTP/1.1 202 Accepted\nContent-Length: 87\n{\"errorMessage\":\"Telemetry API is not supported\",\"errorType\":\"Telemetry.NotSupported\"}",
            "HTTP/1.1 403 Forbidden\nContent-Length: 106\n{\"errorMessage\":\"Invalid Lambda-Extension-Identifier\",\"errorType\":\"Extension.InvalidExtensionIdentifier\"}",
        )],
    },
    Difference {
        at: Steps("calls of extensions", &["-X PUT $base/2020-08-15/logs"]),
        why: "the lab has the Logs API, whose subscribers name themselves; the emulator has none",
        parts: &[(
            "lines of body",
            "HTTP/1.1 202 Accepted\nContent-Length: 77\n{\"errorMessage\":\"Logs API is not supported\",\"errorType\":\"Logs.NotSupported\"}",
            "HTTP/1.1 403 Forbidden\nContent-Length: 113\n{\"errorMessage\":\"Missing Lambda-Extension-Identifier header\",\"errorType\":\"Extension.MissingExtensionIdentifier\"}",
        )],
    },
    Difference {
        at: Steps(
            "calls of extensions",
            &["-X PUT $base/2020-08-15/logs -d '[]' -H \"$id $nobody\""],
        ),
        why: "the lab has the Logs API, whose subscribers name themselves; the emulator has none",
        parts: &[(
            "lines of body",
            "HTTP/1.1 202 Accepted\nContent-Length: 77\n{\"errorMessage\":\"Logs API is not supported\",\"errorType\":\"Logs.NotSupported\"}",
            "HTTP/1.1 403 Forbidden\nContent-Length: 125\n{\"errorMessage\":\"Unknown extension <id>\",\"errorType\":\"Extension.UnknownExtensionIdentifier\"}",
        )],
    },
    // Processes.
    Difference {
        at: Steps("a process that ends after its response", &["answer", "answer again"]),
        why: "the lab sends the response before the process ends; the emulator waits for `next`",
        parts: &[("status", "502", "200")],
    },
    Difference {
        at: Steps("a process that ends after its error", &["error", "error again"]),
        why: "the lab sends the error before the process ends; the emulator waits for `next`",
        parts: &[("status", "502", "200")],
    },
    Difference {
        at: Steps("an answer and no next", &["answer", "answer again"]),
        why: "the lab sends the response when it arrives; the emulator waits for the runtime's `next`",
        parts: &[("body", "Task timed out after 1.00 seconds", "done")],
    },
    Difference {
        at: Steps("exit 0 in init", &["start"]),
        why: "the lab reports a process that ends in init as both report one that ends later",
        parts: &[(
            "body",
            "",
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: <id> Error: Runtime exited without providing a reason"}"#,
        )],
    },
    Difference {
        at: Steps("exit 1 in init", &["start"]),
        why: "the lab reports a process that ends in init as both report one that ends later",
        parts: &[(
            "body",
            "",
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: <id> Error: Runtime exited with error: exit status 1"}"#,
        )],
    },
    Difference {
        at: Steps("killed in init", &["start"]),
        why: "the lab reports a process that ends in init as both report one that ends later",
        parts: &[(
            "body",
            "",
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: <id> Error: Runtime exited with error: signal: terminated"}"#,
        )],
    },
    Difference {
        at: Steps("an error in init and no end", &["error", "error again"]),
        why: "the lab sends the error immediately; the emulator waits for the end of the process",
        parts: &[
            ("status", "200", "502"),
            ("body", "Task timed out after 1.00 seconds", r#"{"errorType":"Function.NoEnd"}"#),
        ],
    },
    Difference {
        at: Steps("error reports with a cause", &["no document"]),
        why: "the documentation says that the service describes an error without a body by its type",
        parts: &[(
            "body",
            "\"Invalid error body\"",
            r#"{"errorType":"Runtime.Unknown","errorMessage":""}"#,
        )],
    },
    // Streams.
    Difference {
        at: Steps("streams", &["a failure midway", "a panic midway"]),
        why: "after a status of 200, only a cut-off body can show a failure; the emulator hides it",
        parts: &[("end", "", "cut off")],
    },
    Difference {
        at: Steps("streams", &["a failure to a reader of trailers"]),
        why: "the lab sends the Runtime API's error trailers to callers that accept trailers",
        parts: &[
            ("trailer lambda-runtime-function-error-type", "", "Function.Midway"),
            (
                "trailer lambda-runtime-function-error-body",
                "",
                "eyJlcnJvclR5cGUiOiJGdW5jdGlvbi5NaWR3YXkiLCJlcnJvck1lc3NhZ2UiOiJoYWxmIGlzIGVub3VnaCJ9",
            ),
        ],
    },
    Difference {
        at: Steps("streams", &["7 MB"]),
        why: "a stream may have 200 MiB; the emulator buffers it and applies the limit of buffered responses",
        parts: &[(
            "body",
            r#"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}"#,
            "7000000 bytes: aaaaaaaaaaaaaaaaaaaa…",
        )],
    },
    Difference {
        at: Steps("a stream that takes too long", &["stream"]),
        why: "the lab has sent the streamed bytes before the timeout; the emulator buffers them",
        parts: &[("body", "Task timed out after 1.00 seconds", "first\n"), ("end", "", "cut off")],
    },
    // The Invoke API.
    Difference {
        at: Steps("paths and methods", &["GET", "PUT", "DELETE"]),
        why: "Lambda invokes only for POST; the emulator invokes for every method",
        parts: &[
            ("status", "200", "405"),
            ("header allow", "", "POST"),
            ("header content-type", "text/plain; charset=utf-8", ""),
            ("body", "*", ""),
        ],
    },
    Difference {
        at: Steps("paths and methods", &["HEAD"]),
        why: "Lambda invokes only for POST; the emulator invokes for every method",
        parts: &[
            ("status", "200", "405"),
            ("header allow", "", "POST"),
            ("header content-type", "text/plain; charset=utf-8", ""),
        ],
    },
    Difference {
        at: Steps("paths and methods", &["another name"]),
        why: "Lambda's clients call their function by name; the lab has one function, for every name",
        parts: &[
            ("status", "404", "200"),
            ("header x-content-type-options", "nosniff", ""),
            ("header content-type", "text/plain; charset=utf-8", "application/json"),
            ("header x-amz-executed-version", "", "$LATEST"),
            ("body", "404 page not found\n", "*"),
        ],
    },
    Difference {
        at: Steps("paths and methods", &["a query"]),
        why: "as on Lambda, the query may have a version or an alias; the emulator ignores it",
        parts: &[
            ("header x-amz-executed-version", "", "1"),
            (
                "body.function",
                "arn:aws:lambda:us-east-1:012345678912:function:test_function",
                "arn:aws:lambda:us-east-1:012345678912:function:test_function:1",
            ),
        ],
    },
    Difference {
        at: Steps("paths and methods", &["no name"]),
        why: "the emulator redirects to a normalised path, which does not exist",
        parts: &[
            ("status", "307", "404"),
            ("header location", "/2015-03-31/functions/invocations", ""),
            ("header x-content-type-options", "", "nosniff"),
            ("header content-type", "", "text/plain; charset=utf-8"),
            ("body", "", "404 page not found\n"),
        ],
    },
    Difference {
        at: Steps(
            "the metadata of an event",
            &["client context without padding", "client context that is not base64"],
        ),
        why: "it is the caller's error, which the lab reports as Lambda does; the emulator sends 500",
        parts: &[
            ("status", "500", "400"),
            ("header x-amzn-errortype", "", "InvalidRequestContentException"),
            ("header content-type", "", "application/json"),
            (
                "body",
                "",
                r#"{"Type":"User","message":"X-Amz-Client-Context is not base64-encoded text"}"#,
            ),
        ],
    },
    Difference {
        at: Steps("the metadata of an event", &["client context that is not text"]),
        why: "a client context is JSON and therefore text; the emulator passes on any bytes",
        parts: &[
            ("status", "200", "400"),
            ("header x-amzn-errortype", "", "InvalidRequestContentException"),
            ("header content-type", "text/plain; charset=utf-8", "application/json"),
            (
                "body",
                "*",
                r#"{"Type":"User","message":"X-Amz-Client-Context is not base64-encoded text"}"#,
            ),
        ],
    },
    Difference {
        at: Steps(
            "client context with a control character",
            &["client context with a control character"],
        ),
        why: "a header must not contain one; the emulator sends it anyway",
        parts: &[
            ("status", "200", "400"),
            ("header x-amzn-errortype", "", "InvalidRequestContentException"),
            ("header content-type", "text/plain; charset=utf-8", "application/json"),
            (
                "body",
                "*",
                r#"{"Type":"User","message":"the client context contains a control character, which headers cannot hold"}"#,
            ),
        ],
    },
    Difference {
        at: Steps("the metadata of an event", &["trace id"]),
        why: "the emulator does not trace; under the lab a function sees the trace id as on Lambda",
        parts: &[("body.trace_id", "null", "Root=1-5759e988-bd862e3f;Sampled=1")],
    },
    Difference {
        at: Steps("the metadata of an event", &["request id"]),
        why: "on Lambda the service chooses the id; the emulator takes one from the caller",
        parts: &[("body.request_id", "mine", "<id>")],
    },
    Difference {
        at: Steps("invocation types", &["DryRun"]),
        why: "the emulator does not know Lambda's invocation types",
        parts: &[
            ("status", "200", "204"),
            ("header content-type", "text/plain; charset=utf-8", ""),
            ("body", "*", ""),
        ],
    },
    Difference {
        at: Steps("invocation types", &["Event"]),
        why: "the emulator does not know Lambda's invocation types",
        parts: &[
            ("status", "200", "202"),
            ("header content-type", "text/plain; charset=utf-8", ""),
            ("body", "*", ""),
        ],
    },
    Difference {
        at: Steps("invocation types", &["Nonsense"]),
        why: "the emulator does not know Lambda's invocation types",
        parts: &[
            ("status", "200", "400"),
            ("header x-amzn-errortype", "", "InvalidParameterValueException"),
            ("header content-type", "text/plain; charset=utf-8", "application/json"),
            (
                "body",
                "*",
                r#"{"Type":"User","message":"X-Amz-Invocation-Type must be RequestResponse, Event or DryRun"}"#,
            ),
        ],
    },
    // What the function sees.
    Difference {
        at: Steps("the environment of a function", &["variables"]),
        why: "Lambda sets these variables; the emulator does not",
        parts: &[
            ("body.AWS_DEFAULT_REGION", "", "us-east-1"),
            ("body.AWS_REGION", "", "us-east-1"),
            ("body.AWS_LAMBDA_INITIALIZATION_TYPE", "", "on-demand"),
            ("body.LAMBDA_RUNTIME_DIR", "", "<program>"),
            ("body.LAMBDA_TASK_ROOT", "", "<program>"),
            ("body.TZ", "", ":UTC"),
        ],
    },
    Difference {
        at: Steps("the environment of a function", &["variables"]),
        why: "on Lambda each environment has a /tmp of its own; the emulator has its container's",
        parts: &[("body.TMPDIR", "*", "*")],
    },
    Difference {
        at: Steps("the environment of a function", &["variables"]),
        why: "on Lambda a log group is named after its function",
        parts: &[(
            "body.AWS_LAMBDA_LOG_GROUP_NAME",
            "/aws/lambda/Functions",
            "/aws/lambda/test_function",
        )],
    },
    Difference {
        at: Steps("the environment of a function", &["variables"]),
        why: "the emulator reads its timeout from this variable and passes its environment on",
        parts: &[("body.AWS_LAMBDA_FUNCTION_TIMEOUT", "20", "")],
    },
    Difference {
        at: Steps("the environment of a function", &["variables"]),
        why: "the lab has no metadata endpoint",
        parts: &[
            ("body.AWS_LAMBDA_METADATA_API", "127.0.0.1:<port>", ""),
            ("body.AWS_LAMBDA_METADATA_TOKEN", "<id>", ""),
        ],
    },
    Difference {
        at: Steps(
            "the reply to next",
            &["a small event", "an event with headers", "an event in chunks"],
        ),
        why: "Lambda sends a trace id, and since 2026 the id of the attempt; this emulator is older",
        parts: &[(
            "lines of body",
            "",
            "Lambda-Runtime-Invocation-Id: <id>\nLambda-Runtime-Trace-Id: <trace>",
        )],
    },
];
