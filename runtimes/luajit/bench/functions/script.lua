-- The function in the form of the common guide: the event is an argument, the output is the response.
local cjson = require "cjson"
io.write(cjson.encode(require("work").handle(cjson.decode(arg[1]))))
