"""The provider's side of an attempt.

- **http1** sends one HTTP/1.1 request over a pooled connection; **aiohttp_internals** is all it borrows from aiohttp.
- The **client** opens one upstream request and turns every transport error into a fault of ours.
- A **credential** is one header to show; a **credential pool** is those of one provider, in rotation.
- A **token file** holds a bearer token that is refreshed.

May import `policy`, `config` and `wire`. Knows nothing of exchanges or other targets.
"""
