"""A host with an engine and a plugin, both played, and the command on it."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.main import group
from tests.cli import samples
from tests.cli.played import Played


@dataclass
class Host:
    """Its directory is what an engine has as /run. `engine` and `plugin` answer by tables that a test changes."""

    directory: Path
    engine: Played
    plugin: Played

    @property
    def url(self) -> str:
        """The engine's address."""
        return f"unix://{self.engine.path}"

    def run(self, *args: str, typed: str | None = None) -> Result:
        """`net-dhcp ARGS`."""
        return CliRunner().invoke(group, ["--host", self.url, *args], input=typed, prog_name="net-dhcp")


@pytest.fixture
def make_played() -> Iterator[Callable[..., Played]]:
    """Plays one more, until the test's end."""
    made: list[Played] = []

    def make(path: Path, answers: dict[str, object]) -> Played:
        made.append(Played(path, answers))
        return made[-1]

    yield make
    for played in made:
        played.stop()


@pytest.fixture
def host(make_played: Callable[..., Played], monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """One plugin, one network, one container; all is well."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "NET_DHCP_PLUGIN", "NET_DHCP_SOCKET", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    directory = Path(tempfile.mkdtemp(prefix="nd"))  # short, as a socket's path has to be
    monkeypatch.setenv("DOCKER_CONFIG", str(directory / "config"))
    engine = make_played(directory / "docker.sock", samples.engine())
    plugin = make_played(directory / "docker" / "plugins" / samples.PLUGIN_ID / "net-dhcp.sock", samples.plugin())
    yield Host(directory, engine, plugin)
    shutil.rmtree(directory)
