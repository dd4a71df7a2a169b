-- A function that fails as its event says, for the runtimes that call a function.
local function handle(event)
  if event.fail then error "told to fail" end
  if event.at then return "@/proc/sys/kernel/ostype" end
  return { length = #event.text }
end

return { handle = handle }
