"""Why a request was refused. Each becomes one HTTP status and one `Err` text in the API; none carries a traceback."""


class RequestError(Exception):
    """A request that was not carried out; its text is for the user and says what was seen and what to do."""


class InvalidRequest(RequestError):
    """The request itself is wrong (an option, a type, an id); nothing was changed."""


class NotFound(RequestError):
    """The network or endpoint is not known."""


class Conflict(RequestError):
    """The request is valid but not in this state, or what it asks for belongs to somebody else."""


class Failed(RequestError):
    """It was tried and did not work (no DHCP server answered, the bridge has gone); everything was rolled back."""


class Unavailable(RequestError):
    """The supervisor cannot answer: it is stopping, or the channel to it broke."""


class DeadlineExceeded(RequestError):
    """No answer came within the deadline."""
