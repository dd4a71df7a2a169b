-- Handlers that stream their responses, and hooks.
local lambda = require "lambda"
local handlers = {}

lambda.on_shutdown(function() print "the last words" end)
lambda.before_snapshot(function() print "before the snapshot" end)
lambda.after_restore(function() print "after the restore" restored = true end)

function handlers.bytes(event, context)
  local out = context:stream "text/csv"
  out:write("a,", 1, "\n"):write("\0\255")
  if event == "fail" then error { type = "Function.Midway", message = "no more rows" } end
  if event == "finish" then
    out:finish()
    local ok, reason = pcall(out.write, out, "late")
    print(ok, reason)
  end
end

function handlers.http(event, context)
  local out = context:stream {
    status = 404,
    headers = { ["content-type"] = "text/plain" },
    cookies = { "a=1" },
  }
  out:write "nothing here"
end

function handlers.wrong(event, context)
  if event == "status" then context:stream { status = 99 } end
  if event == "type" then context:stream(true) end
  if event == "twice" then context:stream "text/plain" context:stream "text/plain" end
  if event == "piece" then context:stream "text/plain":write {} end
  return "a response"
end

-- Uses the stream of an earlier invocation.
function handlers.kept(event, context)
  if event == "keep" then
    kept = context:stream "text/plain"
    kept:write "first"
    return
  end
  local out = context:stream "text/plain"
  out:write "second"
  if event == "write" then kept:write "too late" end
  if event == "finish" then kept:finish() end
  local ok = pcall(kept.write, kept, "too late")
  out:write(ok and "wrong" or ", alone")
end

function handlers.restored() return restored == true end

return handlers
