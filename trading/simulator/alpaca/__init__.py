"""The Alpaca Trading v2 dialect: requests in, orders, activities and answers out, on the neutral core."""
