"""What a worker hands from turn to turn is listed, and small enough whatever a server sends."""

import os
from multiprocessing import Pipe

from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import Attach, EndpointSpec
from workers.dhcp.machine import MAX_UNRELEASED
from workers.dhcp4.lease_parser import MAX_ITEMS, parse_lease
from workers.dhcp4.udhcpc import MAX_LINE_BYTES, MAX_RECORD_BYTES
from workers.endpoint.worker import Worker
from workers.entry.handover import MAX_STATE_BYTES, pack, unpack
from workers.entry.state import TYPES

MAC = "02:00:00:00:00:01"
IDENTITY = ClientIdentity.of_mac(MAC, "h" * 63)
SPEC = EndpointSpec("n" * 64, "e" * 64, LinkSpec(LinkKind.BRIDGE, "b" * 15), MAC, IDENTITY, 10.0)
LEASES = MAX_UNRELEASED + 6  # held, renewed, probed for, remembered, asked for, and told of at udhcpc's end
LONGEST_DOMAIN = ".".join(["d" * 62] * 4)


def most_words(third: int) -> dict[str, str]:
    """A lease whose lists are as long as they may be, without an address twice."""
    hosts = [f"10.{third}.{number}.7" for number in range(4 * MAX_ITEMS)]
    routers, servers, hops, targets = (hosts[i::4] for i in range(4))
    return {
        "ip": f"10.{third}.0.1",
        "subnet": "255.0.0.0",
        "lease": "600",
        "serverid": "10.0.0.1",
        "router": " ".join(routers),
        "dns": " ".join(servers),
        "staticroutes": " ".join(f"{target}/32 {hop}" for target, hop in zip(targets, hops, strict=True)),
        "routes": " ".join(f"{target}/{hop}" for target, hop in zip(hops, targets, strict=True)),
        "domain": LONGEST_DOMAIN,
        "mtu": "1500",
    }


def test_largest_leases() -> None:
    """A worker with several leases of which each is as large as can be, and the rest of two pipes, has room."""
    leases = [parse_lease(most_words(third), 1.0) for third in range(LEASES)]
    assert {len(leases[0].routers), len(leases[0].classless), len(leases[0].static), len(leases[0].dns)} == {MAX_ITEMS}
    ours, theirs = Pipe()
    with ours, theirs:
        worker = Worker(SPEC, ours, leases[:1], {Family.IPV4})
        worker._attach = Attach("/" + "s" * 255, "h" * 63, None)
        state, numbers = pack((worker, leases))
        assert len(state) + MAX_RECORD_BYTES + MAX_LINE_BYTES < MAX_STATE_BYTES
        again, same = unpack(state, [os.dup(number) for number in numbers], TYPES)
        assert same == leases
        again._channel.close()
        for one in (worker, again):
            one._alarm.close()
