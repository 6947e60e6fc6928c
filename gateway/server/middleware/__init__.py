"""What happens to every request before its body is read, in the order of `server/app`.

`access_log` makes the exchange and closes its books, `say_errors` writes every refusal in the client's dialect,
`cors` answers browsers, `admit` bounds what is in flight, `authenticate` finds the key (or, on a gateway without
keys, keeps web pages away: `refuse_pages`), `limit` holds it to its share and its rates.
"""
