"""Bytes: JSON bodies with members edited in place, multipart, event streams, compression, lenient JSON.

Knows no dialect and nothing of models. May import `errors`.
"""
