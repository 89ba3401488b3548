"""The home page: is the book right, is the machine alive, and what needs a person? It reads and never writes.

What always holds here: the number of queries grows with the number of accounts alone, never with orders, trades or
cases; money is shown as it is stored; whatever is missing is said, never drawn as zero.
"""
