"""A bootstrap in Python over cffi (ABI mode). Its function returns the event; "fail", "stream" and
"exit" show the rest."""

import os
import sys
import traceback

from cffi import FFI

PREFIX = os.environ.get("LAMBDA_PROTO_PREFIX", "/usr/local")
ffi = FFI()
with open(PREFIX + "/share/lambda_proto/lambda_proto.cdef") as cdef:
    ffi.cdef(cdef.read())
lib = ffi.dlopen(PREFIX + "/lib/liblambda_proto.so.1")
if lib.lambda_proto_abi_version() != lib.LAMBDA_PROTO_ABI_VERSION:
    sys.exit("liblambda_proto.so.1 and lambda_proto.cdef are of different versions")


def check(code):
    if code < 0:
        raise RuntimeError(ffi.string(lib.lambda_proto_error_text(code)).decode())


class Runtime:
    def __init__(self):
        out = ffi.new("lambda_proto_runtime **")
        check(lib.lambda_proto_runtime_open(out, ffi.NULL, 0, ffi.NULL, 0, 1))
        self.handle = ffi.gc(out[0], lib.lambda_proto_runtime_close)
        self.event, self.length = ffi.new("const uint8_t **"), ffi.new("size_t *")

    def next(self):
        """Waits for the next event: a buffer that is valid until it is answered."""
        code = lib.LAMBDA_PROTO_ERROR_INTERRUPTED
        while code == lib.LAMBDA_PROTO_ERROR_INTERRUPTED:
            # Between two calls Python runs its signal handlers, such as that of Ctrl-C.
            code = lib.lambda_proto_runtime_next(self.handle, self.event, self.length)
        check(code)
        return ffi.buffer(self.event[0], self.length[0])

    def respond(self, body, content_type=b"application/json"):
        body = ffi.from_buffer(body)
        check(lib.lambda_proto_runtime_respond(
            self.handle, content_type, len(content_type), body, len(body), 0))

    def stream(self, pieces, content_type=b"text/plain"):
        check(lib.lambda_proto_runtime_stream_begin(self.handle, content_type, len(content_type)))
        for piece in pieces:
            code = lib.lambda_proto_runtime_stream_write(self.handle, piece, len(piece))
            if code == lib.LAMBDA_PROTO_ERROR_STREAM_OVER:
                return
            check(code)
        check(lib.lambda_proto_runtime_stream_end(self.handle, 0))

    def fail(self, error):
        frames = "".join(traceback.format_tb(error.__traceback__))
        # A surrogate, as in a text from JSON, has no encoding.
        kind, message, frames = (
            text.encode(errors="replace") for text in (type(error).__name__, str(error), frames))
        code = lib.lambda_proto_runtime_fail(
            self.handle, kind, len(kind), message, len(message), frames, len(frames), ffi.NULL, 0)
        # The handler may have answered before it failed.
        if code != lib.LAMBDA_PROTO_ERROR_PHASE:
            check(code)


def handler(event, runtime):
    if event[:] == b'"fail"':
        raise ValueError("the event asks for it")
    if event[:] == b'"exit"':
        sys.stdout.flush()
        os._exit(3)
    if event[:] == b'"stream"':
        return runtime.stream([b"one\n", b"two\n"])
    return runtime.respond(event)


def run(handler):
    """Calls the handler for every event; it answers with a method of the runtime."""
    runtime = Runtime()
    while True:
        event = runtime.next()
        try:
            handler(event, runtime)
        except Exception as error:
            runtime.fail(error)


if __name__ == "__main__":
    run(handler)
