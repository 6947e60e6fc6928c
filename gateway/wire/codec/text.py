"""Text that may stand in a header, a log line or an error message."""


def printable(text: str, most: int = 200) -> str:
    """What of a provider's header may be sent on: printable ASCII, not endless."""
    return "".join(letter for letter in text[:most] if " " <= letter <= "~")
