"""The jobs that connect a container again as itself. The engine's API is played."""

from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest

from supervisor.engine import reconnecting
from supervisor.engine.reconnecting import carry_out, look
from supervisor.engine.reconnection import End, Impossible, Outcome, Reconnection
from tests.cli.played import Played

WEB, LAN, OTHERS, OWN = "c" * 64, "1" * 64, "e" * 64, "f" * 64
MAC = "02:00:00:00:00:07"
WANTED = Reconnection(WEB, "web", LAN, "lan", OTHERS, MAC, {})
CHOSEN = {"IPAMConfig": {"LinkLocalIPs": ["169.254.7.7"]}, "Links": ["db:mysql"], "Aliases": ["www"], "GwPriority": 7}
WISH = {**CHOSEN, "DriverOpts": {"gateway": "none", "id": WEB}}
READY = Reconnection(WEB, "web", LAN, "lan", OTHERS, MAC, WISH)


class PlayedEngine(Played):
    """One container; it is `on` the network by an endpoint, or not. Connections are refused with the `refusals`."""

    def __init__(self, path: Path) -> None:
        self.on: str | None = OTHERS
        self.labels: dict[str, str] = {}
        self.refusals: list[str] = []
        super().__init__(
            path,
            {
                "GET /version": {"ApiVersion": "1.44", "MinAPIVersion": "1.24"},
                f"GET /containers/{WEB}/json": lambda *_: self._shown(),
                f"POST /networks/{LAN}/disconnect": lambda *_: self._disconnect(),
                f"POST /networks/{LAN}/connect": lambda *_: self._connect(),
            },
        )

    def _shown(self) -> Any:  # noqa: ANN401  JSON
        here = {"NetworkID": LAN, "EndpointID": self.on, "MacAddress": "02:11:11:11:11:11", **CHOSEN}
        here["DriverOpts"] = {"gateway": "none"}
        places = {"bridge": {"NetworkID": "2" * 64, "EndpointID": "d" * 64}} | (
            {} if self.on is None else {"lan": here}
        )
        return {"Name": "/web", "Config": {"Labels": self.labels}, "NetworkSettings": {"Networks": places}}

    def _disconnect(self) -> Any:  # noqa: ANN401  JSON
        self.on = None
        return 200, {}

    def _connect(self) -> Any:  # noqa: ANN401  JSON
        if self.refusals:
            return 500, {"message": self.refusals.pop()}
        self.on = OWN
        return 200, {}

    @property
    def calls(self) -> list[str]:
        """What was changed, in order."""
        return [path.rpartition("/")[2] for path in self.questions("POST")]


@pytest.fixture(name="engine")
def _engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedEngine]:
    monkeypatch.setattr(reconnecting, "PAUSES", (0.0, 0.0, 0.0))
    engine = PlayedEngine(tmp_path / "docker.sock")
    yield engine
    engine.stop()


def _looked(engine: PlayedEngine) -> object:
    ours, theirs = Pipe()
    look(str(engine.path), WANTED, theirs)
    return ours.recv()


def _carried_out(engine: PlayedEngine, *, is_begun: bool = False) -> Outcome:
    ours, theirs = Pipe()
    carry_out(str(engine.path), READY, is_begun, theirs)
    outcome = ours.recv()
    assert isinstance(outcome, Outcome)
    return outcome


def test_what_the_user_had_chosen(engine: PlayedEngine) -> None:
    """It is kept, and the container's own id is added. The MAC address is none of the user's choices here."""
    assert _looked(engine) == READY
    assert engine.calls == []


def test_refusals(engine: PlayedEngine) -> None:
    """Nothing is done to a task of a Swarm, to a container that somebody else has connected, or that is not there."""
    engine.labels = {"com.docker.swarm.task.id": "t"}
    assert isinstance(_looked(engine), Impossible)
    engine.labels, engine.on = {}, OWN
    assert _looked(engine) == Impossible("it was connected otherwise meanwhile")
    engine.answers[f"GET /containers/{WEB}/json"] = (404, {"message": f"No such container: {WEB}"})
    assert isinstance(_looked(engine), Impossible)


def test_connected_again(engine: PlayedEngine) -> None:
    """It is taken off, and connected with all that was chosen; the time in between is told."""
    outcome = _carried_out(engine)
    assert (outcome.end, outcome.seconds is not None) == (End.DONE, True)
    assert engine.calls == ["disconnect", "connect"]
    (body,) = [body for what, _, body in engine.asked if what.endswith("/connect")]
    assert body == {"Container": WEB, "EndpointConfig": WISH}


def test_connection_is_tried_again(engine: PlayedEngine) -> None:
    """A container that is off the network is not left there for one refusal."""
    engine.refusals = ["no lease"]
    assert _carried_out(engine).end is End.DONE
    assert engine.calls == ["disconnect", "connect", "connect"]


def test_left_off(engine: PlayedEngine) -> None:
    """After so many refusals the reason is told."""
    engine.refusals = ["no lease"] * 3
    assert _carried_out(engine) == Outcome(End.OFF, reason="no lease")
    assert engine.calls == ["disconnect", "connect", "connect", "connect"]


def test_goes_on(engine: PlayedEngine) -> None:
    """What another process has begun is brought to its end: also if that one came only as far as to its record."""
    engine.on = None
    assert _carried_out(engine, is_begun=True) == Outcome(End.DONE)
    assert _carried_out(engine, is_begun=True).end is End.NEEDLESS
    engine.on = OTHERS
    assert _carried_out(engine, is_begun=True).end is End.DONE
    assert engine.calls == ["connect", "disconnect", "connect"]


@pytest.mark.parametrize("on", [None, OWN, ""], ids=["disconnected", "connected", "stopped"])
def test_needless(engine: PlayedEngine, on: str | None) -> None:
    """What the user did meanwhile stays as it is, and so does a container that was stopped."""
    engine.on = on
    assert _carried_out(engine) == Outcome(End.NEEDLESS)
    assert engine.calls == []


def test_removed(engine: PlayedEngine) -> None:
    """There is nothing left to be done."""
    engine.answers[f"GET /containers/{WEB}/json"] = (404, {"message": f"No such container: {WEB}"})
    assert _carried_out(engine, is_begun=True) == Outcome(End.NEEDLESS)


def test_cannot_be_taken_off(engine: PlayedEngine) -> None:
    """It has what it had, and nothing else is tried."""
    engine.answers[f"POST /networks/{LAN}/disconnect"] = (500, {"message": "no"})
    assert _carried_out(engine) == Outcome(End.UNCHANGED, reason="no")
    assert "connect" not in engine.calls


def test_command() -> None:
    """What an operator may do instead is a line for a shell."""
    words = f"docker network connect --driver-opt gateway=none --driver-opt id={WEB} --alias www lan web"
    assert READY.command == words
