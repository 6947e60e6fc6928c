"""Sends requests to providers: connections, credentials, OAuth tokens."""
