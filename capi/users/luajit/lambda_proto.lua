-- liblambda_proto for LuaJIT: next, respond, fail and a stream, with errors as Lua errors.
local ffi = require("ffi")

local prefix = os.getenv("LAMBDA_PROTO_PREFIX") or "/usr/local"
local file = assert(io.open(prefix .. "/share/lambda_proto/lambda_proto.cdef"))
ffi.cdef(file:read("*a"))
file:close()
local C = ffi.load(prefix .. "/lib/liblambda_proto.so.1")
assert(C.lambda_proto_abi_version() == C.LAMBDA_PROTO_ABI_VERSION,
    "liblambda_proto.so.1 and lambda_proto.cdef are of different versions")

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
    local code
    repeat -- LuaJIT has no signal handlers that would have to run now
        code = C.lambda_proto_runtime_next(self.handle, self.data, self.length)
    until code ~= C.LAMBDA_PROTO_ERROR_INTERRUPTED
    check(code)
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

--- Reports that the invocation failed. After the answer, this does nothing but warn.
function Runtime:fail(kind, message, trace)
    trace = trace or ""
    local code = C.lambda_proto_runtime_fail(self.handle, kind, #kind, message, #message, trace, #trace, nil, 0)
    if code ~= C.LAMBDA_PROTO_ERROR_PHASE then check(code) end
end

-- An error may be any value, and need not even have a text.
local function describe(failure)
    local has_text, text = pcall(tostring, failure)
    local frames = debug.traceback("", 2):gsub("^\nstack traceback:\n", "")
    return { message = has_text and text or "an error without a text", frames = frames }
end

--- Calls `handle(event, length)`, which answers, for every event. Its errors are of this kind.
function Runtime:run(handle, kind)
    while true do
        local event, length = self:next()
        local ok, failure = xpcall(handle, describe, event, length)
        if not ok then self:fail(kind, failure.message, failure.frames) end
    end
end

return Runtime
