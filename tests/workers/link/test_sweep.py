"""Which of the links with our mark the sweep removes. The kernel is played."""

from collections.abc import Collection
from multiprocessing import Pipe
from types import TracebackType
from typing import ClassVar

import pytest

from workers.link import sweep as module
from workers.link.sweep import Swept, sweep
from workers.netlink.operations import Link

MARK = 7
LINKS = tuple(
    Link(number, name, "02:00:00:00:00:01", True, True, True, kind, 1500, group)
    for number, (name, kind, group) in enumerate(
        [("dc-ours", "macvlan", MARK), ("dc-theirs", "macvlan", 8), ("eth0.20", "vlan", MARK), ("eth0.30", "vlan", 8)]
    )
)


class PlayedNetlink:
    """The host's links; notes which are removed."""

    removed: ClassVar[list[str]] = []

    def __enter__(self) -> "PlayedNetlink":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing is open."""

    def links(self) -> tuple[Link, ...]:
        """All of them."""
        return LINKS

    def delete_link(self, name: str) -> None:
        """Notes it."""
        self.removed.append(name)


@pytest.mark.parametrize(
    ("ends", "parents", "removed"),
    [
        ((), (), ["dc-ours", "eth0.20"]),
        (("dc-ours",), ("eth0.20",), []),
        (("dc-ours",), (), ["eth0.20"]),
        ((), None, ["dc-ours"]),
    ],
)
def test_sweep(
    monkeypatch: pytest.MonkeyPatch, ends: Collection[str], parents: Collection[str] | None, removed: list[str]
) -> None:
    """Those that no endpoint and no network has; if the networks are not known, no VLAN and no rule of a card, as
    containers may need them."""
    spared: list[Collection[str]] = []
    monkeypatch.setattr(module, "sweep_answers", lambda _, cards: spared.append(cards))
    monkeypatch.setattr(module, "Netlink", PlayedNetlink)
    monkeypatch.setattr(PlayedNetlink, "removed", [])
    ours, theirs = Pipe()
    sweep(MARK, ends, parents, theirs)
    assert PlayedNetlink.removed == removed
    assert spared == ([] if parents is None else [parents])
    assert ours.recv() == Swept(tuple(removed))
