"""What is done before the first fork."""

import inspect
import sys
from types import CodeType, FrameType

from tests.supervisor.children import descriptors
from workers.entry.warm_up import warm_up
from workers.netlink import nlsocket
from workers.netlink import rtnetlink as rtnl

# Where nothing has an address, as in a new namespace; what is asked at a failure, or for a network; what few links
# need, VLANs and tokens; and a bridge that was made anew.
NOT_REHEARSED = {"describe", "decode_address", "decode_address6", "decode_route", "decode_bridge"}
NOT_REHEARSED |= {"vlan_question", "decode_vlans"}
NOT_REHEARSED |= {"vlan", "no_vlans", "native_vlan", "bridge_port", "link_with_token"}


def test_rehearsal() -> None:
    """Each message of rtnl's is made and each answer read, by the socket that workers use, and nothing stays open."""
    before = descriptors()
    ran: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            ran.add(frame.f_code)

    sys.setprofile(note)
    try:
        warm_up()
    finally:
        sys.setprofile(None)

    messages = {f for n, f in inspect.getmembers(rtnl, inspect.isfunction) if not n.startswith("_")}
    missed = {f.__name__ for f in messages if f.__module__ == rtnl.__name__ and f.__code__ not in ran}
    assert missed <= NOT_REHEARSED
    assert nlsocket.NetlinkSocket.dump.__code__ in ran
    assert descriptors() == before
