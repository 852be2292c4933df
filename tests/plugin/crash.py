"""The plugin's sudden end, and its return."""

import os
from http.client import HTTPException
from signal import SIGKILL

from tests.lab.command import wait_until
from tests.lab.plugin import Plugin

RETURN_TIMEOUT = 60.0  # seconds


def instance(plugin: Plugin) -> str | None:
    """Which life of the plugin this is; None while it is not well, or does not know its engine."""
    try:
        status, health = plugin.get("/healthz")
    except (OSError, HTTPException):
        return None  # it is just ending, or being started
    return str(health["instance"]) if status == 200 and health["engine_connected"] else None


def await_instance(plugin: Plugin) -> str:
    """The one that runs, once it is well."""
    return wait_until(lambda: instance(plugin), "a healthy plugin", RETURN_TIMEOUT, interval=0.1) or ""


def kill_supervisor(plugin: Plugin) -> None:
    """SIGKILL, with which all other processes of the plugin end; dockerd starts it again. Returns when it is well."""
    former = await_instance(plugin)
    _, view = plugin.get("/v1/workers")
    (pid,) = {worker["pid"] for worker in view["workers"] if worker["role"] == "supervisor"}
    os.kill(pid, SIGKILL)
    wait_until(lambda: instance(plugin) not in (None, former), "another plugin", RETURN_TIMEOUT, interval=0.1)
