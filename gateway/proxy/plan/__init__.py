"""How one model call is put to one target, and how its reply is read back. Pure: bytes in, bytes out.

- A **source request** is what the client sent, with everything about the client that a plan may need.
- A **mode** is what the path's prefix (`/min`, `/pt`) leaves undone.
- A **plan** is one source request written for one target: the body, the headers, the lane for the reply.
- The **raw lane** forwards the client's bytes; the **translated lane** writes them in another dialect.
- A **reasoning memory** and the **refused members** are what earlier calls have taught.

May import `policy`, `config` and `wire`. `choose.make_plan` is the entry; `headers` has every header rule.
"""
