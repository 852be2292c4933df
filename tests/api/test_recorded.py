"""The requests of real engines, recorded from 20.10.24, 26.1.5 and 28.5.2, through the application."""

import json
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
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

Call = dict[str, Any]

RECORDINGS = sorted((Path(__file__).parent.parent / "protocol").glob("*.jsonl"))

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


def recorded(path: Path) -> list[Call]:
    """The calls of one recording; its other lines name the steps."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if "path" in line]


ALL_CALLS = [
    pytest.param(call, id=f"{path.stem}-{index}-{call['path'].rpartition('.')[2]}")
    for path in RECORDINGS
    for index, call in enumerate(recorded(path))
]


def supervisors_answer(call: Call) -> Answer:
    """What the supervisor must have said for the recorded response."""
    response = call["response"]
    if "Interface" in response:
        interface = response["Interface"]
        return EndpointCreated(IPv4Interface(interface["Address"]), interface["MacAddress"] or None)
    if "InterfaceName" in response:
        name = response["InterfaceName"]
        return Joined(name["SrcName"], name["DstPrefix"], IPv4Address(response["Gateway"]), ())
    return OperValues(response["Value"]) if "Value" in response else Done()


def without_empty(response: Call) -> Call:
    """An absent field and an empty one are the same to the engine; we leave it out."""
    if "Interface" in response:
        return {"Interface": {key: value for key, value in response["Interface"].items() if value}}
    return response


def test_three_engines_were_recorded() -> None:
    """The other tests of this module are not empty."""
    assert [path.stem for path in RECORDINGS] == ["docker-20.10.24", "docker-26.1.5", "docker-28.5.2"]
    assert len(ALL_CALLS) > 100


@pytest.mark.parametrize("call", ALL_CALLS)
def test_every_recorded_call(call: Call) -> None:
    """Each recorded request becomes one message with its ids, and its answer is the recorded response."""
    client = FakeClient(lambda _body: supervisors_answer(call))
    result = http_over(client).simulate_post(call["path"], body=json.dumps(call["request"]))
    assert (result.status_code, result.json) == (200, without_empty(call["response"]))
    expected = MESSAGES[call["path"][1:]]
    assert [type(body) for body in client.bodies] == ([expected] if expected else [])
    for body in client.bodies:
        for field, key in (("network_id", "NetworkID"), ("endpoint_id", "EndpointID"), ("sandbox_key", "SandboxKey")):
            assert getattr(body, field, None) == call["request"].get(key)


def message(recording: str, method: str, index: int) -> Any:  # noqa: ANN401 one of many messages
    """The message for the index-th call of `method` in a recording."""
    calls = [
        call for call in recorded(RECORDINGS[0].with_stem(recording)) if call["path"] == f"/NetworkDriver.{method}"
    ]
    client = FakeClient(lambda _body: supervisors_answer(calls[index]))
    http_over(client).simulate_post(calls[index]["path"], body=json.dumps(calls[index]["request"]))
    return client.bodies[0]


@pytest.mark.parametrize("recording", [path.stem for path in RECORDINGS])
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
    assert message("docker-20.10.24", "CreateNetwork", 2).pools == (IpamPool("LocalDefault", "172.17.0.0/16"),)


def test_endpoint_options_and_mac() -> None:
    """Endpoint options are the top-level keys that are not the engine's; the MAC is the interface's, as text."""
    messages = [message("docker-26.1.5", "CreateEndpoint", index) for index in range(8)]
    with_mac = [(endpoint.mac, endpoint.options) for endpoint in messages if endpoint.mac]
    assert with_mac == [("02:00:00:00:00:99", {}), ("02:00:00:00:00:98", {"a": "b"})]
    assert {"k": "v"} in [endpoint.options for endpoint in messages]
    assert {endpoint.address for endpoint in messages} == {None}
