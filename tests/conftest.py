"""Marks the tests that need root and real servers by their directory, runs the quick ones first, and keeps the logs of
those that fail."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.lab.lab import Lab, keep_logs
from tests.lab.rootfs import missing
from workers.contract.exchange import taken

DIRECTORY = Path(__file__).parent
MARKED = ("plugin", "netns", "kernel", "boot", "browser")
# Most of their time is one wait, for renewals or for a guest: begun first, it overlaps with all that others run.
PATIENT = ("test_kinds.py", "test_scale.py", "test_crash_and_boot.py", "test_other_engines.py", "test_guest.py")
SHOWN_LINES = 40  # the end of each log that a report shows: its reader may not have the machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests carry their directory's marker: such as `netns` or `plugin`; unit tests come before those."""
    for item in items:
        if (kind := _kind(item)) in MARKED:
            item.add_marker(kind)
    items.sort(key=_place)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests of what ships fail where nothing was built. A test plays a new worker, which has noted nothing yet."""
    taken()
    if _kind(item) in MARKED and (words := missing()):
        pytest.fail(words, pytrace=False)


def _place(item: pytest.Item) -> tuple[int, int]:
    kind, name = _kind(item), item.path.name
    return (
        MARKED.index(kind) if kind in MARKED else -1,
        PATIENT.index(name) if kind == "plugin" and name in PATIENT else len(PATIENT),
    )


def _kind(item: pytest.Item) -> str:
    return item.path.relative_to(DIRECTORY).parts[0]


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-SHOWN_LINES:])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The report of a test that failed shows how the logs of its plugin and servers end, and where they are."""
    report = yield
    if report.failed:
        fixtures: dict[str, object] = getattr(item, "funcargs", {})
        places = [p.directory if isinstance(p, Lab) else p for p in map(fixtures.get, ("lab", "tmp_path"))]
        kept = {keep_logs(place, item.nodeid) for place in places if isinstance(place, Path)}
        for directory in filter(Path.exists, kept):
            report.sections.append(("logs", str(directory)))
            report.sections += [(str(log.relative_to(directory)), _end_of(log)) for log in directory.rglob("*.log")]
    return report
