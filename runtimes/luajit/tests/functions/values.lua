-- Handlers for the tests of events, results and output.
local cjson = require "cjson"
local handlers = {}

count = 0

function handlers.echo(event) return event end

-- Evaluates the event.
function handlers.eval(code, context)
  local chunk = assert(loadstring(code))
  setfenv(chunk, setmetatable({ context = context, cjson = cjson }, { __index = _G, __newindex = _G }))
  return chunk()
end

function global_handler() count = count + 1 return count end

handlers.number = 3

return handlers
