"""A lightweight gateway between programs that speak an LLM API and the companies that serve models."""

__version__ = "0.1.0"
