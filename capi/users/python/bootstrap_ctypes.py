"""A bootstrap in Python over ctypes, which needs nothing but Python. Its function returns the event;
"fail" and "exit" show the rest."""

import os
from ctypes import CDLL, POINTER, byref, c_char_p, c_int32, c_size_t, c_void_p, string_at

ABI_VERSION, PHASE, INTERRUPTED = 1, -6, -21
lib = CDLL(os.environ.get("LAMBDA_PROTO_PREFIX", "/usr/local") + "/lib/liblambda_proto.so.1")
if lib.lambda_proto_abi_version() != ABI_VERSION:
    raise SystemExit("liblambda_proto.so.1 has another version than this program")
text = [c_char_p, c_size_t]
lib.lambda_proto_error_text.restype = c_char_p
lib.lambda_proto_error_text.argtypes = [c_int32]
lib.lambda_proto_runtime_open.argtypes = [POINTER(c_void_p), *text, *text, c_size_t]
lib.lambda_proto_runtime_next.argtypes = [c_void_p, POINTER(c_void_p), POINTER(c_size_t)]
lib.lambda_proto_runtime_respond.argtypes = [c_void_p, *text, *text, c_int32]
lib.lambda_proto_runtime_fail.argtypes = [c_void_p, *text, *text, *text, *text]


def check(code):
    if code < 0:
        raise RuntimeError(lib.lambda_proto_error_text(code).decode())


def run(handler):
    """Calls the handler, from bytes to bytes, for every event."""
    runtime, event, length = c_void_p(), c_void_p(), c_size_t()
    check(lib.lambda_proto_runtime_open(byref(runtime), None, 0, None, 0, 1))
    while True:
        code = lib.lambda_proto_runtime_next(runtime, byref(event), byref(length))
        if code == INTERRUPTED:
            continue
        check(code)
        try:
            kind, body = b"application/json", handler(string_at(event, length.value))
            # A body that is not bytes is an error of the handler.
            check(lib.lambda_proto_runtime_respond(runtime, kind, len(kind), body, len(body), 0))
        except Exception as error:
            # A surrogate, as in a text from JSON, has no encoding.
            kind = type(error).__name__.encode(errors="replace")
            message = str(error).encode(errors="replace")
            code = lib.lambda_proto_runtime_fail(
                runtime, kind, len(kind), message, len(message), None, 0, None, 0)
            # The session may have ended during the answer; the next call says so.
            if code != PHASE:
                check(code)


def handler(event):
    if event == b'"fail"':
        raise ValueError("the event asks for it")
    if event == b'"exit"':
        os._exit(3)
    return event


if __name__ == "__main__":
    run(handler)
