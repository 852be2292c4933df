"""The ways in which the command is called: by a person, by Docker, by a shell, and as one file."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from cli import VERSION, main
from cli.errors import MEANINGS
from cli.onefile import start
from cli.onefile.__main__ import build
from tests.cli import samples
from tests.cli.conftest import Host
from tests.cli_reference import PAGE, with_reference

ROOT = Path(__file__).parents[2]
Call = Callable[..., str]


@pytest.fixture
def call(host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """What a call with these words prints."""

    def run(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", [f"/usr/local/lib/docker/cli-plugins/docker-{main.NAME}", *words])
        monkeypatch.setenv("DOCKER_HOST", host.url)
        with contextlib.suppress(SystemExit):
            main.main()
        return capsys.readouterr().out

    return run


def test_metadata(call: Call) -> None:
    """By this answer Docker takes it for a plugin of its command."""
    answer = json.loads(call("docker-cli-plugin-metadata"))
    assert (answer["SchemaVersion"], answer["Version"]) == ("0.1.0", VERSION)
    assert answer["Vendor"]
    assert answer["ShortDescription"]


@pytest.mark.parametrize(
    "words",
    [
        ("ps", "-q"),  # a command of its own
        ("dhcp", "ps", "-q"),  # docker dhcp ps -q
        ("--log-level", "debug", "dhcp", "ps", "-q"),  # docker --log-level debug dhcp ps -q
        ("--tlsverify", "dhcp", "--plugin", "net-dhcp", "ps", "-q"),
    ],
)
def test_called_by_docker(call: Call, words: tuple[str, ...]) -> None:
    """Docker passes its own options on, ahead of the name."""
    assert call(*words) == samples.CONTAINER_ID + "\n"


def test_a_container_called_dhcp(call: Call, host: Host) -> None:
    """Only the first word is Docker's."""
    host.plugin.answers["GET /v1/endpoints"] = {"endpoints": [samples.endpoint(container="dhcp")]}
    assert call("inspect", "dhcp", "--format", "{{.container}}") == "dhcp\n"
    assert call("dhcp", "inspect", "dhcp", "--format", "{{.container}}") == "dhcp\n"


def test_help_by_docker(call: Call) -> None:
    """`docker help dhcp ps` and `docker dhcp ps --help` are one help, which calls the command by Docker's name."""
    assert "Usage: docker dhcp ps" in call("help", "dhcp", "ps")
    assert call("help", "dhcp", "ps") == call("dhcp", "ps", "--help")


def test_each_help_has_examples(call: Call) -> None:
    """Of every command, and the statuses in that of all."""
    for name in main.COMMANDS:
        assert f"net-dhcp {name}" in call(name, "--help").partition("Examples:")[2]
    assert all(meaning in call("--help") for meaning in MEANINGS.values())


def test_examples_are_commands() -> None:
    """Every command line of the helps, which docs/cli.md and the man page have as well, is one that is understood."""
    count = 0
    with click.Context(main.group) as context:
        for name in main.COMMANDS:
            command = main.group.get_command(context, name)
            assert command is not None
            for line in (command.epilog or "").splitlines():
                words = shlex.split(line.partition(" | ")[0].partition(" > ")[0], comments=True)
                if words[:2] == ["net-dhcp", name]:
                    command.make_context(name, words[2:], parent=context)  # it fails on what it does not know
                    count += 1
    assert count >= len(main.COMMANDS)


def test_completed_by_docker(call: Call) -> None:
    """Docker's script asks in cobra's words; the last line says that files are no candidates."""
    assert call("__complete", "dhcp", "insp").splitlines()[0].startswith("inspect\t")
    assert call("__complete", "dhcp", "inspect", "w") == "web\t192.168.77.161/24\n:4\n"
    assert call("__complete", "dhcp", "ps", "--network", "") == "lan\n:4\n"


