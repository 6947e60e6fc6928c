"""Reads providers.yaml into frozen values, and reports every problem with its place."""
