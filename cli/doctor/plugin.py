"""The plugin: is it there, does it answer, is it well?"""

from collections.abc import Iterator

from cli import VERSION
from cli.client import Json
from cli.doctor.finding import Finding, Severity, failed
from cli.errors import Failure, NotRoot, Unreachable
from cli.session import Session
from cli.words import duration

ABOUT = "plugin"
MEND_PROBLEM = "do what it says, or what the findings below say; docs/operations.md has more at GET /healthz"
NOT_INSTALLED = "docker plugin install --alias net-dhcp REGISTRY/net-dhcp"


def of_plugin(session: Session) -> Iterator[Finding]:
    """From its installation to its own word on how it is."""
    try:
        health = session.client.health()
    except NotRoot:
        raise
    except Failure as error:
        yield _silent(session, error)
        return
    seconds = health["uptime"]
    found = f"it answers at {session.client.path}, networks: {health['networks']}, endpoints: {health['endpoints']}"
    yield Finding(ABOUT, "plugin", Severity.OK, f"{found}, started {duration(seconds)} ago")
    yield from _of_health(health)


def _silent(session: Session, error: Failure) -> Finding:
    """The engine knows why, if it answers."""
    try:
        plugin = session.installed
    except Unreachable as reason:
        return failed(ABOUT, "plugin-unknown", reason, "the engine first, or the choice that the message names")
    except Failure as reason:
        return failed(ABOUT, "plugin-missing", reason, NOT_INSTALLED)
    if not plugin.enabled:
        return failed(ABOUT, "plugin-disabled", error, f"docker plugin enable {plugin.name}")
    again = f"docker plugin disable -f {plugin.name} && docker plugin enable {plugin.name}"
    return failed(ABOUT, "plugin-silent", error, f"{again}; journalctl -u docker.service has its log")


def _of_health(health: Json) -> Iterator[Finding]:
    for problem in health["problems"]:
        yield Finding(ABOUT, "problem", Severity.ERROR, str(problem), MEND_PROBLEM)
    if not health["engine_connected"]:
        found = "the plugin does not reach the engine: new containers may have no names, and may not be told apart"
        yield Finding(ABOUT, "plugin-alone", Severity.WARNING, found, "journalctl -u docker.service has its log")
    for text in health.get("healed", ()):
        yield Finding(ABOUT, "healed", Severity.HINT, str(text))
    version = health.get("version")
    if version not in (None, VERSION):
        found = f"the plugin is version {version}, and this command {VERSION}"
        yield Finding(ABOUT, "versions-differ", Severity.HINT, found, "take the command from the plugin (GET /cli)")