def test_completed_without_a_plugin(call: Call, host: Host) -> None:
    """A shell gets no error into its line."""
    host.plugin.answers["GET /v1/endpoints"] = (503, {"Err": "busy"})
    assert call("__complete", "dhcp", "inspect", "w") == ":4\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(call: Call, shell: str) -> None:
    """Each names the command and asks it by its own variable."""
    script = call("completion", shell)
    assert "_NET_DHCP_COMPLETE" in script
    assert "net-dhcp" in script


def test_man_page(call: Call) -> None:
    """It is made of the help: each command, each exit status; no line begins with roff's own words by accident."""
    page = call("man")
    for name in main.COMMANDS:
        assert f".SS {name}" in page
    assert page.count(".TP\n.B ") > len(MEANINGS)
    known = (".TH", ".SH", ".SS", ".TP", ".B", ".br", ".PP", ".nf", ".fi", ".BR")
    assert all(line.split(" ")[0] in known for line in page.splitlines() if line.startswith("."))


def test_reference() -> None:
    """docs/cli.md shows the help of today: `make docs` writes it."""
    page = PAGE.read_text(encoding="utf-8")
    assert with_reference(page) == page


def test_versions_agree(host: Host) -> None:
    """The command's own is that of the wheel; the plugin's and the engine's are what these say."""
    assert f'version = "{VERSION}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    host.plugin.answers["GET /healthz"] = samples.health(version="9.9")
    lines = host.run("version", "--format", "{{.what}} {{.version}}").output.splitlines()
    assert lines == [f"command {VERSION}", "plugin 9.9", "engine 28.2.2"]


def test_colours_on_a_terminal_only(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a pipe, and not with NO_COLOR on a terminal."""
    assert "\x1b" not in host.run("ps").output
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[32mbound" in host.run("ps").output
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in host.run("ps").output


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The one file, made twice from the environment's own click."""
    directory = tmp_path_factory.mktemp("onefile")
    libraries = directory / "libraries"
    libraries.mkdir()
    (libraries / "click").symlink_to(Path(click.__file__).parent)
    copy = directory / "copy"
    copy.mkdir()
    (copy / "click").symlink_to(Path(click.__file__).parent)
    (copy / "click-1.dist-info").mkdir()
    (copy / "click-1.dist-info" / "RECORD").write_text("differs from machine to machine")
    built = [directory / "one", directory / "two"]
    build(libraries, built[0])
    build(copy, built[1])
    return built


def test_one_file_is_reproducible(archives: list[Path]) -> None:
    """The same sources make the same bytes, and anybody may run it."""
    assert archives[0].read_bytes() == archives[1].read_bytes()
    assert archives[0].stat().st_mode & 0o777 == 0o755


def test_one_file_runs(archives: list[Path], host: Host) -> None:
    """It is a program, which needs nothing of this environment."""
    environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": host.url, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-I", str(archives[0]), "ps", "-q"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == samples.CONTAINER_ID + "\n"


def test_unpacked_once(archives: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory that only root can write, or nowhere; another version's goes, unless a call may be using it."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(start, "CACHE", cache)
    monkeypatch.setattr(start, "BUILD", "b" * 32)
    for name, used in (("old", 0), ("in use", time.time())):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (used, used))
    cache.chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(start, "_is_roots", lambda _: True)
    target = cache / ("b" * 32)
    assert start._unpacked(str(archives[0]), target) == str(target)
    assert sorted(path.name for path in cache.iterdir()) == [target.name, "in use"]
    assert (target / "cli" / "main.py").exists()
    monkeypatch.setattr(start, "_is_roots", lambda _: False)
    assert start._unpacked(str(archives[0]), target) == str(archives[0])


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_nobody_elses_code(tmp_path: Path, mode: int) -> None:
    """A directory that others can write is none of root's, and neither is a link."""
    tmp_path.chmod(mode)
    assert not start._is_roots(tmp_path)
    link = tmp_path / "link"
    link.symlink_to("/")
    assert not start._is_roots(link)
