"""What becomes of a packet in the chains of a packet filter.

Pure. Must not know how a filter stores its rules, nor what they compare.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Generic, TypeVar

from msgspec import Struct

MAX_DEPTH = 16  # of jumps: the kernel allows no more

Chain = TypeVar("Chain")


class Action(StrEnum):
    """What a rule does with a packet that it matches."""

    ACCEPT = "accept"
    DROP = "drop"  # or reject
    RETURN = "return"
    JUMP = "jump"
    GOTO = "goto"


class Verdict(Struct, Generic[Chain], frozen=True):
    """A rule's action; `chain` is where a jump or goto leads."""

    action: Action
    chain: Chain | None = None


def fate(chain: Chain, verdicts: Callable[[Chain], Iterable[Verdict[Chain]]], depth: int = 0) -> Action | None:
    """ACCEPT or DROP; None if no rule decides, so that the policy does, or the chain that jumped here.

    `verdicts` gives those of a chain's rules that match the packet, in order.
    """
    for verdict in verdicts(chain):
        if verdict.action in (Action.ACCEPT, Action.DROP):
            return verdict.action
        if verdict.action is Action.RETURN:
            return None
        assert verdict.chain is not None
        decided = fate(verdict.chain, verdicts, depth + 1) if depth < MAX_DEPTH else None
        if decided is not None or verdict.action is Action.GOTO:
            return decided
    return None


def decide(matches: bool | None, about_link: bool, verdict: Verdict[Chain] | None) -> Verdict[Chain] | None:
    """The verdict, if it counts for our packet. `matches` is None where the rule asks for something unknown here.

    Such a rule counts only if it names our link, and drops nothing: the host's owner has thought of the link.
    """
    if verdict is None or matches is False:
        return None
    if matches is None and not (about_link and verdict.action is not Action.DROP):
        return None
    return verdict
