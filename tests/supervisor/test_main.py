"""What the start asks of the machine."""

import tomllib
from pathlib import Path

import pytest

from supervisor import VERSION
from supervisor.__main__ import require_kernel

ROOT = Path(__file__).parents[2]


def test_version() -> None:
    """The plugin tells the version of its release."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == VERSION


@pytest.mark.parametrize("release", ["5.4.0-216-generic", "5.10.0", "6.18.5+deb13-amd64", "10.0", "unheard-of"])
def test_kernel(release: str) -> None:
    """One from 5.4 on is taken, and so is one whose release says nothing."""
    require_kernel(release)


@pytest.mark.parametrize("release", ["4.19.0-27-amd64", "5.3.18", "3.10.108"])
def test_kernel_that_is_too_old(release: str) -> None:
    """An older one ends the plugin with a sentence that has both versions."""
    with pytest.raises(SystemExit, match=f"Linux {release} is too old for this plugin, which needs Linux 5.4 or newer"):
        require_kernel(release)
