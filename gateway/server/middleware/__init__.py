"""What happens to every request before its body is read, in the order of `server/app`.

`access_log` makes the exchange and logs its end, `say_errors` writes every error in the client's dialect,
`cors` answers browsers, `admit` bounds what is in flight, `authenticate` finds the key, `limit_rate` charges it.
"""
