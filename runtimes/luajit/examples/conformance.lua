-- lambda-conformance client --can describe --can fail --can panic --can answer --can stream --can http \
--   --can start --can snapshot --can concurrency env LAMBDA_LUAJIT_MODE=raw LAMBDA_TASK_ROOT=examples \
--   _HANDLER=conformance.handle lambda-luajit

-- The function that the vectors of the Runtime API are played against: see conformance/README.md.
local cjson = require "cjson.safe"
local lambda = require "lambda"

local function fail_if_told(variable)
  if os.getenv(variable) == "fail" then
    error { type = "Function.Told", message = variable .. " says so" }
  end
end

fail_if_told "CONFORMANCE_START"
lambda.before_snapshot(function() fail_if_told "CONFORMANCE_BEFORE_SNAPSHOT" end)
lambda.after_restore(function() fail_if_told "CONFORMANCE_AFTER_RESTORE" end)

local tasks = {}

function tasks.describe(_, context)
  local described = {
    request_id = context.request_id,
    attempt_id = context.attempt_id,
    deadline_ms = context.deadline_ms,
    function_arn = context.invoked_function_arn,
    trace_id = context.trace_id,
    client_context = context.client_context,
    cognito_identity = context.identity,
    tenant_id = context.tenant_id,
    content_type = context.content_type,
  }
  return assert(cjson.encode(described)), "application/json"
end

local function fail(told)
  error {
    type = told.type,
    message = told.message:rep(told.times or 1),
    stack_trace = told.stack_trace,
  }
end
tasks.fail = fail

function tasks.panic(told) error(told.message, 0) end

function tasks.answer(told) return ("a"):rep(told.bytes), told.content_type end

local function write(out, told)
  for _, chunk in ipairs(told.chunks) do
    if type(chunk) == "table" then chunk = chunk["repeat"]:rep(chunk.times) end
    out:write(chunk)
  end
  if told.fail then fail(told.fail) end
end

function tasks.stream(told, context) write(context:stream(told.content_type), told) end

function tasks.http(told, context)
  local headers = {}
  for _, header in ipairs(told.headers or {}) do headers[header[1]] = header[2] end
  write(context:stream { status = told.status, headers = headers, cookies = told.cookies }, told)
end

local function handle(event, context)
  local told = cjson.decode(event)
  local task = type(told) == "table" and tasks[told["do"]]
  if task then return task(told, context) end
  return event, context.content_type
end

return { handle = handle }
