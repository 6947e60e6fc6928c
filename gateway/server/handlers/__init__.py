"""What answers each path: reads the body, makes the model call, returns what dispatch brings.

`generate` answers every path where a model writes; `count_tokens` counts; `models` lists; `probes` is for load
balancers and operators; `self_test` asks the default provider one tiny question. Responses, which have a memory,
are in `server/responses/`. May import everything but other rooms of the command line.
"""
