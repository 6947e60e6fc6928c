"""Reads and writes bytes: JSON bodies, forms, SSE frames, compression. Knows no dialect's requests or replies."""
