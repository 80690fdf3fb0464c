"""The control API: listings, orders, the journal, metrics; over a unix socket and, with a token, on loopback.

Its files are imported one by one: the commands need only `shapes`, and start without the web framework.
"""
