-- Handlers that do not return in time.
local handlers = {}

local function loop()
  local sum = 0
  while true do sum = sum + 1 end
end

function handlers.compiled(event)
  if event == "stop" then loop() end
  return event
end

function handlers.caught(event)
  if event == "stop" then
    while true do pcall(loop) end
  end
  return event
end

-- Returns the error as results.
function handlers.returned(event)
  if event == "pcall" then return pcall(function() while true do end end) end
  if event == "xpcall" then return xpcall(loop, function() return "handled" end) end
  if event == "coroutine" then return coroutine.resume(coroutine.create(loop)) end
  return event
end

function handlers.coroutine(event)
  if event == "stop" then
    while true do coroutine.resume(coroutine.create(loop)) end
  end
  return event
end

function handlers.calls(event)
  local function recurse() return recurse() end
  if event == "stop" then return recurse() end
  return event
end

function handlers.sleeps(event)
  if event == "stop" then
    local ffi = require "ffi"
    ffi.cdef "unsigned int sleep(unsigned int);"
    while true do ffi.C.sleep(1000) end
  end
  return event
end

-- A C function that no signal ends.
function handlers.matches(event)
  if event == "stop" then
    string.find(string.rep("a", 200), string.rep("a-", 100) .. "b")
  end
  return event
end

function handlers.memory(event)
  if event == "stop" then
    local all = {}
    while true do all[#all + 1] = string.rep("x", 1024 * 1024) .. #all end
  end
  return event
end

local kept

-- Keeps this number of megabytes, or makes 200 that are garbage at once.
function handlers.keeps(event)
  local function piece(number) return string.rep("x", 100 * 1024) .. number end
  if event == "garbage" then
    for i = 1, 2000 do latest = piece(i) end
    return 200
  end
  kept = {}
  for i = 1, event * 10 do kept[i] = piece(-i) end
  collectgarbage()
  return #kept / 10
end

return handlers
