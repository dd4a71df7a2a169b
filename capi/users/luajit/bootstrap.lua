-- A bootstrap in LuaJIT. Its function returns the event; "fail", "stream" and "exit" show the rest.
package.path = (arg[0]:match("^(.*/)") or "./") .. "?.lua;" .. package.path
local ffi = require("ffi")
local runtime = require("lambda_proto").open()

local function handle(event, length)
    local short = length < 16 and ffi.string(event, length)
    if short == '"fail"' then error("the event asks for it", 0) end
    if short == '"exit"' then os.exit(3) end
    if short == '"stream"' then
        return runtime:stream("text/plain", function(write)
            return write("one\n") and write("two\n")
        end)
    end
    runtime:respond(event, length)
end

runtime:run(handle, "Function.AsAsked")
