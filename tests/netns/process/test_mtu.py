"""Option 26: the MTU of the container's link is the server's, at the start and after each renewal."""

import json
import os
import signal

import pytest

from tests.lab.network import BRIDGE
from tests.netns.process.fakeengine import INTERFACE, Container
from tests.netns.process.rig import Rig
from tests.netns.process.scripted import Behaviour, Grant, scripted_server
from tests.netns.process.wire import Option


def serving(mtu: int | None) -> Behaviour:
    """A server that names this MTU, or none."""
    more: dict[int, bytes] = {} if mtu is None else {Option.MTU: mtu.to_bytes(2, "big")}
    return Grant(more=more).answer


def mtu_of(container: Container) -> int:
    """As the container sees it."""
    (link,) = json.loads(container.inside("ip", "-json", "link", "show", "dev", INTERFACE))
    return int(link["mtu"])


def succeed(rig: Rig, container: Container) -> None:
    """The worker dies, and its successor's question is answered."""
    before = rig.confirmations(container)
    os.kill(container.view["worker_pid"], signal.SIGKILL)
    rig.wait_for_bound(container, more_than=before)


def test_mtu_follows_the_server(rig: Rig) -> None:
    """From before the container starts; no more than the bridge's, which it has again when none is named."""
    with scripted_server(rig.machine.lan, serving(1400)) as server:
        container = rig.container()
        container.create()
        (link,) = json.loads(rig.machine.on_host("ip", "-json", "link", "show", "dev", container.link))
        assert link["mtu"] == 1400
        container.attach(container.join())
        rig.wait_for_bound(container)
        assert mtu_of(container) == 1400

        for named, expected in ((1300, 1300), (9000, 1500), (1400, 1400), (68, 1500)):
            server.behaviour = serving(named)
            rig.renew(container)
            assert mtu_of(container) == expected, named

        assert "MTU 1500, as the link takes no more, instead of 9000" in rig.plugin.log
        rig.clean()


@pytest.mark.usefixtures("alone")
def test_mtu_of_the_bridge(rig: Rig) -> None:
    """The bridge's own is where a worker's successor goes back to, although it has not seen the link with it."""
    rig.machine.on_host("ip", "link", "set", BRIDGE, "mtu", "1450")
    with scripted_server(rig.machine.lan, serving(1300)) as server:
        container = rig.joined()
        succeed(rig, container)
        assert mtu_of(container) == 1300

        server.behaviour = serving(None)
        succeed(rig, container)

        assert mtu_of(container) == 1450
        rig.clean()


def test_mtu_of_the_user(rig: Rig) -> None:
    """A renewal that names the same MTU as before leaves what somebody in the container has set."""
    with scripted_server(rig.machine.lan, serving(1400)):
        container = rig.joined()
        container.inside("ip", "link", "set", INTERFACE, "mtu", "1350")

        rig.renew(container)

        assert mtu_of(container) == 1350
        rig.clean()


@pytest.mark.parametrize(
    ("network", "own", "expected"),
    [
        ({"mtu": "1400"}, {}, 1400),
        ({"mtu": "1400"}, {"mtu": "1350"}, 1350),
        ({"mtu": "1400"}, {"mtu": "9000"}, 1500),
        ({"mtu": "1400"}, {"mtu": "lease"}, 1300),
        ({"propagate_mtu": "true"}, {}, 1300),
        ({"propagate_mtu": "false"}, {}, 1500),
        ({}, {"mtu": "parent"}, 1500),
    ],
)
def test_mtu_option(rig: Rig, network: dict[str, str], own: dict[str, str], expected: int) -> None:
    """The option replaces the server's MTU, up to that of the bridge, and stays over a renewal that names another."""
    with scripted_server(rig.machine.lan, serving(1290)) as server:
        container = rig.joined(rig.network(**network), own)
        assert mtu_of(container) == (1290 if expected == 1300 else expected)

        server.behaviour = serving(1300)
        rig.renew(container)

        assert mtu_of(container) == expected
        rig.clean()
