"""What happens to every request before its body is read, in the order of `server/app`.

`access_log` makes the exchange and closes its books, `say_errors` writes every refusal in the client's dialect,
`cors` answers browsers, `refuse_pages` keeps them from a gateway without keys, `admit` bounds what is in flight,
`authenticate` finds the key, `divide` keeps a part of all for the other keys, `limit_rate` charges it.
"""
