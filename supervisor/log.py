"""One line a phase on standard output: `key=value` words that a person reads and a program splits (logfmt)."""

import json
import logging
import sys
from datetime import UTC, datetime

FIELDS = ("network", "endpoint", "container", "interface", "ms")
SHORT_IDS = ("network", "endpoint")
SHORT_ID_LENGTH = 12  # as docker prints them
FOREIGN = ("asyncio", "docker", "pyroute2", "urllib3")  # their DEBUG is hundreds of lines for each endpoint


class LogfmtFormatter(logging.Formatter):
    """Time, level, process, message, then those of FIELDS that the record has."""

    def format(self, record: logging.LogRecord) -> str:
        words = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "source": record.name,
            "pid": record.process,
            "msg": record.getMessage(),
        }
        for name in FIELDS:
            value = getattr(record, name, None)
            if value is not None:
                words[name] = value[:SHORT_ID_LENGTH] if name in SHORT_IDS else value
        if record.exc_info:
            words["exception"] = self.formatException(record.exc_info)
        return " ".join(f"{name}={_quoted(str(value))}" for name, value in words.items())


def _quoted(text: str) -> str:
    """As it is if it is one plain word, else as a JSON string: a line stays a line whatever a server sent."""
    plain = text.isascii() and text.isprintable() and not any(c in ' "=' for c in text) and text
    return text if plain else json.dumps(text)


def configure(level: str) -> None:
    """For this process and all that it forks; an unknown level becomes INFO."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(LogfmtFormatter())
    logging.basicConfig(level=logging.getLevelNamesMapping().get(level.upper(), logging.INFO), handlers=[handler])
    for name in FOREIGN:
        logging.getLogger(name).setLevel(logging.WARNING)
