"""Text that may stand in a header, a log line or an error message."""


def printable(text: str, most: int = 200) -> str:
    """Return the printable ASCII among the first `most` characters of a text that somebody else wrote."""
    return "".join(letter for letter in text[:most] if " " <= letter <= "~")
