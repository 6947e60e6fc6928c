"""What the translations between dialects share: tools, reasoning, schemas, ids, the order of turns and blocks."""
