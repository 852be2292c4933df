"""A scrape of a thousand containers: what it costs the supervisor, and how long it takes."""

import gzip
import os
import resource
import time
from dataclasses import replace
from ipaddress import IPv4Interface

import pytest

from supervisor.contract.messages import Health
from supervisor.domain.tally import Tally
from supervisor.endpoint.endpoint import RENEWALS, Endpoint
from supervisor.engine.container_files import Identity
from supervisor.engine.facts import Engine
from supervisor.ops import metrics
from supervisor.ops.metrics import Scene
from supervisor.runtime.jobs import Jobs
from supervisor.state.records import LeaseRecord, Origin
from tests.supervisor.children import Home
from tests.supervisor.puppet import LEASE, Puppet
from workers.contract.lease import Family
from workers.system.clock import boottime

NUMBER = 1000
SCRAPE_SECONDS, DELAY_SECONDS = 0.5, 0.005  # of an idle machine
BUSY = 10  # on a busy one the same work takes more processor time, too
HEALTH = Health(True, (), "f00d", 12.5, 1, NUMBER, engine_connected=True, hints=(), version="0.1.0")


def _endpoint(puppet: Puppet, number: int) -> Endpoint:
    """One whose worker and udhcpc are this process: what a look at it costs is the same."""
    spec = replace(puppet.spec, endpoint_id=f"{number:012x}".ljust(64, "0"))
    identity = Identity(f"{number:064x}", f"container-{number}", "web")
    endpoint = Endpoint(spec, Origin(), identity, puppet.endpoint._context)
    lease = replace(LEASE, address=IPv4Interface(f"10.0.{number // 250}.{number % 250 + 1}/16"), obtained=boottime())
    endpoint.leases = {Family.IPV4: LeaseRecord(lease, True, 1000.0, 2000.0)}
    endpoint.counts[Family.IPV4, RENEWALS] = number
    endpoint.worker.child.pid = endpoint.worker.clients[Family.IPV4] = os.getpid()
    return endpoint


def test_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor gives a few milliseconds of its time, and no start waits longer; the job takes half a second.

    Both are measured in processor time: what waits for the processor does not count.
    """
    monkeypatch.setattr(metrics, "NICENESS", 0)
    puppet, home = Puppet(), Home()
    endpoints = tuple(_endpoint(puppet, number) for number in range(NUMBER))
    answers: list[object] = []
    begun, before = time.thread_time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    scene = Scene(HEALTH, endpoints, Engine(), (), Tally())
    words = ("nd-metrics", "supervisor.ops.metrics:write", scene)
    Jobs(home.process_manager, home.loop).ask(*words, deadline=60, answer=answers.append)
    home.wait_for(lambda: answers)
    spent = time.thread_time() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    (text,) = answers
    assert isinstance(text, bytes)
    lines = gzip.decompress(text).decode().splitlines()
    assert sum(line.startswith("net_dhcp_lease_renewals_total{") for line in lines) == NUMBER
    assert sum(line.startswith("net_dhcp_process_open_fds{") for line in lines) == 2 * NUMBER + 1
    taken = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"supervisor {spent * 1000:.1f} ms, job {taken:.3f} s, {len(text)} bytes")  # shown by pytest -s
    assert spent < DELAY_SECONDS * BUSY
    assert taken < SCRAPE_SECONDS * BUSY
    home.close()
    puppet.close()
