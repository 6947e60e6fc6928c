"""The scripted provider behind `gateway mock`, the demo route and the tests (docs/mock.md).

Imports nothing of ours, so that a bug of the gateway cannot cancel itself out in its own tests.
"""
