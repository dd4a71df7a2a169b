-- lambda-lab run --event '{"name":"Ada"}' --task-root examples --handler hello.handle lambda-luajit

local function handle(event, context)
  local name = event.name
  if type(name) ~= "string" then
    error { type = "Function.NoName", message = "the event has no name" }
  end
  context.log.info("greeting " .. name)
  return { greeting = "Hello, " .. name .. "!" }
end

return { handle = handle }
