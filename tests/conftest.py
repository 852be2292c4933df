"""Marks the tests that need root and real servers by the directory they are in, so that none can forget to."""

from pathlib import Path

import pytest

DIRECTORY = Path(__file__).parent
MARKED = ("netns", "plugin")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """tests/netns carry the marker `netns`, tests/plugin the marker `plugin`."""
    for item in items:
        kind = item.path.relative_to(DIRECTORY).parts[0]
        if kind in MARKED:
            item.add_marker(kind)
