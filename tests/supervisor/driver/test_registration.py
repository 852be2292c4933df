"""Docker 29 makes a driver of each process of the plugin that it starts; no endpoint may be made for the one before."""

import os
import time

import pytest

from supervisor.contract.messages import Done, GetCapabilities
from supervisor.driver.requests import REGISTRATION_SECONDS, Registration
from supervisor.engine.facts import Engine, EngineConnected, EngineFound
from tests.supervisor.puppet import Answers


def _engine(version: str) -> Engine:
    engine = Engine()
    for fact in (EngineFound(os.getpid()), EngineConnected("/data", version=version)):
        engine.learn(fact)
    return engine


@pytest.mark.parametrize(("version", "awaited"), [("29.0.0", True), ("30.1", True), ("28.5.2", False), ("", False)])
def test_registration_is_awaited(version: str, awaited: bool) -> None:
    """From Docker 29 on, until the engine asks for the capabilities, which is answered at once."""
    registration, answers = Registration(_engine(version)), Answers()
    assert registration.is_awaited() is awaited
    registration.done(GetCapabilities(), answers)
    assert not registration.is_awaited()
    assert answers == [Done()]
    registration.begin()
    assert not registration.is_awaited()


def test_registration_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that does not ask costs a moment, not the start."""
    registration = Registration(_engine("29.7.1"))
    registration.begin()
    later = time.monotonic() + REGISTRATION_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert not registration.is_awaited()
