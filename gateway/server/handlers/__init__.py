"""One handler for each path: it reads the body, makes the model call, and returns the reply of dispatch.

`generate` answers every path where a model writes; `count_tokens` counts; `models` lists; `probes` is for load
balancers and operators; `self_test` sends a provider one tiny request. Responses, which are stored, have
their handlers in `server/responses/`.
"""
