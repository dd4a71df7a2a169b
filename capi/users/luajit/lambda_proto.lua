-- liblambda_proto for LuaJIT: next, respond, fail and a stream, with errors as Lua errors.
local ffi = require("ffi")

local prefix = os.getenv("LAMBDA_PROTO_PREFIX") or "/usr/local"
local file = assert(io.open(prefix .. "/share/lambda_proto/lambda_proto.cdef"))
ffi.cdef(file:read("*a"))
file:close()
local C = ffi.load(prefix .. "/lib/liblambda_proto.so")

local Runtime = {}
Runtime.__index = Runtime

local function check(code)
    if code < 0 then error(ffi.string(C.lambda_proto_error_text(code)), 0) end
end

--- A runtime at AWS_LAMBDA_RUNTIME_API.
function Runtime.open()
    local out = ffi.new("lambda_proto_runtime *[1]")
    check(C.lambda_proto_runtime_open(out, nil, 0, nil, 0, 1))
    local self = {
        handle = ffi.gc(out[0], C.lambda_proto_runtime_close),
        data = ffi.new("const uint8_t *[1]"),
        length = ffi.new("size_t [1]"),
    }
    return setmetatable(self, Runtime)
end

--- Waits for the next event. It is a pointer and a length, valid until it is answered, so that a
--- large event need not become a Lua string.
function Runtime:next()
    check(C.lambda_proto_runtime_next(self.handle, self.data, self.length))
    return self.data[0], tonumber(self.length[0])
end

--- The request id of the invocation in flight.
function Runtime:request_id()
    local text = ffi.new("const char *[1]")
    local client = C.lambda_proto_runtime_client(self.handle)
    check(C.lambda_proto_client_field(client, C.LAMBDA_PROTO_FIELD_REQUEST_ID, text, self.length))
    return ffi.string(text[0], self.length[0])
end

--- Responds with a string, or with a pointer and its length.
function Runtime:respond(body, length, content_type)
    content_type = content_type or "application/json"
    check(C.lambda_proto_runtime_respond(self.handle, content_type, #content_type, body, length or #body, 0))
end

--- Streams the response: `produce(write)` writes the pieces.
function Runtime:stream(content_type, produce)
    check(C.lambda_proto_runtime_stream_begin(self.handle, content_type, #content_type))
    local is_over = false
    local function write(piece)
        local code = C.lambda_proto_runtime_stream_write(self.handle, piece, #piece)
        is_over = code == C.LAMBDA_PROTO_ERROR_STREAM_OVER
        if not is_over then check(code) end
        return not is_over
    end
    produce(write)
    if not is_over then check(C.lambda_proto_runtime_stream_end(self.handle, 0)) end
end

--- Reports that the invocation failed.
function Runtime:fail(kind, message, trace)
    trace = trace or ""
    check(C.lambda_proto_runtime_fail(self.handle, kind, #kind, message, #message, trace, #trace, nil, 0))
end

return Runtime
