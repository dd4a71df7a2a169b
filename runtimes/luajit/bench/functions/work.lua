-- The function that is measured: an order in, an invoice out.
local function handle(order)
  local lines, total = {}, 0
  for i, item in ipairs(order.items) do
    local amount = item.quantity * item.price
    total = total + amount
    lines[i] = { sku = item.sku, amount = amount }
  end
  return { id = order.id, customer = order.customer.name, lines = lines, total = total }
end

return { handle = handle }
