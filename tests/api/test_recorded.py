"""The requests of real engines (python3 -m tests.lab record) through the application."""

import json
from ipaddress import IPv4Address, IPv4Interface
from typing import Any

import pytest

from supervisor.contract.messages import (
    Answer,
    CreateEndpoint,
    CreateNetwork,
    DeleteEndpoint,
    DeleteNetwork,
    Done,
    EndpointCreated,
    GetCapabilities,
    IpamPool,
    Join,
    Joined,
    Leave,
    OperInfo,
    OperValues,
)
from tests.api.fakes import FakeClient, http_over
from tests.lab.recordings import DIRECTORY, difference, recorded, recordings

Call = dict[str, Any]

MESSAGES: dict[str, type | None] = {
    "Plugin.Activate": None,
    "NetworkDriver.GetCapabilities": GetCapabilities,
    "NetworkDriver.ProgramExternalConnectivity": None,
    "NetworkDriver.RevokeExternalConnectivity": None,
    "NetworkDriver.CreateNetwork": CreateNetwork,
    "NetworkDriver.DeleteNetwork": DeleteNetwork,
    "NetworkDriver.CreateEndpoint": CreateEndpoint,
    "NetworkDriver.DeleteEndpoint": DeleteEndpoint,
    "NetworkDriver.EndpointOperInfo": OperInfo,
    "NetworkDriver.Join": Join,
    "NetworkDriver.Leave": Leave,
}


ALL_CALLS = [
    pytest.param(call, id=f"{path.stem}-{index}-{call['path'].rpartition('.')[2]}")
    for path in recordings()
    for index, call in enumerate(recorded(path))
]


def supervisors_answer(call: Call) -> Answer:
    """What the supervisor must have said for the recorded response."""
    response = call["response"]
    if "Interface" in response:
        interface = response["Interface"]
        return EndpointCreated(IPv4Interface(interface["Address"]), interface.get("MacAddress"))
    if "InterfaceName" in response:
        name = response["InterfaceName"]
        return Joined(name["SrcName"], name["DstPrefix"], IPv4Address(response["Gateway"]), ())
    return OperValues(response["Value"]) if "Value" in response else Done()


def test_four_engines_were_recorded() -> None:
    """The other tests of this module are not empty."""
    versions = ("20.10.24", "26.1.5", "28.5.2", "29.7.1")
    assert [path.stem for path in recordings()] == [f"docker-{version}" for version in versions]
    assert len(ALL_CALLS) > 400


@pytest.mark.parametrize("call", ALL_CALLS)
def test_every_recorded_call(call: Call) -> None:
    """Each recorded request becomes one message with its ids, and its answer is the recorded response."""
    client = FakeClient(lambda _body: supervisors_answer(call))
    result = http_over(client).simulate_post(call["path"], body=json.dumps(call["request"]))
    assert (result.status_code, result.json) == (200, call["response"])
    expected = MESSAGES[call["path"][1:]]
    assert [type(body) for body in client.bodies] == ([expected] if expected else [])
    for body in client.bodies:
        for field, key in (("network_id", "NetworkID"), ("endpoint_id", "EndpointID"), ("sandbox_key", "SandboxKey")):
            assert getattr(body, field, None) == call["request"].get(key)


def message(recording: str, method: str, index: int) -> Any:  # noqa: ANN401 one of many messages
    """The message for the index-th call of `method` in a recording."""
    calls = [call for call in recorded(DIRECTORY / f"{recording}.jsonl") if call["path"] == f"/NetworkDriver.{method}"]
    client = FakeClient(lambda _body: supervisors_answer(calls[index]))
    http_over(client).simulate_post(calls[index]["path"], body=json.dumps(calls[index]["request"]))
    return client.bodies[0]


@pytest.mark.parametrize("recording", [path.stem for path in recordings()])
def test_network_options_and_pools(recording: str) -> None:
    """The user's options arrive as they are, unknown ones too, without the engine's own; the null pool is seen."""
    created = message(recording, "CreateNetwork", 0)
    assert created.options == {"bridge": "trbr", "foo": "bar"}
    assert created.pools == (IpamPool("null", "0.0.0.0/0"),)


def test_pools_of_both_families() -> None:
    """With --ipv6, engines from 28 on send an IPv6 pool, which the message has behind the IPv4 ones."""
    assert message("docker-28.5.2", "CreateNetwork", 2).pools == (
        IpamPool("null", "0.0.0.0/0"),
        IpamPool("null", "::/0"),
    )


def test_default_ipam_is_seen() -> None:
    """A network without --ipam-driver null is told apart by its address space and pool."""
    assert message("docker-20.10.24", "CreateNetwork", 2).pools == (IpamPool("LocalDefault", "172.18.0.0/16"),)


def test_endpoint_options_and_mac() -> None:
    """Endpoint options are the top-level keys that are not the engine's; the MAC is the interface's, as text."""
    messages = [message("docker-26.1.5", "CreateEndpoint", index) for index in range(8)]
    with_mac = [(endpoint.mac, endpoint.options) for endpoint in messages if endpoint.mac]
    assert with_mac == [("02:00:00:00:00:99", {}), ("02:00:00:00:00:98", {"a": "b"})]
    assert {"k": "v"} in [endpoint.options for endpoint in messages]
    assert {endpoint.address for endpoint in messages} == {None}


IDS = {"NetworkID": "a" * 64, "EndpointID": "b" * 64}
NO_OPTIONS: dict[str, object] = {"com.docker.network.endpoint.exposedports": [], "com.docker.network.portmap": []}
INTERFACE = {"Address": "", "AddressIPv6": "", "MacAddress": ""}
PLAYED = {**IDS, "Interface": INTERFACE, "Options": {**NO_OPTIONS, "id": "web"}}


@pytest.mark.parametrize("engine", ["20.10.24", "29.7.1"])
def test_what_the_played_engine_may_send(engine: str) -> None:
    """What every engine sends passes; a request with a key, a type or a form that none sends does not, as in
    tests/netns/process/fakeengine.py."""
    assert difference(engine, "CreateEndpoint", PLAYED) is None
    assert difference(engine, "Leave", IDS) is None
    for wrong in (
        IDS,
        PLAYED | {"Container": "web"},
        PLAYED | {"Options": {"id": "web"}},
        PLAYED | {"EndpointID": "b" * 12},
        PLAYED | {"Interface": INTERFACE | {"MacAddress": "02:00:00:00:00:99"}},  # without the option of that name
        PLAYED | {"Options": NO_OPTIONS | {"com.docker.network.portmap": [{"Port": 80}]}},
        PLAYED | {"Options": NO_OPTIONS | {"com.docker.network.endpoint.name": "web"}},
    ):
        assert difference(engine, "CreateEndpoint", wrong) is not None
