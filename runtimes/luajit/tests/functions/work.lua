-- Handlers with work after the response, and hooks of init.
local lambda = require "lambda"
local handlers = {}

if os.getenv "ON_INIT" then
  lambda.on_init(function()
    local what = os.getenv "ON_INIT"
    if what == "false" then return false end
    if what == "error" then error { type = "Function.NoTable", message = "there is no table" } end
    if what == "loop" then while true do end end
    if what == "exit" then os.exit(5) end
    ready = "yes"
  end)
end

function handlers.ready() return ready end

-- Answers at once, and does what the event says afterwards.
function handlers.later(event, context)
  context:begin_work("first", function()
    print("first after the response to", event.number)
    done = (done or 0) + 1
    if event.fail then error "the work has failed" end
    if event.loop then while true do end end
  end)
  context:begin_work(function() done = (done or 0) + 1 end)
  if event.fail_handler then error "the handler has failed" end
  return { done = done or 0 }
end

function handlers.wrong(event, context)
  if event == "function" then context:begin_work("name", 1) end
  if event == "name" then context:begin_work({}, print) end
  if event == "dot" then context.begin_work("name", print) end
  if event == "finished" then
    local out = context:stream "text/plain"
    out:finish()
    local ok, reason = pcall(context.begin_work, context, print)
    print(ok, reason)
    return
  end
  if event == "keep" then kept = context end
  if event == "kept" then kept:begin_work(print) end
  if event == "stream dot" then context.stream "text/plain" end
  if event == "kept stream" then kept:stream "text/plain" end
  return "a response"
end

-- The functions of the context of an earlier invocation.
function handlers.over(event, context)
  if not kept then
    kept = context
    return { context.remaining_ms() > 0, context.is_cancelled(), context.invocation }
  end
  return { kept.remaining_ms(), kept.is_cancelled(), context.remaining_ms() > 0, context.invocation }
end

-- A finalizer that does not return.
function handlers.finalizer(event)
  if event == "gc" then
    local proxy = newproxy(true)
    getmetatable(proxy).__gc = function() while true do end end
    proxy = nil
    collectgarbage()
  end
  if event == "cdata" then
    local ffi = require "ffi"
    ffi.gc(ffi.new "int[1]", function() while true do end end)
    collectgarbage()
  end
  if event == "fails" then
    local ffi = require "ffi"
    ffi.gc(ffi.new "int[1]", function() print "finalized" error "in a finalizer" end)
    collectgarbage()
  end
  return event
end

return handlers
