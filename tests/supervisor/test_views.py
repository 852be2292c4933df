"""The list of processes: no child of the supervisor's is missing from it, whatever has happened to it meanwhile."""

import os

from supervisor.children import Child
from supervisor.messages import Cost
from supervisor.observe import Sample
from supervisor.views import view_workers

COST = Cost(cpu=0.1, rss=2, pss=1, descriptors=4, threads=1)


def child(name: str, pid: int | None) -> Child:
    """One of the supervisor's; no pid while it waits for its next start."""
    return Child(name, "watcher", lambda _: None, lambda _: None, pid=pid)


def sample(pid: int, parent: int) -> Sample:
    """What was seen of a process."""
    return Sample(pid, "name", parent, 0.0, COST)


def test_children_with_and_without_a_sample() -> None:
    """A child that is sampled has a cost; one that waits, or has died since the supervisor looked, has none."""
    children = (child("sampled", 7), child("waiting", None), child("dying", 8))
    views = view_workers((sample(os.getpid(), 1), sample(7, os.getpid())), children, ())
    found = [(view.name, view.role, view.pid, view.cost) for view in views]
    assert found == [
        ("name", "supervisor", os.getpid(), COST),
        ("sampled", "watcher", 7, COST),
        ("waiting", "watcher", None, None),
        ("dying", "watcher", 8, None),
    ]
