//! The differences that are wanted.

use crate::differences::At::{Ends, Steps};
use crate::differences::Difference;
use crate::script::End::{Answered, Described, Failed, Streamed, TimedOut};

/// Everything in which the lab is meant to be unlike the emulator.
pub(crate) const WANTED: &[Difference] = &[
    Difference {
        at: Ends(&[Answered, Described, Streamed, Failed, TimedOut]),
        why: "Lambda tells these of every invocation",
        parts: &[
            ("header x-amzn-requestid", "", "<id>"),
            ("header x-amz-executed-version", "", "$LATEST"),
        ],
    },
    Difference {
        at: Ends(&[Failed, TimedOut]),
        why: "it is how a caller of Lambda knows a failure, and with the emulator it cannot",
        parts: &[("header x-amz-function-error", "", "Unhandled")],
    },
    Difference {
        at: Ends(&[Answered, Described, Streamed]),
        why: "the lab hands on the function's content type, the emulator guesses one from the body",
        parts: &[("header content-type", "*", "*")],
    },
    Difference {
        at: Ends(&[Failed]),
        why: "the report of a failure is JSON; the emulator guesses a content type from the body",
        parts: &[("header content-type", "*", "application/json")],
    },
    Difference {
        at: Ends(&[Described]),
        why: "the ids of attempts came to Lambda in 2026, after this emulator",
        parts: &[("body.attempt_id", "null", "<id>")],
    },
    Difference {
        at: Ends(&[Streamed]),
        why: "the lab hands on a stream as it comes, and tells its failure at the end",
        parts: &[(
            "header trailer",
            "",
            "lambda-runtime-function-error-type, lambda-runtime-function-error-body",
        )],
    },
    // Events and answers.
    Difference {
        at: Steps("an event that is too large", &["one byte too many"]),
        why: "Lambda refuses it, and the emulator cuts it without a word",
        parts: &[
            ("status", "200", "413"),
            ("header x-amzn-errortype", "", "RequestTooLargeException"),
            ("header content-type", "text/plain; charset=utf-8", "application/json"),
            (
                "body",
                "6291556 bytes: aaaaaaaaaaaaaaaaaaaa…",
                r#"{"Type":"User","Message":"the event has 6291557 bytes; Lambda accepts at most 6291556"}"#,
            ),
        ],
    },
    // Processes.
    Difference {
        at: Steps("a process that ends behind its answer", &["answer", "answer again"]),
        why: "the caller has the answer when the process ends; the emulator waits for its next",
        parts: &[("status", "502", "200")],
    },
    Difference {
        at: Steps("a process that ends behind its error", &["error", "error again"]),
        why: "the caller has the report when the process ends; the emulator waits for its next",
        parts: &[("status", "502", "200")],
    },
    Difference {
        at: Steps("an answer and no next", &["answer", "answer again"]),
        why: "the lab answers as soon as there is an answer; the emulator waits for the runtime's next",
        parts: &[("body", "Task timed out after 1.00 seconds", "done")],
    },
    Difference {
        at: Steps("exit 0 in init", &["start"]),
        why: "the lab says of a process that ends in init what both say of one that ends later",
        parts: &[(
            "body",
            "",
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: <id> Error: Runtime exited without providing a reason"}"#,
        )],
    },
    Difference {
        at: Steps("exit 1 in init", &["start"]),
        why: "the lab says of a process that ends in init what both say of one that ends later",
        parts: &[(
            "body",
            "",
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: <id> Error: Runtime exited with error: exit status 1"}"#,
        )],
    },
    Difference {
        at: Steps("killed in init", &["start"]),
        why: "the lab says of a process that ends in init what both say of one that ends later",
        parts: &[(
            "body",
            "",
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: <id> Error: Runtime exited with error: signal: terminated"}"#,
        )],
    },
    Difference {
        at: Steps("an error in init and no end", &["error", "error again"]),
        why: "the lab tells the report at once; the emulator waits for the end of the process",
        parts: &[
            ("status", "200", "502"),
            ("body", "Task timed out after 1.00 seconds", r#"{"errorType":"Function.NoEnd"}"#),
        ],
    },
    Difference {
        at: Steps("a program without its interpreter", &["start"]),
        why: "the lab says what is wrong with the program, the emulator nothing",
        parts: &[(
            "body",
            "",
            r#"{"errorType":"Runtime.InvalidEntrypoint","errorMessage":"RequestId: <id> Error: cannot start <here>/tests/side_by_side/no_interpreter: No such file or directory (os error 2)"}"#,
        )],
    },
    // Streams.
    Difference {
        at: Steps("streams", &["a failure midway", "a panic midway"]),
        why: "hanging up is the only way to tell it behind a status of 200; the emulator hides it",
        parts: &[("end", "", "cut off")],
    },
    Difference {
        at: Steps("streams", &["a failure to a reader of trailers"]),
        why: "it is told in the trailers of the Runtime API to whoever says that it reads trailers",
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
        why: "a stream may have 200 MiB; the emulator holds it back, and then it may not",
        parts: &[(
            "body",
            r#"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}"#,
            "7000000 bytes: aaaaaaaaaaaaaaaaaaaa…",
        )],
    },
    Difference {
        at: Steps("a stream that takes too long", &["stream"]),
        why: "what was streamed has gone out when the time is up; the emulator has held it back",
        parts: &[("body", "Task timed out after 1.00 seconds", "first\n"), ("end", "", "cut off")],
    },
    // The Invoke API.
    Difference {
        at: Steps("paths and methods", &["GET", "PUT", "DELETE"]),
        why: "only POST invokes at Lambda; the emulator takes every method there",
        parts: &[
            ("status", "200", "405"),
            ("header allow", "", "POST"),
            ("header content-type", "text/plain; charset=utf-8", ""),
            ("body", "*", ""),
        ],
    },
    Difference {
        at: Steps("paths and methods", &["HEAD"]),
        why: "only POST invokes at Lambda; the emulator takes every method there",
        parts: &[
            ("status", "200", "405"),
            ("header allow", "", "POST"),
            ("header content-type", "text/plain; charset=utf-8", ""),
        ],
    },
    Difference {
        at: Steps("paths and methods", &["another name"]),
        why: "clients of Lambda have a name of their own to call, and the lab has but one function",
        parts: &[
            ("status", "404", "200"),
            ("header x-content-type-options", "nosniff", ""),
            ("header content-type", "text/plain; charset=utf-8", "application/json"),
            ("header x-amzn-requestid", "", "<id>"),
            ("header x-amz-executed-version", "", "$LATEST"),
            ("body", "404 page not found\n", "*"),
        ],
    },
    Difference {
        at: Steps("paths and methods", &["no name"]),
        why: "the emulator tidies paths up and sends the caller there, where nothing is",
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
            "what comes with an event",
            &["client context without padding", "client context that is no base64"],
        ),
        why: "it is the caller's fault, which the lab tells as Lambda does; the emulator says 500",
        parts: &[
            ("status", "500", "400"),
            ("header x-amzn-errortype", "", "InvalidRequestContentException"),
            ("header content-type", "", "application/json"),
            (
                "body",
                "",
                r#"{"Type":"User","Message":"X-Amz-Client-Context is not base64-encoded text"}"#,
            ),
        ],
    },
    Difference {
        at: Steps("what comes with an event", &["client context that is no text"]),
        why: "a client context is JSON, so text; the emulator hands on any bytes",
        parts: &[
            ("status", "200", "400"),
            ("header x-amzn-errortype", "", "InvalidRequestContentException"),
            ("header content-type", "text/plain; charset=utf-8", "application/json"),
            (
                "body",
                "*",
                r#"{"Type":"User","Message":"X-Amz-Client-Context is not base64-encoded text"}"#,
            ),
        ],
    },
    Difference {
        at: Steps(
            "client context with a control character",
            &["client context with a control character"],
        ),
        why: "no header may hold it; the emulator sends it nevertheless",
        parts: &[
            ("status", "200", "400"),
            ("header x-amzn-errortype", "", "InvalidRequestContentException"),
            ("header content-type", "text/plain; charset=utf-8", "application/json"),
            (
                "body",
                "*",
                r#"{"Type":"User","Message":"the client context contains a control character, which headers cannot hold"}"#,
            ),
        ],
    },
    Difference {
        at: Steps("what comes with an event", &["trace id"]),
        why: "the emulator does not trace; a function under the lab is to see what it sees at Lambda",
        parts: &[("body.trace_id", "null", "Root=1-5759e988-bd862e3f;Sampled=1")],
    },
    Difference {
        at: Steps("what comes with an event", &["request id"]),
        why: "at Lambda the id is the service's; the emulator takes one from the caller",
        parts: &[("body.request_id", "mine", "<id>")],
    },
    Difference {
        at: Steps("invocation types", &["DryRun"]),
        why: "the emulator does not know the invocation types of Lambda",
        parts: &[
            ("status", "200", "204"),
            ("header content-type", "text/plain; charset=utf-8", ""),
            ("body", "*", ""),
        ],
    },
    Difference {
        at: Steps("invocation types", &["Event"]),
        why: "the emulator does not know the invocation types of Lambda",
        parts: &[
            ("status", "200", "202"),
            ("header content-type", "text/plain; charset=utf-8", ""),
            ("body", "*", ""),
        ],
    },
    Difference {
        at: Steps("invocation types", &["Nonsense"]),
        why: "the emulator does not know the invocation types of Lambda",
        parts: &[
            ("status", "200", "400"),
            ("header x-amzn-errortype", "", "InvalidParameterValueException"),
            ("header content-type", "text/plain; charset=utf-8", "application/json"),
            (
                "body",
                "*",
                r#"{"Type":"User","Message":"X-Amz-Invocation-Type must be RequestResponse, Event or DryRun"}"#,
            ),
        ],
    },
    // What the function sees.
    Difference {
        at: Steps("the environment of a function", &["variables"]),
        why: "these are variables of Lambda, which the emulator does not set",
        parts: &[
            ("body.AWS_DEFAULT_REGION", "", "us-east-1"),
            ("body.AWS_REGION", "", "us-east-1"),
            ("body.AWS_LAMBDA_INITIALIZATION_TYPE", "", "on-demand"),
            ("body.LAMBDA_RUNTIME_DIR", "", "<here>"),
            ("body.LAMBDA_TASK_ROOT", "", "<here>"),
            ("body.TZ", "", ":UTC"),
        ],
    },
    Difference {
        at: Steps("the environment of a function", &["variables"]),
        why: "a log group is called after its function",
        parts: &[(
            "body.AWS_LAMBDA_LOG_GROUP_NAME",
            "/aws/lambda/Functions",
            "/aws/lambda/test_function",
        )],
    },
    Difference {
        at: Steps("the environment of a function", &["variables"]),
        why: "this is how the emulator is told its timeout, and it hands its environment on",
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
            "what a client gets for next",
            &["a small event", "an event with headers", "an event in chunks"],
        ),
        why: "the ids of attempts came to Lambda in 2026, after this emulator",
        parts: &[("lines of body", "", "Lambda-Runtime-Invocation-Id: <id>")],
    },
];
