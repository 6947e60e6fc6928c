"""Keeps responses in memory, SQLite or Redis, and the buckets of the limits in memory."""
