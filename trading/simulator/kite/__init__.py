"""The Kite Connect v3 dialect: requests in, orders, trades and answers out, on the neutral core."""
