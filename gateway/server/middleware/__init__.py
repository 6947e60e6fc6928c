"""One question each, in the order that `server/app` numbers, before any body is read.

`access_log` makes the exchange and closes its books, `say_errors` writes every refusal in the client's dialect,
`cors` answers browsers, `admit` bounds what is in flight, `authenticate` finds the key, `limit_rate` charges it.
"""
