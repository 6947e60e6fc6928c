"""The Responses endpoints: created, joined with what is stored, run in the background, read again.

- A **conversation** is made whole by looking up what a request continues.
- A **run** is a response that goes on without its client; its **event log** is what clients follow.
- **stored** shows, replays, lists, cancels and deletes responses by their id.
"""
