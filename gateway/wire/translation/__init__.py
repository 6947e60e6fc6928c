"""What the readers and writers of all dialects share: names, ids, tools, schemas, media, stops, turn order.

- A **memo** carries from the request what the way back needs; its **drops** are what the request lost.
- An **envelope** is one provider's reasoning, signed, in the place where another dialect keeps its own.
- The **sequencer** orders the blocks of a reply for dialects that have one block open at a time.

Knows no single dialect. May import `codec`, `neutral`, `events` and `profile`.
"""
