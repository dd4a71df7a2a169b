"""A bootstrap in Python over ctypes, which needs nothing but Python. Its function returns the event;
"fail" and "exit" show the rest."""

import os
from ctypes import CDLL, POINTER, byref, c_char_p, c_int32, c_size_t, c_void_p, string_at

INTERRUPTED = -21
lib = CDLL(os.environ.get("LAMBDA_PROTO_PREFIX", "/usr/local") + "/lib/liblambda_proto.so")
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
            body = handler(string_at(event, length.value))
        except Exception as error:
            kind, message = type(error).__name__.encode(), str(error).encode()
            check(lib.lambda_proto_runtime_fail(
                runtime, kind, len(kind), message, len(message), None, 0, None, 0))
        else:
            kind = b"application/json"
            check(lib.lambda_proto_runtime_respond(runtime, kind, len(kind), body, len(body), 0))


def handler(event):
    if event == b'"fail"':
        raise ValueError("the event asks for it")
    if event == b'"exit"':
        os._exit(3)
    return event


if __name__ == "__main__":
    run(handler)
