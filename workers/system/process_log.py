"""How a worker's process logs: whose lines they are, and from which level on.

Must not know how a line is written.
"""

import logging


class _Record(logging.LogRecord):
    """Its class has the fields, so that a line may still name others as its `extra`."""

    network: str
    endpoint: str


def log_as(network_id: str, endpoint_id: str) -> None:
    """All lines of this process, and of those that it forks, name this network and this endpoint from now on."""
    _Record.network, _Record.endpoint = network_id, endpoint_id
    logging.setLogRecordFactory(_Record)


def log_from(level: int) -> None:
    """Logs what is of this level or above. Setting it writes into every logger, and so copies shared pages."""
    if logging.getLogger().level != level:
        logging.getLogger().setLevel(level)
