select id, shop, amount, currency from sales
