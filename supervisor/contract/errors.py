"""The reasons for a refusal. Each becomes one HTTP status and one `Err` text in the API; none carries a traceback."""

MAX_TEXT = 2000


class RequestError(Exception):
    """A request was not carried out. The text tells the user what the plugin saw and what to do.

    docker prints it on terminals as it is, and it may have names in it that others have chosen: what cannot be printed
    is escaped, and the text has an end.
    """

    def __init__(self, text: str) -> None:
        shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:MAX_TEXT])
        super().__init__("".join(shown))


class InvalidRequest(RequestError):
    """The request itself is wrong (an option, a type, an id); nothing was changed."""


class NotFound(RequestError):
    """The network or endpoint is not known."""


class Conflict(RequestError):
    """The request is valid, but not in this state, or it asks for something that belongs to another."""


class Failed(RequestError):
    """The attempt failed (no DHCP server answered, the bridge has gone), and everything was rolled back."""


class Unavailable(RequestError):
    """The supervisor cannot answer: it is stopping, or the channel to it broke."""


class DeadlineExceeded(RequestError):
    """No answer came within the deadline."""
