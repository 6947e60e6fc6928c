"""What outlives a request: stored responses, in memory, SQLite or Redis.

- **protocol**: what every store can do, and what a stored response is.
- **schemes**: the one table from the scheme of `store.url` to a module; **open_store** opens what it names.
- **watched**: notices that a store fails and that it is back, for whichever store.
- **private_file**: writes a file that only this user may read, whole or not at all.

May import `clock`. Knows nothing of dialects: what it keeps are bytes and ids.
"""
