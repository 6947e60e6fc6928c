"""One model call, from its body to the last byte of the answer.

- An **exchange** is one client request; its state table says when another target may still be asked.
- A **model call** is what the client wants, ready to be put to any target of its route.
- A **dispatch** carries a model call over the targets until one answers; an **attempt** is one try of one target.
- A **plan** (in `plan/`) is the call written for one target, and says which **lane** its reply takes.
- The **relay** moves a streamed reply through its lane to the **client stream**, and holds it until it has content.

May import `upstream`, `policy`, `config`, `store`, `telemetry` and `wire`; knows nothing of paths or handlers.
"""
