-- The event comes as an argument, the answer goes to standard output.
local event = arg[1]
if event:find "fail" then error("told to fail") end
if event:find "exit" then print "so far" os.exit(0) end
if event:find "caught" then
  local code = tonumber(event:match "%d")
  local function exits() print "until here" os.exit(code) end
  if event:find "pcall" then print(pcall(exits)) end
  if event:find "tail" then return pcall(exits) end
  if event:find "xpcall" then print(xpcall(exits, function() os.exit(9) end)) end
  if event:find "coroutine" then print(coroutine.resume(coroutine.create(exits))) end
  print "too late"
  os.exit(8)
end
if event:find "leave" then os.exit(3) end
if event:find "^\"at" then io.write("@/etc/hostname") return end
if event:find "trace" then print(os.getenv "_X_AMZN_TRACE_ID") return end
if event:find "count" then calls = (calls or 0) + 1 print(calls) print("") return end
io.write('{"length":' .. #event .. '}')
