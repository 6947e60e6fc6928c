"""Decides, and never waits: numbers and names in, a decision out. The caller brings the time and the dice.

- **routes**: a model name to its ordered targets. **retries**: which target is tried next, and what the client is
  told if none is left. **health**: what a fault costs a target or a credential, and how they come back.
- **limits**: token buckets. **capabilities**: what a model can do. **affinity**: where a conversation goes back to.

May import `config` and `wire`.
"""
