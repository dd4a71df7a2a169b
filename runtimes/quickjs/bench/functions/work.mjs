// The function that is measured: an order in, an invoice out.
export const handler = async ({ id, customer, items }) => {
  let total = 0;
  const lines = items.map(({ sku, quantity, price }) => {
    const amount = quantity * price;
    total += amount;
    return { sku, amount };
  });
  return { id, customer: customer.name, lines, total };
};
