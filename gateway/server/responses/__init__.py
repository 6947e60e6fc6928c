"""The Responses endpoints: they create responses, continue stored ones, run them in the background, read them.

- **conversation** looks up the stored responses that a request continues, and joins them with its input.
- A **run** is a response that goes on without its client; its **event log** is what clients follow.
- **stored** shows, replays, lists, cancels and deletes responses by their id.
"""
