"""A scripted provider, for the demo, for tests and for users' own CI. Imports nothing of the gateway."""
