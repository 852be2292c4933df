"""What users choose of a client and of its link: judged at the server, in a capture, and in the container."""

import re
import time
from ipaddress import IPv4Address

import pytest

from tests.api.unit import reaction
from tests.lab.command import SLACK_SECONDS, wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.network import BRIDGE, LAN, LAN6, SERVER
from tests.netns.process.fakeengine import Container, network_request
from tests.netns.process.rig import Rig
from tests.netns.process.wire import Kind, Option

CLIENTS = ("udhcpc", "native")
BUDGET = 4  # seconds
IFNAME = "com.docker.network.endpoint.ifname"
FQDN = bytes.fromhex("050000") + b"\x07printer\x03lab"  # flags S and E, two unused octets, a partial name: RFC 4702
CLASSLESS = "--dhcp-option=121,10.20.0.0/16,192.168.77.4,0.0.0.0/0,192.168.77.5"


@pytest.mark.parametrize("client", CLIENTS)
def test_identity(rig: Rig, server: DhcpServer, client: str) -> None:
    """The identifier is in every message, the classes and the FQDN are wherever a client describes itself."""
    network = rig.network(client=client, vendor_class="phones", user_class="lab", register_dns="true")
    container = rig.joined(network, {"client_id": "01:02:03:04:05", "hostname": "printer.lab"})
    (lease,) = server.leases()
    assert (lease.client_id, lease.hostname) == ("01:02:03:04:05", "printer")
    rig.renew(container)
    container.stop()

    packets = [frame.packet for frame in rig.capture.frames(container.mac)]
    assert {p.options[Option.CLIENT_ID].hex(":") for p in packets} == {"01:02:03:04:05"}
    assert [p.kind for p in packets].count(Kind.RELEASE) == 1
    asking = [p for p in packets if p.kind in (Kind.DISCOVER, Kind.REQUEST)]
    assert {(p.options[Option.VENDOR_CLASS], p.options[Option.USER_CLASS]) for p in asking} == {(b"phones", b"\3lab")}
    assert {p.options[Option.CLIENT_FQDN] for p in asking} == {FQDN}
    assert not any(p.hostname for p in packets)


def test_vendor_class_of_a_container(rig: Rig, server: DhcpServer) -> None:
    """It replaces the network's, and a server chooses options by it."""
    server.restart(ServerOptions(extra=("--dhcp-vendorclass=set:phone,phones", f"--dhcp-option=tag:phone,3,{LAN[8]}")))
    network = rig.network(vendor_class="printers")
    phone, printer = rig.joined(network, {"vendor_class": "phones"}), rig.joined(network)
    assert [c.default_route.split()[2] for c in (phone, printer)] == [str(LAN[8]), str(SERVER)]


def test_classes_and_address_over_ipv6(rig: Rig, server: DhcpServer) -> None:
    """A DHCPv6 server knows a client by its classes (RFC 8415 sections 21.15 and 21.16), and leases the address that a
    container asks for."""
    rig.machine.serve_ipv6()
    classes = ("--dhcp-vendorclass=set:phone,enterprise:0,phones", "--dhcp-userclass=set:lab,lab")
    server.restart(ServerOptions(ipv6=Ipv6Options(), extra=classes))
    asked = LAN6[0x1ABC]
    network = rig.network(ipv6="true", vendor_class="printers", user_class="lab")
    phone, printer = rig.joined(network, {"vendor_class": "phones", "ip6": str(asked)}), rig.joined(network)

    assert phone.address6 == f"{asked}/128"
    assert {lease.duid: lease.address for lease in server.leases6()}[phone.duid] == asked
    assert {"phone", "lab"} <= tags(server, phone)
    assert tags(server, printer) & {"phone", "lab"} == {"lab"}
    known = len(server.messages6(phone.duid, "RENEW"))
    rig.restart_worker(phone)
    wait_until(lambda: len(server.messages6(phone.duid, "RENEW")) > known, "a renewal")
    wait_until(lambda: "phone" in tags(server, phone, "RENEW"), "what the server says of it")


