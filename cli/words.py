"""Times, durations and sizes as people read them."""

import re
from datetime import UTC, datetime, timedelta

import click

NONE = "-"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d+)([smhd])")


def now() -> datetime:
    """Tests replace it."""
    return datetime.now(UTC)


def time_of(text: object) -> datetime | None:
    """A time that the API tells; None for any other text."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def duration(seconds: float) -> str:
    """The two largest units: `45s`, `1m 30s`, `2h 5m`, `3d 4h`."""
    left = int(abs(seconds))
    parts: list[str] = []
    for unit, size in reversed(_UNITS.items()):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    return " ".join(part for part in parts[:2] if part) or "0s"


def until(text: object) -> str:
    """How long it is until that time; a time that is over was so long `ago`."""
    time = time_of(text)
    if time is None:
        return NONE
    seconds = (time - now()).total_seconds()
    return duration(seconds) if seconds > 0 else f"{duration(seconds)} ago"


def clock(text: object) -> str:
    """A time of the API as the clock on the wall shows it."""
    time = time_of(text)
    return NONE if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def size(number: object) -> str:
    """Bytes in MB."""
    return f"{number / 1e6:.1f} MB" if isinstance(number, int | float) else NONE


def moment(text: str) -> datetime:
    """What a person calls a time: `10m` ago, a date, or a date and a time, by the clock on the wall."""
    if found := _DURATION.fullmatch(text):
        return now() - timedelta(seconds=int(found[1]) * _UNITS[found[2]])
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is no time: write 30s, 10m, 2h or 3d for so long ago, or 2026-11-24 or 2026-11-24T12:30"
        ) from None
