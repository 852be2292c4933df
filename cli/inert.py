"""Text of others made harmless for a terminal.

Names, errors and all that a DHCP server says are hostile: an escape sequence could rewrite the screen or the clipboard,
and a right-to-left mark could turn a command around that a person copies.
"""


def inert(text: object) -> str:
    """The text on one line, with an escape such as `\\x1b` in place of each character that does not print."""
    plain = str(text)
    return plain if plain.isprintable() else "".join(c if c.isprintable() else _escape(c) for c in plain)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
