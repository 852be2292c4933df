"""Records as JSON and back: nothing is lost, times survive a reboot, another form is refused, not guessed."""

import json
import time
from dataclasses import replace

import pytest

from supervisor.state import records as module
from supervisor.state.records import (
    endpoint_from_json,
    endpoint_to_json,
    lease_from_json,
    lease_to_json,
    options_from_json,
    options_to_json,
)
from tests.supervisor.puppet import LEASE
from tests.supervisor.samples import Samples, same_endpoint, timeless
from workers.system.clock import boottime

SEEDS = range(40)
DAY = 86400.0


@pytest.mark.parametrize("seed", SEEDS)
def test_lease(seed: int) -> None:
    """Every lease comes back as it was."""
    lease = Samples(seed).lease()
    assert timeless(lease_from_json(lease_to_json(lease)), lease) == lease


def test_no_lease() -> None:
    """Absent stays absent."""
    assert lease_to_json(None) is None
    assert lease_from_json(None) is None


@pytest.mark.parametrize("seed", SEEDS)
def test_options(seed: int) -> None:
    """Every set of network options comes back as it was."""
    options = Samples(seed).network().options
    assert options_from_json(options_to_json(options)) == options


@pytest.mark.parametrize("seed", SEEDS)
def test_endpoint(seed: int) -> None:
    """Every endpoint comes back as it was, a lease that it asks for first included."""
    record = Samples(seed).endpoint()
    held, lease = (record.ipv4.held, record.ipv4.lease) if record.ipv4 else (False, None)
    seen = endpoint_from_json(endpoint_to_json(record), record.phase, held, lease_to_json(lease))
    assert same_endpoint(seen, record) == record


def test_reboot(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reboot, when the machine's clock of uptime begins anew, a lease has just as long to run as before."""
    lease = replace(LEASE, obtained=boottime() - 100)
    text = lease_to_json(lease)
    monkeypatch.setattr(module, "boot_id", lambda: "another")
    monkeypatch.setattr(module, "boottime", lambda: 5.0)
    seen = lease_from_json(text)
    assert seen is not None
    assert seen.expires == pytest.approx(5.0 - 100 + 600, abs=1)


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_wall_clock_that_steps(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    """As long as the machine runs, a wall clock that is set a day on or back changes nothing."""
    lease = replace(LEASE, obtained=boottime() - 100)
    text = lease_to_json(lease)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + step)
    assert lease_from_json(text) == lease


def test_wall_clock_that_went_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that stands before the lease's beginning, as without a battery, never prolongs the lease."""
    text = lease_to_json(replace(LEASE, obtained=boottime()))
    assert text is not None
    monkeypatch.setattr(module, "boot_id", lambda: "another")
    seen = lease_from_json(json.dumps(json.loads(text) | {"obtained": time.time() + DAY}))
    assert seen is not None
    assert seen.obtained <= boottime()


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", '{"address": "192.0.2.300/24"}', "\x00", '{"address": 7}'],
)
def test_another_form(text: str) -> None:
    """What is no record of ours raises one of the errors for which the file is set aside."""
    for parse in (lease_from_json, lambda t: endpoint_from_json(t, "joined", True, None), options_from_json):
        with pytest.raises((ValueError, KeyError, TypeError)):
            parse(text)


def test_unknown_phase() -> None:
    """A phase that this version does not know is another form, too."""
    record = Samples(1).endpoint()
    with pytest.raises(ValueError, match="dreaming"):
        endpoint_from_json(endpoint_to_json(record), "dreaming", True, None)
