// A bootstrap in Zig. Its function returns the event; "fail", "stream" and "exit" show the rest.
const std = @import("std");
const c = @cImport(@cInclude("lambda_proto.h"));

const Error = error{ StreamOver, Ended };

/// The message of the last error that is not about the stream.
var reason: [*c]const u8 = "";

fn check(code: i32) Error!void {
    if (code == c.LAMBDA_PROTO_ERROR_STREAM_OVER) return Error.StreamOver;
    if (code < 0) {
        reason = c.lambda_proto_error_text(code);
        return Error.Ended;
    }
}

const Runtime = struct {
    handle: ?*c.lambda_proto_runtime,

    fn open() Error!Runtime {
        var handle: ?*c.lambda_proto_runtime = null;
        try check(c.lambda_proto_runtime_open(&handle, null, 0, null, 0, 1));
        return .{ .handle = handle };
    }

    /// The next event, valid until it is answered.
    fn next(self: Runtime) Error![]const u8 {
        var event: [*c]const u8 = null;
        var length: usize = 0;
        var code: i32 = c.LAMBDA_PROTO_ERROR_INTERRUPTED;
        while (code == c.LAMBDA_PROTO_ERROR_INTERRUPTED)
            code = c.lambda_proto_runtime_next(self.handle, &event, &length);
        try check(code);
        return if (length == 0) "" else event[0..length];
    }

    fn respond(self: Runtime, body: []const u8) Error!void {
        const kind = "application/json";
        try check(c.lambda_proto_runtime_respond(self.handle, kind, kind.len, body.ptr, body.len, 0));
    }

    fn stream(self: Runtime, kind: []const u8, pieces: []const []const u8) Error!void {
        try check(c.lambda_proto_runtime_stream_begin(self.handle, kind.ptr, kind.len));
        for (pieces) |piece|
            try check(c.lambda_proto_runtime_stream_write(self.handle, piece.ptr, piece.len));
        try check(c.lambda_proto_runtime_stream_end(self.handle, 0));
    }

    fn fail(self: Runtime, kind: []const u8, message: []const u8) Error!void {
        try check(c.lambda_proto_runtime_fail(self.handle, kind.ptr, kind.len, message.ptr, message.len, null, 0, null, 0));
    }
};

fn answer(runtime: Runtime, event: []const u8) Error!void {
    if (std.mem.eql(u8, event, "\"fail\"")) return runtime.fail("Function.AsAsked", "the event asks for it");
    if (std.mem.eql(u8, event, "\"stream\"")) return runtime.stream("text/plain", &.{ "one\n", "two\n" });
    if (std.mem.eql(u8, event, "\"exit\"")) std.process.exit(3);
    return runtime.respond(event);
}

fn run() Error!void {
    const runtime = try Runtime.open();
    while (true) {
        answer(runtime, try runtime.next()) catch |err| switch (err) {
            // The caller has gone; that ends the stream, not the runtime.
            Error.StreamOver => {},
            else => return err,
        };
    }
}

pub fn main() u8 {
    run() catch std.debug.print("bootstrap: {s}\n", .{reason});
    return 1;
}