def tags(server: DhcpServer, container: Container, kind: str | None = None) -> set[str]:
    """What a server has made of a client's DHCPv6 messages, of one kind where that is given."""
    transactions = {str(message.xid) for message in server.messages6(container.duid, kind)}
    found = re.findall(r": (\d+) tags: (.+)", server.log())
    return {tag for transaction, words in found if transaction in transactions for tag in words.split(", ")}


def test_identity_of_the_longest_values(rig: Rig, server: DhcpServer) -> None:
    """udhcpc drops what does not fit into its packet: all that may be chosen fits."""
    network = rig.network(vendor_class="v" * 64, user_class="u" * 64, register_dns="true")
    container = rig.joined(network, {"client_id": "c" * 63, "hostname": "h" * 62 + ".n"})
    rig.renew(container)

    asking = [f.packet for f in rig.capture.frames(container.mac)]
    chosen = {Option.CLIENT_ID, Option.VENDOR_CLASS, Option.USER_CLASS, Option.CLIENT_FQDN, Option.PARAMETERS}
    assert len(asking) >= 5  # two exchanges and a renewal
    assert all(chosen <= p.options.keys() for p in asking)
    assert len(server.leases()) == 1


def test_identifiers_of_a_network(rig: Rig, server: DhcpServer) -> None:
    """One template makes a client of each container; one identifier for two containers is refused."""
    network = rig.network(client_id="rack-{mac}")
    one, other = rig.joined(network), rig.joined(network)
    ids = {lease.mac: bytes.fromhex(lease.client_id.replace(":", "")) for lease in server.leases()}
    assert ids == {c.mac: b"\0rack-" + c.mac.encode() for c in (one, other)}

    third = rig.container(network)
    third.options = {"client_id": f"rack-{one.mac}"}
    answer = third.create()
    assert answer.status != 200
    assert "option client_id: this identifier is in use on this network" in answer.error


@pytest.mark.parametrize("client", CLIENTS)
def test_interface_name(rig: Rig, server: DhcpServer, client: str) -> None:
    """An engine that takes the whole name gives it to the link: the lease is renewed and released there, by a
    successor, too, and operators see the name."""
    container = rig.joined(rig.network(client=client), {IFNAME: "uplink"}, early_sandbox=True)
    assert (container.view["interface"], container.inet) == ("uplink", [container.address])
    rig.renew(container)
    assert rig.engine.get("/healthz")["problems"] == []
    rig.restart_worker(container)
    rig.renew(container)
    assert (container.view["interface"], container.inet) == ("uplink", [container.address])
    assert "its interface is called" not in rig.plugin.log
    container.stop()
    assert len(rig.capture.frames(container.mac, Kind.RELEASE)) == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_gateway(rig: Rig, server: DhcpServer, client: str) -> None:
    """The user's gateway, or none, is there from the start and after each renewal, whatever the server says."""
    network = rig.network(client=client, gateway=str(LAN[9]))
    own, none = rig.joined(network), rig.joined(network, {"gateway": "none"})
    servers = rig.joined(network, {"gateway": "lease"})
    for options in (ServerOptions(router=LAN[3]), ServerOptions(extra=(CLASSLESS,))):
        assert own.default_route.split()[:3] == ["default", "via", str(LAN[9])]
        assert none.default_route == ""
        server.restart(options)
        for container in (own, none, servers):
            rig.renew(container)

    assert [c.view["gateway"] for c in (own, none, servers)] == [str(LAN[9]), None, str(LAN[5])]
    assert own.default_route.split()[:3] == ["default", "via", str(LAN[9])]
    assert none.default_route == ""
    assert servers.default_route.split()[:3] == ["default", "via", str(LAN[5])]
    assert all(f"10.20.0.0/16 via {LAN[4]}" in c.inside("ip", "route") for c in (own, none, servers))


def test_gateway_outside_of_the_subnet(rig: Rig, server: DhcpServer) -> None:
    """It is reached over the link, as the lease's would be; Docker is told so."""
    far = IPv4Address("10.99.0.1")
    container = rig.container(rig.network(gateway=str(far)))
    container.create()
    joined = container.join()
    assert joined.body["Gateway"] == str(far)
    assert joined.body["StaticRoutes"] == [{"Destination": f"{far}/32", "RouteType": 1}]
    container.attach(joined)
    rig.wait_for_bound(container)
    assert container.default_route.split()[:3] == ["default", "via", str(far)]


