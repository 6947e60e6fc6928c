"""Decisions without I/O: which target, which credential, which limit. The caller passes time and randomness."""
