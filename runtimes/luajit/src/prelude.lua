-- What scripts find in a new state. `host` has the functions of the runtime. The results are the
-- fields of every context, the metatable of contexts, the hooks of the script, and a function that calls another one so that
-- its error reaches the runtime with a traceback.
local host = ...

-- Scripts may replace the globals.
local error, ipairs, pairs, pcall, select, setmetatable = error, ipairs, pairs, pcall, select, setmetatable
local rawget, rawset, tonumber, tostring = rawget, rawset, tonumber, tostring
local type, unpack, xpcall = type, unpack, xpcall
local concat = table.concat

-- The text of LuaJIT's own error.
local OUT_OF_MEMORY = "not enough memory"

-- Lua functions that raise a string with the place of their caller, as the library's own do. The
-- functions of the host return false and a message instead.
local function raise(ok, ...)
  if ok then return ... end
  -- The runtime knows this text, and Lua adds no place to it either.
  if (...) == OUT_OF_MEMORY then error(OUT_OF_MEMORY, 0) end
  error((...), 2)
end
local function raising(f)
  return function(...) return raise(f(...)) end
end

-- The functions of the host fail for want of memory, with a value that no script can use. The text
-- for that exists already.
local function guard(called, ok, ...)
  if called then return ok, ... end
  if type(ok) == "string" then return false, ok end
  return false, OUT_OF_MEMORY
end
local function guarded(f)
  return function(...) return guard(pcall(f, ...)) end
end

local cjson = {
  _NAME = "cjson",
  _VERSION = "2.1.0",
  null = host.null,
  empty_array = host.empty_array,
  array_mt = host.array_mt,
  empty_array_mt = host.array_mt,
  encode = raising(guarded(host.encode)),
  decode = raising(guarded(host.decode)),
}

-- The options of lua-cjson that the rules of this runtime decide: each takes the values that it has.
local function fixed(option, ...)
  local values, count = { ... }, select("#", ...)
  cjson[option] = function(...)
    for i = 1, select("#", ...) do
      local given = select(i, ...)
      if given == "on" then given = true elseif given == "off" then given = false end
      if given ~= nil and given ~= values[i] then
        local is, other = tostring(values[i]), tostring(given)
        error("cjson." .. option .. " is " .. is .. " in this runtime and cannot become " .. other, 2)
      end
    end
    return unpack(values, 1, count)
  end
end
-- No holes, which is what a ratio of 1 and no safe length mean.
fixed("encode_sparse_array", false, 1, 0)
fixed("encode_max_depth", host.max_depth)
fixed("decode_max_depth", host.max_depth)
-- As many digits as the number needs.
fixed("encode_number_precision", 17)
fixed("encode_invalid_numbers", false)
fixed("decode_invalid_numbers", false)
fixed("encode_empty_table_as_object", true)
fixed("decode_array_with_array_mt", true)
-- Has no effect that a script could see.
function cjson.encode_keep_buffer(keep) return keep ~= false and keep ~= "off" end

local function safe(f)
  return function(...)
    local ok, result = f(...)
    if ok then return result end
    return nil, result
  end
end
local function new()
  local module = {}
  for name, value in pairs(cjson) do module[name] = value end
  return module
end
local function new_safe()
  local module = new()
  module.encode, module.decode = safe(guarded(host.encode)), safe(guarded(host.decode))
  module.new = new_safe
  return module
end
cjson.new = new
package.preload["cjson"] = function() return cjson end
package.preload["cjson.safe"] = new_safe

local getenv = os.getenv
function os.getenv(name)
  if name == "_X_AMZN_TRACE_ID" then return host.trace_id() end
  return getenv(name)
end

function os.exit(code)
  if code == nil or code == true then code = 0 elseif code == false then code = 1 end
  host.exit(tonumber(code) or 1)
  -- A script that is run for each event ends here, and the process does not.
  error("os.exit", 0)
end

-- The traceback of a coroutine ends with it, so it is noted for the case that its error is raised
-- again.
local create, resume, traceback = coroutine.create, coroutine.resume, debug.traceback
local function note(co, ok, ...)
  if not ok then host.coroutine_failed((...), traceback(co)) end
  return ok, ...
end
local function result(ok, ...)
  if ok then return ... end
  error((...), 0)
end
function coroutine.resume(co, ...) return note(co, resume(co, ...)) end
function coroutine.wrap(f)
  local co = create(f)
  return function(...) return result(note(co, resume(co, ...))) end
end

local levels = {}
for _, level in ipairs { "trace", "debug", "info", "warn", "error", "fatal" } do
  levels[level] = function(...)
    local texts = { ... }
    for i = 1, select("#", ...) do texts[i] = tostring((select(i, ...))) end
    host.log(level, concat(texts, "\t"))
  end
end

