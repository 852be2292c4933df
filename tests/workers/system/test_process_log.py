"""Whose line it is, and which are written."""

import logging

from supervisor.log import LogfmtFormatter
from workers.system.process_log import log_as, log_from


def _line(extra: dict[str, str]) -> str:
    record = logging.getLogger("test").makeRecord("test", logging.INFO, "", 0, "word", (), None, extra=extra)
    return LogfmtFormatter().format(record).partition(" msg=")[2]


def test_each_line_names_its_endpoint() -> None:
    """Also one with fields of its own, which may be those."""
    usual = logging.getLogRecordFactory()
    try:
        log_as("n" * 64, "e" * 64)
        assert _line({"interface": "eth0"}) == f"word network={'n' * 12} endpoint={'e' * 12} interface=eth0"
        assert _line({"endpoint": "of another"}) == f'word network={"n" * 12} endpoint="of another"'
    finally:
        logging.setLogRecordFactory(usual)


def test_level() -> None:
    """It counts from now on, also for a logger that has decided once."""
    root, log = logging.getLogger(), logging.getLogger("test")
    usual = root.level
    try:
        log_from(logging.INFO)
        assert not log.isEnabledFor(logging.DEBUG)
        log_from(logging.DEBUG)
        assert log.isEnabledFor(logging.DEBUG)
    finally:
        root.setLevel(usual)
