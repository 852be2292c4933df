"""Malformed requests: each is refused with a text that says what is wrong, before the supervisor hears of it."""

import json

import pytest
from falcon.testing import Result

from api.app import BODY_LIMIT_BYTES
from tests.api.fakes import ENDPOINT_ID, NETWORK_ID, SANDBOX_KEY, FakeClient, http_over

NETWORK = {"NetworkID": NETWORK_ID}
IDS = {**NETWORK, "EndpointID": ENDPOINT_ID}
EXPOSED = "com.docker.network.endpoint.exposedports"
GENERIC = "com.docker.network.generic"


def with_interface(**interface: object) -> bytes:
    """A CreateEndpoint whose interface has these fields."""
    return json.dumps({**IDS, "Interface": interface}).encode()


def with_options(options: object) -> bytes:
    """A CreateEndpoint or CreateNetwork with these options."""
    return json.dumps({**IDS, "Options": options}).encode()


def with_sandbox(key: object) -> bytes:
    """A Join with this sandbox key."""
    return json.dumps({**IDS, "SandboxKey": key}).encode()


def with_ids(network_id: object, endpoint_id: object = ENDPOINT_ID) -> bytes:
    """A Leave, or a prefix of most other calls, with these ids."""
    return json.dumps({"NetworkID": network_id, "EndpointID": endpoint_id}).encode()


MALFORMED = [
    # bodies that are no JSON object
    ("Leave", b"", "start the container again"),
    ("Leave", b" \r\n", "start the container again"),
    ("Leave", b'{"NetworkID": "nnnn', "not valid JSON"),
    ("Leave", b'{"NetworkID": "\xff\xfe"}', "not valid JSON"),
    ("Leave", json.dumps(IDS).encode("utf-16"), "not valid JSON"),
    ("Leave", b"NetworkID=1&EndpointID=2", "not valid JSON"),
    ("Leave", b"<html></html>", "not valid JSON"),
    ("Leave", json.dumps(IDS).encode() * 2, "not valid JSON"),
    ("Leave", b'{"NetworkID": ' + b"1" * 5000 + b"}", "not valid JSON"),
    ("Leave", b"[" * 100_000, "nested too deeply"),
    ("Leave", b'{"a":' * 100_000, "nested too deeply"),
    ("Leave", b"null", "JSON object, got null"),
    ("Leave", b"[]", "JSON object, got array"),
    ("Leave", b'"text"', "JSON object, got string"),
    ("Leave", b"3", "JSON object, got number"),
    ("Leave", b"true", "JSON object, got boolean"),
    # ids
    ("Leave", b"{}", "NetworkID must be a non-empty string, got null"),
    ("Leave", b'{"networkid": "a"}', "NetworkID must be a non-empty string, got null"),
    ("DeleteNetwork", b'{"NetworkID": ""}', "NetworkID must be a non-empty string"),
    ("DeleteNetwork", with_ids(7), "NetworkID must be a string"),
    ("DeleteNetwork", with_ids({"id": 1}), "NetworkID must be a string of printable characters, got object"),
    ("DeleteNetwork", with_ids("abc"), "NetworkID must be an id"),
    ("DeleteNetwork", with_ids("n" * 65), "NetworkID must be an id"),
    ("DeleteNetwork", with_ids("N" * 64), "NetworkID must be an id"),
    ("DeleteEndpoint", with_ids(NETWORK_ID, "../../../etc/passwd"), "EndpointID must be an id"),
    ("DeleteEndpoint", with_ids(NETWORK_ID, ENDPOINT_ID + "\n"), "EndpointID must be a string of printable"),
    ("EndpointOperInfo", with_ids(NETWORK_ID, "eeeeeeeeeeee/../x"), "EndpointID must be an id"),
    ("EndpointOperInfo", with_ids(NETWORK_ID, "\u0663" * 12), "EndpointID must be an id"),
    ("EndpointOperInfo", with_ids(NETWORK_ID, "a\0" * 12), "EndpointID must be a string of printable"),
    # interfaces
    ("CreateEndpoint", json.dumps({**IDS, "Interface": "eth0"}).encode(), "Interface must be an object, got string"),
    ("CreateEndpoint", with_interface(MacAddress=5), "Interface.MacAddress must be a string"),
    ("CreateEndpoint", with_interface(MacAddress="AgAAAACZ"), "Interface.MacAddress must be a unicast MAC"),
    ("CreateEndpoint", with_interface(MacAddress="01:00:5e:00:00:01"), "Interface.MacAddress must be a unicast MAC"),
    ("CreateEndpoint", with_interface(MacAddress="00:00:00:00:00:00"), "Interface.MacAddress must be a unicast MAC"),
    ("CreateEndpoint", with_interface(MacAddress="02:00:00:00:00:01:02"), "Interface.MacAddress must be a unicast"),
    ("CreateEndpoint", with_interface(Address="192.0.2.7"), "Interface.Address must be an IPv4 address with prefix"),
    ("CreateEndpoint", with_interface(Address="192.0.2.7/255.255.255.0"), "Interface.Address must be an IPv4"),
    ("CreateEndpoint", with_interface(Address="192.0.2.7/33"), "Interface.Address must be an IPv4 address"),
    ("CreateEndpoint", with_interface(Address="2001:db8::1/64"), "Interface.Address must be an IPv4 address"),
    ("CreateEndpoint", with_interface(AddressIPv6="192.0.2.1/24"), "AddressIPv6 must be an IPv6 address"),
    # options
    ("CreateEndpoint", with_options([]), "Options must be an object, got array"),
    ("CreateEndpoint", with_options({"ip": 5}), "Options.ip must be a string of printable characters, got number 5"),
    ("CreateEndpoint", with_options({"ip": None}), "Options.ip must be a string, got null"),
    ("CreateEndpoint", with_options({"ip": "a\nb"}), "Options.ip must be a string of printable characters"),
    ("CreateEndpoint", with_options({"ip": "\ud800"}), "Options.ip must be a string of printable characters"),
    ("CreateEndpoint", with_options({"a\nb": "c"}), "the name of Options.a\\nb must be of printable characters"),
    ("CreateEndpoint", with_options({EXPOSED: {}}), f"Options.{EXPOSED} must be an array of objects"),
    ("CreateEndpoint", with_options({EXPOSED: [80]}), f"Options.{EXPOSED} must be an array of objects"),
    ("CreateEndpoint", with_options({EXPOSED: [{"Proto": 6}]}), f"Options.{EXPOSED}[0].Port must be an integer"),
    ("CreateEndpoint", with_options({EXPOSED: [{"Proto": 6, "Port": 65536}]}), "Port must be an integer from 0 to"),
    ("CreateEndpoint", with_options({EXPOSED: [{"Proto": True, "Port": 1}]}), "Proto must be an integer from 0 to"),
    ("CreateNetwork", with_options({GENERIC: "bridge"}), f"Options.{GENERIC} must be an object"),
    ("CreateNetwork", with_options({GENERIC: {"bridge": ["br0"]}}), f"Options.{GENERIC}.bridge must be a string"),
    ("CreateNetwork", with_options({GENERIC: {"bridge": "br\0"}}), f"Options.{GENERIC}.bridge must be a string"),
    ("CreateNetwork", json.dumps({**NETWORK, "IPv4Data": {}}).encode(), "IPv4Data must be an array of objects"),
    ("CreateNetwork", json.dumps({**NETWORK, "IPv6Data": [{}]}).encode(), "IPv6Data[0].AddressSpace must be"),
    ("CreateNetwork", json.dumps({**NETWORK, "IPv4Data": [{"AddressSpace": "null"}]}).encode(), "IPv4Data[0].Pool"),
    # sandbox keys
    ("Join", json.dumps(IDS).encode(), "SandboxKey must be a non-empty string, got null"),
    ("Join", with_sandbox(["/netns/a"]), "SandboxKey must be a string"),
    ("Join", with_sandbox("netns/0123456789ab"), "SandboxKey must be an absolute path"),
    ("Join", with_sandbox("/var/run/docker/0123456789ab"), "SandboxKey must be an absolute path"),
    ("Join", with_sandbox("/var/run/docker/netns/"), "SandboxKey must be an absolute path"),
    ("Join", with_sandbox("/var/run/docker/netns/.."), "SandboxKey must be an absolute path"),
    ("Join", with_sandbox("/var/run/../netns/a"), "SandboxKey must be an absolute path"),
    ("Join", with_sandbox("//var/run/netns/a"), "SandboxKey must be an absolute path"),
    ("Join", with_sandbox("/var/./netns/a"), "SandboxKey must be an absolute path"),
    ("Join", with_sandbox("/netns/a\0b"), "SandboxKey must be a string of printable characters"),
    ("Join", with_sandbox("/netns/a b"), "SandboxKey must be an absolute path"),
]


