"""What a worker hands from turn to turn is all that it has, and small enough whatever a server sends."""

import ast
import inspect
import os
import textwrap
from collections import defaultdict
from dataclasses import fields
from multiprocessing import Pipe

import pytest
from msgspec.inspect import CustomType

from tests.workers.entry.parts import PARTS, STATE
from workers.contract.client_identity import ClientIdentity
from workers.contract.lease import Family
from workers.contract.link import LinkKind, LinkSpec
from workers.contract.messages import Attach, EndpointSpec
from workers.dhcp.machine import MAX_UNRELEASED
from workers.dhcp4.lease_parser import MAX_ITEMS, parse_lease
from workers.dhcp4.udhcpc import MAX_LINE_BYTES, MAX_RECORD_BYTES
from workers.endpoint.worker import Worker
from workers.entry.handover import ADDRESSES, MAKERS, MAX_STATE_BYTES, pack, unpack

MAC = "02:00:00:00:00:01"
IDENTITY = ClientIdentity.of_mac(MAC, "h" * 63)
SPEC = EndpointSpec("n" * 64, "e" * 64, LinkSpec(LinkKind.BRIDGE, "b" * 15), MAC, IDENTITY, 10.0)
# Held, on the link, watched at udhcpc, probed for, remembered, and of our own client the one it has and it asks for.
LEASES = MAX_UNRELEASED + 7
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


def assigned(kind: type) -> dict[str, set[str]]:
    """The attributes that the methods of a class give to an object of it, each with the methods' names."""
    found = defaultdict[str, set[str]](set)
    for one in (one for one in kind.__mro__ if one.__module__.startswith("workers.")):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
        assert isinstance(body, ast.ClassDef)
        for method in (part for part in body.body if isinstance(part, ast.FunctionDef)):
            for node in ast.walk(method):
                match node:
                    case ast.Attribute(ast.Name("self"), name, ast.Store()):
                        found[name].add(method.name)
    return found


def test_only_known_types() -> None:
    """The handover can write and read all that a worker's state is declared to consist of."""
    assert Worker in PARTS
    custom = {info.cls for info in STATE if isinstance(info, CustomType)}
    assert custom == {*MAKERS, *ADDRESSES}


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
def test_nothing_is_forgotten(part: type) -> None:
    """Each attribute that a part has is a field, and so handed over, or is made anew by `bind`."""
    handed_over = {one.name for one in fields(part)}
    made = {name for name, methods in assigned(part).items() if "bind" in methods}
    assert assigned(part).keys() <= handed_over | made
    assert not handed_over & made


def test_largest_leases() -> None:
    """A worker with several leases of which each is as large as can be, and the rest of two pipes, has room."""
    leases = [parse_lease(most_words(third), 1.0) for third in range(LEASES)]
    assert {len(leases[0].routers), len(leases[0].classless), len(leases[0].static), len(leases[0].dns)} == {MAX_ITEMS}
    ours, theirs = Pipe()
    with theirs:
        worker = Worker(SPEC, ours, leases[:1], {Family.IPV4})
        worker._attach = Attach("/" + "s" * 255, "h" * 63, None)
        state, numbers = pack(worker)
        size = len(state) + len(pack(leases)[0])
        assert size + MAX_RECORD_BYTES + MAX_LINE_BYTES < MAX_STATE_BYTES
        again = unpack(state, [os.dup(number) for number in numbers], Worker)
        assert again._ipv4 is not None
        assert again._ipv4.lease == leases[0]
        for one in (worker, again):
            one.close()
