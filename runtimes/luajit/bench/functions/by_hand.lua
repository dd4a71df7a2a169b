-- The Runtime API by hand: Debian's luajit with lua-socket and lua-cjson, on one connection.
local cjson, socket = require "cjson", require "socket"

local root, handler = os.getenv "LAMBDA_TASK_ROOT", os.getenv "_HANDLER"
package.path = root .. "/?.lua;" .. package.path
local host, port = os.getenv("AWS_LAMBDA_RUNTIME_API"):match "^(.*):(%d+)$"
local runtime = "/2018-06-01/runtime/"

local connection = assert(socket.connect(host, tonumber(port)))
connection:setoption("tcp-nodelay", true)

local function request(method, path, body)
  local head = method .. " " .. runtime .. path .. " HTTP/1.1\r\nHost: " .. host .. "\r\n"
  if body then head = head .. "Content-Type: application/json\r\nContent-Length: " .. #body .. "\r\n" end
  assert(connection:send(head .. "\r\n" .. (body or "")))
  local status = tonumber(assert(connection:receive "*l"):match "^HTTP/1%.%d (%d+)")
  local headers = {}
  while true do
    local line = assert(connection:receive "*l")
    if line == "" then break end
    local name, value = line:match "^([^:]+):%s*(.-)%s*$"
    headers[name:lower()] = value
  end
  local length = tonumber(headers["content-length"] or 0)
  return status, headers, length > 0 and assert(connection:receive(length)) or ""
end

local function failure(reason, trace)
  return cjson.encode { errorType = "Function.Error", errorMessage = tostring(reason), stackTrace = { trace } }
end

local file, name = handler:match "^(.*)%.(.-)$"
local loaded, module = pcall(require, file)
if not loaded then
  request("POST", "init/error", failure(module))
  os.exit(1)
end
local handle = module[name]

local trace
local function traced(reason)
  trace = debug.traceback(nil, 2)
  return reason
end
while true do
  local _, headers, event = request("GET", "invocation/next")
  local id = headers["lambda-runtime-aws-request-id"]
  local ok, result = xpcall(function() return cjson.encode(handle(cjson.decode(event))) end, traced)
  if ok then
    request("POST", "invocation/" .. id .. "/response", result)
  else
    request("POST", "invocation/" .. id .. "/error", failure(result, trace))
  end
end
