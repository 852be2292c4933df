"""The worker, udhcpc and the release are one client to the server: a capture, from DISCOVER to RELEASE."""

from collections.abc import Iterator
from contextlib import closing
from ipaddress import IPv4Address

import pytest

from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.netns.process.wire import Capture, Kind, Option
from tests.plugin.conftest import NETWORK, Run
from tests.plugin.judge import await_client, renew

pytestmark = pytest.mark.plugin


@pytest.fixture(name="capture")
def _capture(lab: Lab) -> Iterator[Capture]:
    with closing(Capture(lab.network.lan)) as capture:
        yield capture


def test_one_identity(run: Run, lab: Lab, plugin: Plugin, capture: Capture) -> None:
    """One MAC in frames and messages, one client identifier, one host name; udhcpc's DISCOVER names the address."""
    container = run("--hostname=web")
    attachment = container.attachment(NETWORK)
    await_client(plugin, attachment)
    renew(plugin, lab, attachment)
    container.remove()

    frames = capture.frames(attachment.mac)
    assert attachment.address is not None
    assert {f.mac for f in frames} == {attachment.mac}
    assert {f.packet.options[Option.CLIENT_ID].hex(":") for f in frames} == {f"01:{attachment.mac}"}
    kinds = [f.packet.kind for f in frames]
    assert kinds[:4] == [Kind.DISCOVER, Kind.REQUEST, Kind.DISCOVER, Kind.REQUEST]
    assert {*kinds[4:-1]} == {Kind.REQUEST}
    assert kinds[-1] is Kind.RELEASE
    assert {f.packet.hostname for f in frames[:-1]} == {"web"}
    asked = [IPv4Address(f.packet.options[Option.REQUESTED_ADDRESS]) for f in frames[1:4]]
    assert asked == [attachment.address.ip] * 3
    assert {f.packet.options[Option.VENDOR_CLASS] for f in frames[:-1]} == {b"docker-net-dhcp"}
    assert len({f.packet.options[Option.PARAMETERS] for f in frames[:-1]}) == 1