def test_no_gateway_is_told(rig: Rig, server: DhcpServer) -> None:
    """The engine would add a link of its own to a container without a gateway, unless it is told not to."""
    container = rig.container(rig.network(gateway="none"))
    container.create()
    answer = container.join().body
    assert ("Gateway" in answer, answer["DisableGatewayService"]) == (False, True)


@pytest.mark.parametrize("client", CLIENTS)
def test_what_else_the_server_says(rig: Rig, server: DhcpServer, client: str) -> None:
    """Name servers, domain and time servers (options 6, 15 and 42) are shown."""
    extra = (f"--dhcp-option=6,{LAN[5]},{LAN[6]}", f"--dhcp-option=42,{LAN[7]}")
    server.restart(ServerOptions(extra=extra))
    view = rig.joined(rig.network(client=client)).view
    assert (view["dns"], view["domain"], view["ntp"]) == ([str(LAN[5]), str(LAN[6])], "lan", [str(LAN[7])])


def test_server_that_is_asked_for(rig: Rig, server: DhcpServer) -> None:
    """validate_dhcp finds a server by a DISCOVER, and leaves neither a lease nor a link."""
    links = rig.machine.links()
    rig.network(validate_dhcp="true", vendor_class="phones")

    (frame,) = rig.capture.frames()
    assert (frame.packet.kind, frame.packet.options[Option.VENDOR_CLASS]) == (Kind.DISCOVER, b"phones")
    assert server.kinds(frame.mac) == ["DISCOVER", "OFFER"]
    assert not server.leases()
    assert rig.machine.links() == links


def test_server_on_a_card(rig: Rig, server: DhcpServer, card: str) -> None:
    """It is found by a macvlan of the parent as well, which is gone afterwards."""
    links = rig.machine.links()
    rig.network(parent=card, validate_dhcp="true")
    assert rig.capture.kinds(rig.capture.frames()[0].mac) == [Kind.DISCOVER]
    assert (server.leases(), rig.machine.links()) == ([], links)


def test_dhcpv6_server(rig: Rig, server: DhcpServer) -> None:
    """With ipv6=only a DHCPv6 server has to answer, and is asked for no address."""
    rig.machine.serve_ipv6()
    server.restart(ServerOptions(ipv6=Ipv6Options()))
    rig.network(ipv6="only", validate_dhcp="true")
    assert "DHCPINFORMATION-REQUEST" in server.log()
    assert "DHCPSOLICIT" not in server.log()
    rig.clean()
    server.restart()
    options = {"bridge": BRIDGE, "ipv6": "only", "validate_dhcp": "true", "lease_timeout": "1s"}
    answer = rig.engine.call("CreateNetwork", network_request("f" * 64, options))
    assert f"option validate_dhcp: no REPLY on {BRIDGE} in 1 s (" in answer.error


def test_server_that_is_not_there(rig: Rig) -> None:
    """The network is refused in the words of a start that gets no lease; the plugin answers others meanwhile."""
    links = rig.machine.links()
    options = {"bridge": BRIDGE, "validate_dhcp": "true", "lease_timeout": f"{BUDGET}s"}

    begun = time.monotonic()
    with rig.engine.send("CreateNetwork", network_request("f" * 64, options)) as creating:
        rig.wait_for_frames(1)
        assert rig.engine.get("/healthz")["networks"] == 0
        assert time.monotonic() - begun < BUDGET
        answer = reaction(creating)

    assert (answer.status, BUDGET <= time.monotonic() - begun < BUDGET + SLACK_SECONDS) == (500, True)
    error = answer.json["Err"]
    assert f"option validate_dhcp: no DHCPOFFER on {BRIDGE} in {BUDGET} s (" in error
    assert "is there a DHCP server on this LAN" in error
    assert rig.engine.get("/healthz")["networks"] == 0
    assert rig.machine.links() == links
