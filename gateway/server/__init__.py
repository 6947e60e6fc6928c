"""What clients meet, and what the process is.

- A **listener** accepts connections; the **daemon** is the life of the process: start, reload, drain, stop.
- The **app** wires everything in one function, `make_app`; **routes** lists every path.
- A **middleware** answers one question on headers alone (who, how much, how it ends).
- A **handler** reads a body, makes the one model call of the request and hands it to dispatch.
- **responses/** serves the endpoints that have a memory; **accounting** closes the books of an exchange.

May import every room. Nothing imports from here but the command line.
"""
