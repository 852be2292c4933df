"""The endpoint's table: every event in every phase."""

from itertools import product

import pytest

from supervisor.domain.phases import Phase
from supervisor.endpoint.endpoint import EndpointEvent, RefusedEndpointEvent, after

LEGAL = {
    "absent": {"create": "creating"},
    "creating": {"created": "created", "failed": "absent", "delete": "deleting"},
    "created": {"join": "joining", "delete": "deleting"},
    "joining": {"attached": "joined", "leave": "leaving", "delete": "deleting"},
    "joined": {"attached": "joined", "leave": "leaving", "delete": "deleting"},
    "leaving": {"left": "left", "delete": "deleting"},
    "left": {"delete": "deleting"},
    "deleting": {"deleted": "absent", "failed": "absent"},
}
CASES = [(phase, event, LEGAL[phase].get(event)) for phase, event in product(Phase, EndpointEvent)]


def test_every_phase_is_spelled_out() -> None:
    """The table below has a row for each phase, so that no new one goes untested."""
    assert set(LEGAL) == set(Phase)


@pytest.mark.parametrize(("phase", "event", "expected"), CASES)
def test_event(phase: Phase, event: EndpointEvent, expected: str | None) -> None:
    """A legal event leads to the phase that is spelled out here; any other is refused, and the refusal names both."""
    if expected is not None:
        assert after(phase, event) == expected
        return
    with pytest.raises(RefusedEndpointEvent, match=f"{event} .* {phase}"):
        after(phase, event)
