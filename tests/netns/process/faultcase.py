"""One container at which a fault strikes, as the engine sees it: its calls, their answers, what it does with them.

Owns the engine's reaction to one call. Must not know which steps and which faults there are.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from socket import socket
from typing import Any

from tests.api.unit import reaction
from tests.lab.command import wait_until
from tests.netns.process.fakeengine import Answer, Container
from tests.netns.process.faultbench import Bench

RETRIES = 2  # with an empty body; the engine makes four, over 15 s
Fault = Callable[["Case"], None]


@dataclass(slots=True)
class Case:
    """One container, one fault. `call` is the connection of a call that has no answer yet, `method` its name."""

    bench: Bench
    fault: Fault
    container: Container
    call: socket | None = None
    method: str = ""
    joined: Answer | None = None
    configured: bool = False
    confirmations: int = 0
    stopped: list[int] = field(default_factory=list)

    @property
    def worker(self) -> int:
        """The pid of the endpoint's worker."""
        return self.bench.rig.plugin.pids(f"nd-{self.container.endpoint_id[:12]}")[0]

    def await_ipv6(self) -> None:
        """Until the IPv6 server has leased an address: it answers while the IPv4 server is held up."""
        wait_until(self.bench.server6.leases6, "an IPv6 lease")

    def stop(self, pid: int) -> None:
        """Until `resume`."""
        os.kill(pid, signal.SIGSTOP)
        self.stopped.append(pid)

    def resume(self) -> None:
        """What a step held goes on."""
        self.bench.pool.resume()
        for pid in self.stopped:
            with suppress(ProcessLookupError):  # the fault was its end
                os.kill(pid, signal.SIGCONT)

    def send(self, method: str) -> None:
        """A call whose answer is not waited for."""
        bodies = {"CreateEndpoint": self.container.request, "Join": self.container.join_request}
        self.method, self.call = method, self.bench.rig.engine.send(method, bodies.get(method, self.container.ids))

    def receive(self) -> Answer:
        """The answer to the call, or to the last one of its retries where it broke."""
        assert self.call is not None
        with self.call:
            seen = reaction(self.call) if self.call.fileno() >= 0 else None
        self.call = None
        if seen is None or not seen.body:  # killed before all of it was written
            return self.retry()
        return Answer(seen.status, seen.json, 0)

    def retry(self) -> Answer:
        """The engine's retries of a call that broke: never a traceback, never a second lease."""
        answers = [self.bench.rig.engine.call(self.method, b"") for _ in range(RETRIES)]
        assert all(400 <= a.status < 500 and a.error for a in answers), answers
        return answers[-1]

    @property
    def view(self) -> dict[str, Any] | None:
        """What the plugin says of the endpoint, if anything."""
        endpoints: list[dict[str, Any]] = self.bench.rig.engine.get("/v1/endpoints")["endpoints"]
        return next((e for e in endpoints if e["endpoint_id"] == self.container.endpoint_id), None)

    def reach(self, phase: str | None) -> None:
        """Waits for it; None: until the endpoint is forgotten."""
        wait_until(lambda: self._phase == phase, f"phase {phase}")

    @property
    def _phase(self) -> object:
        view = self.view
        return None if view is None else view["phase"]

    def take(self, answer: Answer) -> bool:
        """What the engine does at once with an answer; False where it was an error, which then is a clear one."""
        if answer.status != 200:
            assert answer.error, answer
            assert len(answer.error.splitlines()) == 1, answer
            assert "Traceback" not in answer.error, answer
        elif self.method == "CreateEndpoint":
            interface = answer.body["Interface"]
            self.container.mac, self.container.address = interface["MacAddress"], interface.get("Address", "")
            self.container.address6 = interface.get("AddressIPv6", "")
        elif self.method == "Join":
            self.joined = answer
        return answer.status == 200

    def configure(self) -> None:
        """The engine's part after Join, as far as it is still to be done; raises CommandFailed."""
        assert self.joined is not None
        if not self.container.has_sandbox:
            self.container.move(self.joined)
        if not self.configured:
            self.container.configure(self.joined)
            self.configured = True
