"""The plugin on a machine of its own, as the process tests have it; one for all tests, for each takes half a minute."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.netns.process.conftest import alone, rig, server
from tests.netns.process.instances import Instances
from tests.netns.process.rig import Rig, rig_in
from tests.netns.process.shared import Shared, shared

__all__ = ["alone", "rig", "server"]


@pytest.fixture(name="rigs", scope="session")
def _rigs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared[Rig]]:
    with shared(lambda: _lasting_rig(tmp_path_factory.mktemp("rig"))) as rigs:
        yield rigs


@contextmanager
def _lasting_rig(directory: Path) -> Iterator[Rig]:
    with rig_in(directory) as rig:
        try:
            yield rig
        finally:
            rig.clean()
            rig.plugin.stop()


@pytest.fixture
def instances(rig: Rig) -> Instances:
    """The plugin may be started again; the next test finds another instance."""
    return Instances(rig, rig.directory)
