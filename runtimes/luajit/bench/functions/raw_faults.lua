-- The same for a function of bytes, whose response can begin with any of them.
local cjson = require "cjson"

local function handle(event)
  local result = require("faults").handle(cjson.decode(event))
  return type(result) == "string" and result or cjson.encode(result)
end

return { handle = handle }
