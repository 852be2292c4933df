"""The plugin's sudden end, and its return."""

import json
import os
from collections.abc import Callable, Iterator
from http.client import HTTPException
from signal import SIGKILL
from typing import TypeVar

from tests.lab.command import NotReached, wait_until
from tests.lab.plugin import Plugin

RETURN_TIMEOUT = 60.0  # seconds
LOG_LINES = 100
ANOTHER_MAC = "it has another MAC address than before"
T = TypeVar("T")


def instance(plugin: Plugin) -> str | None:
    """Which life of the plugin this is; None while it is not well, or does not know its engine.

    That a container came back with another MAC address says nothing of the plugin, and lasts as long as the container.
    """
    try:
        status, health = plugin.get("/healthz")
    except (OSError, HTTPException):
        return None  # it is just ending, or being started
    if "problems" not in health:
        return None  # its API outlives the supervisor for a moment, and says that it has gone
    well = status == 200 or all(ANOTHER_MAC in problem for problem in health["problems"])
    return str(health["instance"]) if well and health["engine_connected"] else None


def await_instance(plugin: Plugin) -> str:
    """The one that runs, once it is well."""
    return await_plugin(plugin, lambda: instance(plugin), "a healthy plugin") or ""


def kill_supervisor(plugin: Plugin) -> None:
    """SIGKILL, with which all other processes of the plugin end; dockerd starts it again. Returns when it is well."""
    former = await_instance(plugin)
    _, view = plugin.get("/v1/workers")
    (pid,) = {worker["pid"] for worker in view["workers"] if worker["role"] == "supervisor"}
    os.kill(pid, SIGKILL)
    await_plugin(plugin, lambda: instance(plugin) not in (None, former), "another plugin")


def await_plugin(plugin: Plugin, predicate: Callable[[], T], what: str) -> T:
    """As `wait_until`; where it is not reached, the failure shows what the plugin says of itself."""
    try:
        return wait_until(predicate, what, RETURN_TIMEOUT, interval=0.1)
    except NotReached as failure:
        for words in _account(plugin):
            failure.add_note(words)
        raise


def _account(plugin: Plugin) -> Iterator[str]:
    """What it answers, whole, and the end of its log."""
    for path in ("/healthz", "/v1/endpoints"):
        try:
            status, body = plugin.get(path)
        except (OSError, HTTPException) as error:
            yield f"{path}: {error!r}"
        else:
            yield f"{path}: {status} {json.dumps(body, indent=1)}"
    yield f"the last {LOG_LINES} lines of its log:"
    yield from plugin.log()[-LOG_LINES:]
