"""The OANDA v20 dialect: requests in, transactions and answers out, on the neutral core."""
