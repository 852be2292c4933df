"""The host and its engine."""

import os
from collections.abc import Iterator
from typing import Any

from cli.doctor.finding import Finding, Severity, failed
from cli.errors import Failure, NotRoot
from cli.session import Session

KERNEL = (5, 4)
ENGINE = (20, 10)


def of_host() -> Iterator[Finding]:
    """What every network needs."""
    release = os.uname().release
    if _numbers(release) < KERNEL:
        found = f"the kernel is Linux {release}, and the plugin needs 5.4"
        yield Finding("host", "kernel", Severity.ERROR, found, "upgrade the host")
    else:
        yield Finding("host", "kernel", Severity.OK, f"Linux {release}")


def of_engine(session: Session) -> Iterator[Finding]:
    """Whether it answers, and whether the plugin works with it."""
    try:
        info = session.engine.info()
    except NotRoot:
        raise
    except Failure as error:
        yield failed(
            "engine", "engine-silent", error, "systemctl start docker; its reasons are in journalctl -u docker.service"
        )
        return
    version = str(info.get("ServerVersion"))
    found = f"Docker {version} at {session.engine.host}, storage driver {info.get('Driver')}"
    yield Finding("engine", "engine", Severity.OK, found)
    if _numbers(version) < ENGINE:
        yield Finding("engine", "engine-old", Severity.ERROR, f"Docker {version} is older than 20.10", "upgrade Docker")
    yield from _limits(info)


def _limits(info: dict[str, Any]) -> Iterator[Finding]:
    if any("rootless" in str(option) for option in info.get("SecurityOptions") or ()):
        found = "the engine runs rootless, so it has no way to the host's network cards"
        yield Finding("engine", "rootless", Severity.ERROR, found, "use an engine that runs as root")


def _numbers(version: str) -> tuple[int, ...]:
    """`6.1.0-rc1` is (6, 1)."""
    digits = ("".join(c for c in part if c.isdigit()) for part in version.split(".")[:2])
    return tuple(int(number or 0) for number in digits)
