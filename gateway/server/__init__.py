"""The HTTP server that clients connect to, and the process that it runs in.

- A **listener** accepts connections; the **daemon** is the life of the process: start, reload, drain, stop.
- The **app** wires everything in one function, `make_app`; **routes** lists every path.
- A **middleware** does one thing to every request from its headers alone: authenticate, limit, write errors, log.
- A **handler** reads a body, makes the one model call of the request and hands it to dispatch.
- **responses/** serves the endpoints that store responses; **accounting** writes the metrics and the log line.

May import every room. Nothing imports from here but the command line.
"""
