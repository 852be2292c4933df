"""`renew`, `release`, `forget`, `top` and `logs`."""

from pathlib import Path

import pytest

from tests.cli import samples
from tests.cli.conftest import Host

ENDPOINT = f"/v1/endpoints/{samples.ENDPOINT_ID}"
AT = "2026-11-24T12:54:20.018+00:00"
LOG = (
    'time="2026-11-24T12:54:19Z" level=info msg="Loading containers: done."\n'
    'time="2026-11-24T12:54:19Z" level=info msg="time=2026-11-24T12:54:19.843+00:00 level=info '
    'source=supervisor.journal msg=\\"first lease \\\\u001b[31m\\" endpoint=c57d00000000 ms=17.5" plugin=pppp\n'
    f'time="2026-11-24T12:54:20Z" level=info msg="time={AT} msg=attached container=web" plugin=pppp\n'
    f'time="2026-11-24T12:54:20Z" level=info msg="time={AT} msg=attached container=db" plugin=pppp\n'
)


def test_renew(host: Host) -> None:
    """The plugin is asked for the endpoint that the name stands for, and its answer is told."""
    host.plugin.answers[f"POST {ENDPOINT}/renew"] = samples.endpoint()
    result = host.run("renew", "192.168.77.161")
    assert result.exit_code == 0
    assert "192.168.77.161/24" in result.output
    assert host.plugin.questions("POST") == [f"{ENDPOINT}/renew"]


def test_release_asks_before(host: Host) -> None:
    """A container may lose its address, so nothing is asked for without a yes."""
    host.plugin.answers[f"POST {ENDPOINT}/release"] = samples.endpoint(address="192.168.77.9/24", expires=None)
    assert host.run("release", "web", typed="n\n").exit_code == 1
    assert host.plugin.questions("POST") == []
    result = host.run("release", "web", typed="y\n")
    assert result.output.endswith(
        "released; it has 192.168.77.9/24, and had 192.168.77.161/24; the lease never expires\n"
    )
    assert host.run("release", "--yes", "web").exit_code == 0
    assert len(host.plugin.questions("POST")) == 2


def test_several_networks(host: Host) -> None:
    """A container on two networks has two leases: the person has to say which one."""
    other = samples.endpoint(network="card", endpoint_id="e" * 64)
    host.plugin.answers["GET /v1/endpoints"] = {"endpoints": [samples.endpoint(), other]}
    result = host.run("renew", "web")
    assert result.exit_code == 3
    assert "card, lan" in result.stderr


def test_forget(host: Host) -> None:
    """A name with a slash stays one part of the path; the plugin's refusal is the command's."""
    host.plugin.answers["DELETE /v1/bindings/a%2Fb"] = {}
    assert host.run("forget", "a/b").exit_code == 0
    host.plugin.answers["DELETE /v1/bindings/web"] = (409, {"Err": "it is in use by container web"})
    result = host.run("forget", "web")
    assert (result.exit_code, result.stderr) == (6, "net-dhcp: it is in use by container web\n")


def test_top(host: Host) -> None:
    """Each process with its container, and the sum; sorted by what it costs."""
    lines = host.run("top", "--once", "--sort", "memory").output.splitlines()
    assert [line.split()[0] for line in lines] == ["PROCESS", "nd-supervisor", "nd-worker", "nd-udhcpc", "total"]
    assert " web " in lines[2]
    assert "9.6 MB" in lines[-1]


def test_logs(host: Host, tmp_path: Path) -> None:
    """Lines of this container out of Docker's log, also one from before its name was known, and harmless."""
    file = tmp_path / "docker.log"
    file.write_text(LOG)
    output = host.run("logs", "web", "--file", str(file)).output
    assert [line.split(" ")[0] for line in output.splitlines()] == [
        "time=2026-11-24T12:54:19.843+00:00",
        "time=2026-11-24T12:54:20.018+00:00",
    ]
    assert "container=db" not in output
    assert "\x1b" not in output


def test_logs_without_a_log(host: Host, tmp_path: Path) -> None:
    """The message says what to do."""
    result = host.run("logs", "web", "--file", str(tmp_path / "absent"))
    assert result.exit_code == 3
    assert "--file" in result.stderr


@pytest.mark.parametrize("command", ["renew", "release", "inspect", "forget", "logs"])
def test_a_name_is_needed(host: Host, command: str) -> None:
    """Nothing happens to everything by mistake."""
    assert host.run(command).exit_code == 2
    assert host.plugin.asked == []
