//! What the recordings mean, as read by people from the bytes of the service.

use lambda_proto::api::Call;
use lambda_proto::machine::Phase;

/// The name of a recording, what it means, and the state in which it leaves the machine.
pub(crate) type Facts = (&'static str, &'static [&'static str], (Phase, Option<Call>));

const ASKED: (Phase, Option<Call>) = (Phase::Ready, Some(Call::Next));
const IN_HAND: (Phase, Option<Call>) = (Phase::Invoking, None);
const UNANSWERED: (Phase, Option<Call>) = (Phase::Reporting, Some(Call::Response));

pub(crate) const FACTS: &[Facts] = &[
    (
        "01_basic_keepalive",
        &[
            "event 43795e75-f90a-43d5-825f-aee7e5c91911 until 1795252820229, 17 bytes",
            "response 202",
            "event 1264daae-8d2f-4530-927f-f88e4dfeb57b until 1795252825240, 6 bytes",
            "response 202",
        ],
        (Phase::Ready, None),
    ),
    (
        "02_pipelined_response_and_next",
        &[
            "event 34021ee5-fc1d-4ece-8ea8-10b2215e8d63 until 1795253038551, 7 bytes",
            "response 202",
            "event 422cc8b2-82a8-4d80-a043-fed80f00f4dd until 1795253038556, 7 bytes",
            "response 202",
            "event 89118afa-7985-4c4b-bdf8-194ab352e34a until 1795253038561, 7 bytes",
            "response 202",
            "event ce14acf7-40e5-4a34-b145-68427e40557b until 1795253038562, 7 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "02b_pipelined_error_and_next",
        &[
            "event 79e93608-425e-4f96-ad66-51cff1626833 until 1795255781911, 7 bytes",
            "error 202",
            "event 6b219bc6-1f2f-45bd-9e53-e589e44ebff7 until 1795255782063, 8 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "02c_pipelined_1mb_response_and_next",
        &[
            "event 0f54404d-7ceb-400d-b3f4-8c05879227ec until 1795255782087, 7 bytes",
            "response 202",
            "event 829c409f-4bbf-44bf-bee9-8509330b56da until 1795255782246, 8 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "02g_pipelined_chunked_response_and_next",
        &[
            "event 8d988603-410a-4d53-ac93-3ac4e8660605 until 1795255786843, 7 bytes",
            "response 202",
            "event 762a6874-5974-4644-9efb-6860bfcb0c8b until 1795255786995, 8 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "04_next_payload_0",
        &[
            "event c295be1b-f13c-40a2-8560-649e55bb6cf0 until 1795253092034, 0 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "04_next_payload_1",
        &[
            "event 01ecb525-7893-431d-9a63-0bffdf6cf381 until 1795253092511, 1 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "04_next_payload_2047",
        &[
            "event 7cf1181d-4bf5-4bda-af58-3942fd18d9db until 1795253092989, 2047 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "04_next_payload_2048",
        &[
            "event 32c438d1-266b-4e86-9c43-56f96891b682 until 1795253093466, 2048 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "04_next_payload_2049",
        &[
            "event cc203800-1632-4130-bf5a-5f2da3dd8936 until 1795253093943, 2049 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "04_next_payload_4096",
        &[
            "event b816293d-c41d-4b65-b94c-54be5598bcf8 until 1795253094419, 4096 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "04_next_payload_65536",
        &[
            "event 23731caa-20e4-446d-919b-276ebb857300 until 1795253094896, 65536 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "07_response_6291556",
        &[
            "event 42802d62-0515-4854-b4e1-086a2664a04f until 1795253098595, 7 bytes",
            "response 202",
            "event d02a6013-f316-4c9f-b862-5cadc0f21e43 until 1795253098809, 1 bytes",
        ],
        IN_HAND,
    ),
    (
        "07_response_6291557",
        &[
            "event 3648b87f-78ce-473a-b1fc-b34ec89af391 until 1795253098853, 7 bytes",
            "response 413 TooLarge: Exceeded maximum allowed payload size (6291556 bytes).",
            "event d712b6a9-e5b0-472d-85fb-693b7b992454 until 1795253099025, 1 bytes",
        ],
        IN_HAND,
    ),
    (
        "07_response_7340032",
        &[
            "event b7eea70f-a3b2-4baf-9940-04d9879cf4a2 until 1795253099069, 7 bytes",
            "response 413 TooLarge: Exceeded maximum allowed payload size (6291556 bytes).",
            "event 8d2598a8-dcba-4ba4-bca3-bf2b35ad67a8 until 1795253099318, 1 bytes",
        ],
        IN_HAND,
    ),
    (
        "11_invocation_error",
        &[
            "event d6f7e092-7447-4198-8ee4-a99f5781f14c until 1795253058291, 7 bytes",
            "error 202",
            "event cf02efe0-7b57-40ec-b76d-eaae7a9f5965 until 1795253058294, 1 bytes",
            "error 202",
            "event 3ab709aa-dcc7-4b9a-9637-5a490a74446b until 1795253058295, 1 bytes",
            "error 202",
        ],
        ASKED,
    ),
    (
        "12b_two_parallel_nexts",
        &["event db1c2c48-f97a-4436-b4d7-0f24bf274ff4 until 1795252816590, 1 bytes"],
        IN_HAND,
    ),
    (
        "12b_two_parallel_nexts.conn2",
        &["event db1c2c48-f97a-4436-b4d7-0f24bf274ff4 until 1795252816590, 1 bytes"],
        IN_HAND,
    ),
    ("12c_next_before_any_invoke", &[], ASKED),
    (
        "13_chunked_plain",
        &[
            "event 3e6f0f61-f6e8-49a4-9bb0-b9f32208b375 until 1795253116765, 7 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "13b_streaming_mode",
        &[
            "event 2d28ebd2-2485-4865-9914-ffd287f05591 until 1795253116940, 7 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "13c_streaming_error_trailers",
        &[
            "event 8068d46e-dbf7-49d4-a32f-28a96c3f6241 until 1795253117516, 7 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "13d_invalid_mode",
        &[
            "event 2a43edf8-538d-412f-a3ce-aadd001370c4 until 1795253117792, 7 bytes",
            "response 400 BadRequest: Invalid function response mode",
            "next 403 OutOfOrder: State transition from InvocationResponse to Ready failed for runtime. Error: State transition is not allowed",
        ],
        (Phase::ShuttingDown, None),
    ),
    (
        "13f_expect_100",
        &[
            "event 2d66b5b8-a167-40b5-ac04-73f2e5fb4e80 until 1795253124160, 7 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "15_timeout",
        &[
            "event ffe23afd-6e1f-43d9-8fbb-f8fe8a9bcb91 until 1795252829521, 7 bytes",
            "response 400 BadRequest: Invalid request ID",
            "event ea6a356d-02da-4f6f-8b40-f5a65af07d69 until 1795252831625, 1 bytes",
            "response 202",
        ],
        ASKED,
    ),
    (
        "18_concurrent_invokes_0",
        &["event c63c0318-b019-4472-9d88-cec3655abffb until 1795255942553, 3 bytes"],
        UNANSWERED,
    ),
    (
        "18_concurrent_invokes_1",
        &["event 3e532f33-a313-4833-b8a7-27a3aa74d282 until 1795255943077, 3 bytes"],
        UNANSWERED,
    ),
    (
        "18_concurrent_invokes_2",
        &["event f0634a07-9d6b-4cfc-9e7e-90af70bc07c8 until 1795255943600, 3 bytes"],
        UNANSWERED,
    ),
    (
        "19_idle_keepalive_75s",
        &[
            "event b9f1d112-e0f8-4c2c-852a-f19e70562b6d until 1795255567426, 7 bytes",
            "response 202",
            "event 63463071-0bb7-4296-b568-e3553d00c570 until 1795255642580, 6 bytes",
        ],
        IN_HAND,
    ),
];

/// Recordings of requests that no machine makes, for the lower layer.
pub(crate) const MISUSE: &[(&str, &[(u16, &str)])] = &[
    (
        "05_double_response",
        &[
            (200, "{\"k\":1}"),
            (202, "{\"status\":\"OK\"}"),
            (
                403,
                "State transition from RuntimeResponseSentState to InvocationResponse failed for runtime. Error: State transition is not allowed",
            ),
            (
                403,
                "State transition from RuntimeResponseSentState to InvocationErrorResponse failed for runtime. Error: State transition is not allowed",
            ),
        ],
    ),
    ("05_double_response.conn2", &[(400, "Invalid request ID")]),
    (
        "09_unknown_paths",
        &[
            (404, "404 page not found"),
            (404, "404 page not found"),
            (404, "404 page not found"),
            (405, ""),
            (405, ""),
            (200, "pong"),
            (405, ""),
            (404, "404 page not found"),
            (404, "404 page not found"),
            (404, "404 page not found"),
            (404, "404 page not found"),
        ],
    ),
    (
        "10_init_error",
        &[
            (202, "{\"status\":\"OK\"}"),
            (
                403,
                "State transition from InitError to InitError failed for runtime. Error: State transition is not allowed",
            ),
            (
                403,
                "State transition from InitError to Ready failed for runtime. Error: State transition is not allowed",
            ),
        ],
    ),
    (
        "12_next_twice_and_next_without_response",
        &[(200, "{\"k\":1}"), (200, "{\"k\":1}"), (202, "{\"status\":\"OK\"}")],
    ),
    ("12d_response_before_next", &[(400, "Invalid request ID")]),
];
