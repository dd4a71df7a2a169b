-- lambda-lab run --event '{"a":1}' --task-root examples --handler raw.handle --env LAMBDA_LUAJIT_MODE=raw lambda-luajit

-- Answers with the bytes of its event, and with their content type.
local function handle(event, context)
  return event, context.content_type
end

return { handle = handle }