if host.emit then
  local emit = host.emit

  function print(...)
    local count = select("#", ...)
    local texts = { ... }
    for i = 1, count do
      texts[i] = tostring((select(i, ...)))
      if type(texts[i]) ~= "string" then error("'tostring' must return a string to 'print'", 2) end
    end
    emit(concat(texts, "\t") .. "\n")
  end

  local function put(...)
    for i = 1, select("#", ...) do
      local piece = select(i, ...)
      local kind = type(piece)
      if kind ~= "string" and kind ~= "number" then
        error("bad argument #" .. i .. " to 'write' (string expected, got " .. kind .. ")", 3)
      end
    end
    emit(concat { ... })
  end

  local methods = {}
  local stdout = setmetatable({}, {
    __index = methods,
    __name = "FILE*",
    __tostring = function() return "file (stdout)" end,
  })
  function methods:write(...)
    put(...)
    return self
  end
  function methods:flush() return true end
  function methods:setvbuf() return true end
  function methods:close() return nil, "standard output is the log" end
  function methods:seek() return nil, "Illegal seek", 29 end
  function methods:read() return nil, "Bad file descriptor", 9 end
  function methods:lines() error("Bad file descriptor", 2) end

  -- The default output is the log until a script sets a file.
  local is_file = false
  local file_output, file_write, file_close, file_type = io.output, io.write, io.close, io.type
  local file_flush = io.flush
  io.stdout = stdout
  function io.write(...)
    if is_file then return file_write(...) end
    put(...)
    return stdout
  end
  function io.output(file)
    if file == stdout then
      is_file = false
    elseif file ~= nil then
      file_output(file)
      is_file = true
    end
    if is_file then return file_output() end
    return stdout
  end
  function io.close(file)
    if file == stdout or (file == nil and not is_file) then return stdout:close() end
    if file == nil then is_file = false end
    return file_close(file or file_output())
  end
  function io.flush()
    if is_file then return file_flush() end
    return true
  end
  function io.type(value)
    if value == stdout then return "file" end
    return file_type(value)
  end
else
  io.stdout:setvbuf "line"
end

-- Streamed responses: `context:stream` returns one of these.
local stream = {}
stream.__index = stream
function stream:write(...)
  for i = 1, select("#", ...) do
    local piece = select(i, ...)
    local kind = type(piece)
    if kind ~= "string" and kind ~= "number" then
      error("bad argument #" .. i .. " to 'write' (string expected, got " .. kind .. ")", 2)
    end
    local ok, reason = host.write(self.invocation, tostring(piece))
    if not ok then error(reason, 2) end
  end
  return self
end
function stream:finish()
  local finished, reason = host.finish(self.invocation)
  if reason then error(reason, 2) end
  return finished
end
local common = { log = levels }
-- The number of the invocation to which a context belongs, or an error at the caller of `name`.
local function number_of(context, name)
  local number = type(context) == "table" and tonumber(context.invocation)
  if not number then error("call " .. name .. " with a colon: context:" .. name .. "(…)", 3) end
  return number
end
-- Work after the response; its name is optional.
function common.begin_work(context, name, work)
  local invocation = number_of(context, "begin_work")
  if work == nil then name, work = "", name end
  if type(name) ~= "string" then
    error("bad argument #1 to 'begin_work' (string expected, got " .. type(name) .. ")", 2)
  end
  if type(work) ~= "function" then
    error("bad argument #2 to 'begin_work' (function expected, got " .. type(work) .. ")", 2)
  end
  local reason = host.begin_work(invocation, name, work)
  if reason then error(reason, 2) end
end
function common.stream(context, form)
  local invocation, reason = host.stream(form, number_of(context, "stream"))
  if not invocation then error(reason, 2) end
  return setmetatable({ invocation = invocation }, stream)
end

-- The functions of an invocation are made when they are first used.
local timed = { remaining_ms = host.remaining_ms, is_cancelled = host.is_cancelled }
local metatable = {}
function metatable.__index(context, key)
  local value = common[key]
  if value ~= nil then return value end
  local ask = timed[key]
  if ask then
    local invocation = tonumber(rawget(context, "invocation")) or 0
    local function method() return ask(invocation) end
    rawset(context, key, method)
    return method
  end
end

local hooks = { on_init = {}, before_snapshot = {}, after_restore = {}, on_shutdown = {} }
local lambda = {}
for stage, list in pairs(hooks) do
  lambda[stage] = function(hook)
    if type(hook) ~= "function" then
      error("bad argument #1 to '" .. stage .. "' (function expected, got " .. type(hook) .. ")", 2)
    end
    list[#list + 1] = hook
  end
end
package.preload["lambda"] = function() return lambda end

local failed = host.failed
local function handle(reason)
  -- There is no memory for a traceback, and LuaJIT does not ask for one either.
  if reason == OUT_OF_MEMORY then return reason end
  return failed(reason)
end
return common, metatable, hooks, function(f, ...) return xpcall(f, handle, ...) end