def post(client: FakeClient, method: str, body: bytes, headers: dict[str, str] | None = None) -> Result:
    """One call of the plugin protocol."""
    return http_over(client).simulate_post(f"/NetworkDriver.{method}", body=body, headers=headers)


@pytest.mark.parametrize(("method", "body", "text"), MALFORMED, ids=range(len(MALFORMED)))
def test_malformed(method: str, body: bytes, text: str) -> None:
    """The status is 400, the answer is an Err that names the field, and nothing reached the supervisor."""
    client = FakeClient()
    result = post(client, method, body)
    assert result.status_code == 400
    assert list(result.json) == ["Err"]
    assert text in result.json["Err"]
    assert len(result.json["Err"]) < 400
    assert client.calls == []


@pytest.mark.parametrize("method", ["CreateNetwork", "CreateEndpoint", "Join"])
def test_the_repeat_of_a_broken_call_is_explained(method: str) -> None:
    """Engines repeat a call without its body; that neither is a second call nor ends in a riddle."""
    client = FakeClient()
    assert "the engine repeats a call" in post(client, method, b"").json["Err"]
    assert client.calls == []


def test_body_over_the_limit() -> None:
    """A body of 10 MB is 413, even if its beginning alone would be valid."""
    client = FakeClient()
    result = post(client, "Leave", json.dumps(IDS).encode() + b" " * 10_000_000)
    assert (result.status_code, list(result.json)) == (413, ["Err"])
    assert client.calls == []


def test_body_at_the_limit() -> None:
    """The limit itself is allowed."""
    client = FakeClient()
    body = json.dumps(IDS).encode()
    assert post(client, "Leave", body.ljust(BODY_LIMIT_BYTES)).status_code == 200
    assert len(client.calls) == 1


def test_body_shorter_than_announced() -> None:
    """A truncated body is refused though what came of it is valid JSON."""
    client = FakeClient()
    result = post(client, "Leave", json.dumps(IDS).encode(), headers={"Content-Length": "5000"})
    assert result.status_code == 400
    assert "of 5000 bytes" in result.json["Err"]
    assert client.calls == []


def test_sandbox_key_that_is_well_formed_passes() -> None:
    """The table's refusals are not the refusal of everything."""
    client = FakeClient()
    post(client, "Join", with_sandbox(SANDBOX_KEY))
    assert len(client.calls) == 1
