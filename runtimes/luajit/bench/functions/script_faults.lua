-- The same in the form of the common guide.
local cjson = require "cjson"
local result = require("faults").handle(cjson.decode(arg[1]))
io.write(type(result) == "string" and result or cjson.encode(result))
