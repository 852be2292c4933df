"""Engine and plugin are found, or the message says why not."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import where
from cli.main import group
from tests.cli import samples
from tests.cli.conftest import Host
from tests.cli.played import Played

Make = Callable[[Path, dict[str, object]], Played]


def test_the_engine_is_not_asked(host: Host) -> None:
    """One socket is enough: its plugin is the one."""
    assert host.run("ps").exit_code == 0
    assert host.engine.asked == []


@pytest.fixture
def two(host: Host, make_played: Make) -> Played:
    """Another installation of the plugin."""
    other = "q" * 24
    host.engine.answers["GET /plugins"] = [
        samples.installed(samples.PLUGIN_ID, samples.PLUGIN),
        samples.installed(other, "net-dhcp:dev"),
        {"Id": "x", "Name": "another:latest", "Enabled": True, "Config": {"Interface": {"Socket": "x.sock"}}},
    ]
    answers = {**samples.plugin(), "GET /v1/endpoints": {"endpoints": [samples.endpoint(container="of-dev")]}}
    return make_played(host.directory / "docker" / "plugins" / other / "net-dhcp.sock", answers)


def test_several_plugins(host: Host, two: Played) -> None:
    """None is guessed; a name with or without its tag, or the beginning of an id, chooses."""
    result = host.run("ps")
    assert result.exit_code == 4
    assert "net-dhcp:latest, net-dhcp:dev" in result.stderr
    for name in ("net-dhcp:dev", "qqqq"):
        assert "of-dev" in host.run("--plugin", name, "ps").output
    assert "web" in host.run("--plugin", "net-dhcp", "ps").output
    assert host.run("--plugin", "nothing", "ps").exit_code == 3


def test_disabled(host: Host) -> None:
    """The message has the command that mends it."""
    host.plugin.path.unlink()
    host.engine.answers["GET /plugins"] = [samples.installed(samples.PLUGIN_ID, samples.PLUGIN, enabled=False)]
    result = host.run("ps")
    assert result.exit_code == 4
    assert "docker plugin enable net-dhcp:latest" in result.stderr


def test_not_installed(host: Host) -> None:
    """That is told from a plugin that does not answer."""
    host.plugin.path.unlink()
    host.engine.answers["GET /plugins"] = []
    assert host.run("ps").exit_code == 3


def test_without_an_engine(tmp_path: Path) -> None:
    """The kernel's word is in the message, and no trace of Python."""
    result = CliRunner().invoke(group, ["--host", f"unix://{tmp_path}/docker.sock", "ps"])
    assert result.exit_code == 4
    assert "No such file or directory" in result.stderr


def test_engine_elsewhere(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin's socket cannot be reached from another machine, and that is said before anything is tried."""
    monkeypatch.setenv("DOCKER_HOST", "ssh://root@server")
    result = CliRunner().invoke(group, ["ps"])
    assert result.exit_code == 4
    assert "run this command there" in result.stderr


def test_of_the_environment(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """DOCKER_HOST is used as by the docker command; an option beats it."""
    monkeypatch.setenv("DOCKER_HOST", host.url)
    assert "web" in CliRunner().invoke(group, ["ps"]).output
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert "web" in host.run("ps").output


def test_contexts(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """One in use, one chosen, and one that is not there."""
    _context(host.directory / "config", "mine", host.url)
    assert CliRunner().invoke(group, ["--context", "mine", "ps"]).exit_code == 0
    (host.directory / "config" / "config.json").write_text('{"currentContext": "mine"}')
    assert where.engine_host(where.Target()) == host.url
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert where.engine_host(where.Target()) == where.DEFAULT_HOST
    assert CliRunner().invoke(group, ["--context", "absent", "ps"]).exit_code == 3


def _context(directory: Path, name: str, host: str) -> None:
    from hashlib import sha256

    meta = directory / "contexts" / "meta" / sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints}))


def test_not_root(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit status and the message tell that it is only that."""

    def forbidden(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", forbidden)
    result = host.run("ps")
    assert result.exit_code == 5
    assert "sudo" in result.stderr


def test_chosen_socket(host: Host) -> None:
    """Neither is searched for then."""
    result = CliRunner().invoke(group, ["--socket", str(host.plugin.path), "ps"])
    assert "web" in result.output


def test_long_path(tmp_path: Path, make_played: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path of more than the 107 bytes that a socket's name may have."""
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.chdir(deep)
    make_played(Path("net-dhcp.sock"), samples.plugin())
    assert "web" in CliRunner().invoke(group, ["--socket", str(deep / "net-dhcp.sock"), "ps"]).output


def test_something_else_answers(host: Host) -> None:
    """What is no JSON object is not taken for an answer."""
    host.plugin.answers["GET /v1/endpoints"] = [["a"], ["b"]]
    result = host.run("ps", "-q")
    assert result.exit_code == 6
    assert "not the plugin" in result.stderr
