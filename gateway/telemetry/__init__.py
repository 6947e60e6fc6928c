"""How the process says what happens: log lines, metrics, and the redactor that every line passes.

May import nothing of the other rooms.
"""
