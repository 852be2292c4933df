"""Marks the tests that need root and real servers by the directory they are in, and runs the quick ones first."""

from pathlib import Path

import pytest

DIRECTORY = Path(__file__).parent
MARKED = ("netns", "plugin")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """tests/netns carry the marker `netns`, tests/plugin the marker `plugin`; unit tests come before both."""
    for item in items:
        if (kind := _kind(item)) in MARKED:
            item.add_marker(kind)
    items.sort(key=lambda item: MARKED.index(_kind(item)) if _kind(item) in MARKED else -1)


def _kind(item: pytest.Item) -> str:
    return item.path.relative_to(DIRECTORY).parts[0]
