"""Our DHCPv6 client before real servers and routers: what they see, lease and get back."""

import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path

import pytest

from tests.lab.command import SLACK_SECONDS, wait_until
from tests.lab.dhcp import DhcpServer, Ipv6Options, ServerOptions
from tests.lab.kea6 import Kea6, Kea6Options
from tests.lab.network import BRIDGE, LAN6, SERVER6
from tests.lab.radvd import Advertised, Radvd
from tests.netns.lan import CONTAINER_LINK, MAC, SPEC, run
from workers.contract.client_identity import ClientIdentity
from workers.contract.errors import NoLease, ReleaseError
from workers.contract.lease import Lease6
from workers.contract.messages import ConflictCheck, EndpointSpec, Ipv6
from workers.dhcp.effects import Configured, Granted, Refused
from workers.dhcp.first_lease import Acquired
from workers.dhcp.native import Report
from workers.dhcp6 import machine
from workers.dhcp6.first_lease import Exchange6, machine_for
from workers.dhcp6.machine import Machine
from workers.dhcp6.native import NativeClient6
from workers.dhcp6.packet_socket import PacketSocket6
from workers.dhcp6.release import decline, release
from workers.dhcp6.router_advertisement import eui64
from workers.link.placement6 import Placement6
from workers.link.veth_bridge import VethOnBridge
from workers.netlink.operations import Netlink
from workers.system.clock import boottime
from workers.system.namespaces import Namespace, new_namespace
from workers.system.poll import ready

pytestmark = pytest.mark.netns
IDENTITY = ClientIdentity.of_mac(MAC, "web")
DUID = IDENTITY.duid.hex(":")
SPEC6 = replace(SPEC, client_identity=IDENTITY, lease_timeout=3.0, ipv6=Ipv6.DHCP)
ROUTER = IPv6Address("fe80::1")
OTHER = IPv6Network("fd00:88::/64")
SLAAC = eui64(LAN6, MAC)
FOREIGN_PORT = "up1"  # the far end of the machine's uplink: another place of the LAN


@pytest.fixture(name="lan6")
def _lan6() -> Iterator[None]:
    """A machine whose bridge is the LAN's router and has its servers; the endpoint's link is there, on the host."""
    with new_namespace() as namespace, namespace.visit():
        run("sysctl -q net.ipv6.conf.all.forwarding=1")
        run(f"ip link add {BRIDGE} type bridge stp_state 0 mcast_snooping 0")
        run(f"ip link add up0 address 02:00:00:00:00:01 master {BRIDGE} up type veth peer name {FOREIGN_PORT}")
        for name, link_local in ((BRIDGE, ROUTER), (FOREIGN_PORT, ROUTER + 1)):
            run(f"ip link set {name} addrgenmode none")
            run(f"ip link set {name} up")
            run(f"ip addr add {link_local}/64 dev {name} nodad")
        run(f"ip addr add {SERVER6}/64 dev {BRIDGE} nodad")
        run(f"ip addr add 192.168.77.1/24 dev {BRIDGE}")
        with Netlink() as netlink:
            VethOnBridge(SPEC6).make(netlink)
        yield


@pytest.fixture(name="dnsmasq")
def _dnsmasq(lan6: None, tmp_path: Path) -> Iterator[DhcpServer]:
    """Not started yet."""
    dnsmasq = DhcpServer(tmp_path, None, BRIDGE)
    yield dnsmasq
    dnsmasq.stop()


@pytest.fixture(name="kea")
def _kea(lan6: None, tmp_path: Path) -> Iterator[Kea6]:
    """With its usual options."""
    kea = Kea6(tmp_path / "kea", None, BRIDGE)
    kea.start()
    yield kea
    kea.stop()


@pytest.fixture(name="radvd")
def _radvd(lan6: None, tmp_path: Path) -> Iterator[Radvd]:
    """Not started yet."""
    radvd = Radvd(tmp_path / "radvd", None, BRIDGE)
    yield radvd
    radvd.stop()


def acquire(spec: EndpointSpec = SPEC6, interface: str = CONTAINER_LINK) -> Acquired[Lease6]:
    """A first lease, as a worker obtains it. Raises NoLease."""
    begun = boottime()
    with PacketSocket6(interface, MAC) as packet_socket:
        exchange = Exchange6(spec, machine_for(spec, begun), packet_socket, interface, begun)
        try:
            while exchange.acquired is None:
                now = boottime()
                if now >= begun + spec.lease_timeout:
                    raise exchange.failure()
                ready(exchange.sources(), max(0.0, min(exchange.next_at or now, begun + spec.lease_timeout) - now))
                exchange.step(boottime())
            exchange.release_others()
        except BaseException:
            exchange.close()
            raise
        return exchange.acquired


def lease_of(spec: EndpointSpec = SPEC6) -> Lease6:
    """As `acquire`, without the rest."""
    acquired = acquire(spec)
    acquired.probe.forget()
    return acquired.lease


def refusal(spec: EndpointSpec) -> str:
    """Why there is no lease."""
    with pytest.raises(NoLease) as raised:
        acquire(spec)
    return str(raised.value)


def reports(driven: Machine, *, moved: bool = False) -> list[Report[Lease6]]:
    """What the client in the sandbox tells after the next message that is due, and its answer."""
    client = NativeClient6(CONTAINER_LINK, driven)
    if moved:
        client.moved()
    found = client.due()
    while client.sources() and ready(client.sources(), 2.0):
        found += client.read()
    client.close()
    return found


def held(lease: Lease6, *, confirm: bool = True) -> Machine:
    """A machine that has the lease."""
    client = Machine(MAC, IDENTITY)
    client.hold(lease, boottime(), confirm=confirm)
    return client


def test_whole_life_with_dnsmasq(dnsmasq: DhcpServer) -> None:
    """Two messages make a lease with name and DUID at the server; it is renewed, and given back by one RELEASE."""
    dnsmasq.start(ServerOptions(ipv6=Ipv6Options()))
    acquired = acquire()
    acquired.probe.forget()
    lease = acquired.lease
    assert dnsmasq.kinds6(DUID) == ["SOLICIT", "REPLY"]
    (known,) = dnsmasq.leases6()
    assert (known.address, known.hostname, known.duid, known.iaid) == (lease.address.ip, "web", DUID, IDENTITY.iaid)
    assert (lease.address.network.prefixlen, lease.duration, lease.preferred) == (128, 120, 120)
    assert (lease.dns, acquired.confirmed) == ((SERVER6,), True)

    (renewed,) = reports(held(lease))

    assert isinstance(renewed, Granted)
    assert (renewed.lease.address, renewed.lease.duration, renewed.fresh) == (lease.address, 120, False)
    assert dnsmasq.kinds6(DUID)[2:] == ["RENEW", "REPLY"]
    release(CONTAINER_LINK, MAC, lease, IDENTITY)
    assert not dnsmasq.leases6()
    assert dnsmasq.kinds6(DUID).count("RELEASE") == 1


def test_whole_life_with_kea(kea: Kea6) -> None:
    """Four messages, as Kea does not commit at once; T1, T2 and both lifetimes are the server's."""
    lease = lease_of()
    assert kea.kinds(DUID) == ["SOLICIT", "ADVERTISE", "REQUEST", "REPLY"]
    (known,) = kea.leases()
    assert (known.address, known.duid, known.iaid) == (lease.address.ip, DUID, IDENTITY.iaid)
    assert known.hostname.rstrip(".") == "web"
    assert (lease.renewal, lease.rebinding, lease.preferred, lease.duration) == (10, 25, 40, 60)

    (renewed,) = reports(held(lease))

    assert isinstance(renewed, Granted)
    assert kea.kinds(DUID)[4:] == ["RENEW", "REPLY"]
    release(CONTAINER_LINK, MAC, lease, IDENTITY)
    assert not kea.leases()
    assert kea.kinds(DUID)[6:] == ["RELEASE", "REPLY"]


def test_rapid_commit_with_kea(kea: Kea6) -> None:
    """It is used where the server offers it."""
    kea.restart(Kea6Options(rapid_commit=True))
    lease_of()
    assert kea.kinds(DUID) == ["SOLICIT", "REPLY"]


def test_twenty_restarts(kea: Kea6) -> None:
    """One identity has one address at a time, in each life that of the one before, and each is given back once.

    Kea would give another one by itself.
    """
    spec, addresses = SPEC6, set()
    for _ in range(20):
        lease = lease_of(spec)
        spec = replace(SPEC6, requested6=lease.address.ip)
        addresses.add(lease.address.ip)
        assert len(kea.leases()) == 1
        release(CONTAINER_LINK, MAC, lease, IDENTITY)
        assert not kea.leases()
    assert len(addresses) == 1
    assert kea.kinds(DUID).count("RELEASE") == 20


def test_remembered(kea: Kea6) -> None:
    """One REBIND makes a start, and a server that has lost the lease makes it anew."""
    first = lease_of()
    again = lease_of(replace(SPEC6, remembered6=first))
    assert kea.kinds(DUID)[4:] == ["REBIND", "REPLY"]
    assert again.address == first.address

    kea.stop()
    kea.lease_file.unlink()
    kea.start()
    again = lease_of(replace(SPEC6, remembered6=first))
    assert again.address == first.address
    assert kea.kinds(DUID)[6:] == ["REBIND", "REPLY"]
    assert [lease.address for lease in kea.leases()] == [first.address.ip]


def test_remembered_by_dnsmasq(dnsmasq: DhcpServer) -> None:
    """As with Kea; a lost lease is made anew by the REBIND itself."""
    dnsmasq.start(ServerOptions(ipv6=Ipv6Options()))
    first = lease_of()
    dnsmasq.stop()
    dnsmasq.lease_file.unlink()
    dnsmasq.start(ServerOptions(ipv6=Ipv6Options()))
    assert lease_of(replace(SPEC6, remembered6=first)).address == first.address
    assert [lease.address for lease in dnsmasq.leases6()] == [first.address.ip]


def test_remembered_without_a_server(kea: Kea6) -> None:
    """After a second of silence the lease is used as it is."""
    first = lease_of()
    kea.stop()
    acquired = acquire(replace(SPEC6, remembered6=first))
    acquired.probe.forget()
    assert (acquired.lease.address, acquired.confirmed) == (first.address, False)


def test_confirm(kea: Kea6) -> None:
    """After a link change the server is asked whether the address fits; on another network it does not."""
    lease = lease_of()
    assert reports(held(lease, confirm=False), moved=True) == []
    assert kea.kinds(DUID)[4:] == ["CONFIRM", "REPLY"]

    run(f"ip addr add {OTHER[1]}/64 dev {BRIDGE} nodad")
    kea.restart(Kea6Options(OTHER))
    (refused,) = reports(held(lease, confirm=False), moved=True)
    assert isinstance(refused, Refused)
    assert "NOT_ON_LINK" in refused.words


@pytest.mark.parametrize("server", ["dnsmasq", "kea"])
def test_renumbered(server: str, request: pytest.FixtureRequest) -> None:
    """The network has another prefix since last night: the renewal ends the old lease, and a new one is obtained."""
    daemon = request.getfixturevalue(server)
    if isinstance(daemon, DhcpServer):
        daemon.start(ServerOptions(ipv6=Ipv6Options()))
    lease = lease_of()
    run(f"ip addr add {OTHER[1]}/64 dev {BRIDGE} nodad")
    run(f"ip addr del {SERVER6}/64 dev {BRIDGE}")
    daemon.restart(ServerOptions(ipv6=Ipv6Options(OTHER)) if isinstance(daemon, DhcpServer) else Kea6Options(OTHER))

    client = held(lease)
    told = reports(client)
    while not any(isinstance(said, Granted) for said in told):
        assert client.next_at is not None
        client.next_at = boottime()  # the pause after a refusal is the machine's own test
        told += reports(client)

    (granted,) = (said.lease for said in told if isinstance(said, Granted))
    assert granted.address.ip in OTHER


def test_address_in_use(kea: Kea6) -> None:
    """The server hears a DECLINE of an address that another machine has, and gives another one."""
    run(f"ip addr add {LAN6[0x2000]}/128 dev {FOREIGN_PORT} nodad")
    lease = lease_of(replace(SPEC6, conflict=ConflictCheck.WAIT))
    assert lease.address.ip != LAN6[0x2000]
    assert "DECLINE" in kea.kinds(DUID)
    wait_until(lambda: [x.address for x in kea.leases() if x.declined] == [LAN6[0x2000]], "the DECLINE")
    assert [x.address for x in kea.leases() if not x.declined] == [lease.address.ip]


def test_address_that_is_claimed_later(kea: Kea6) -> None:
    """A claim after the lease is heard as well, and the client in the sandbox declines the address."""
    acquired = acquire()
    run(f"ip addr add {acquired.lease.address} dev {FOREIGN_PORT} nodad")
    watch = acquired.probe._watch
    assert watch is not None

    def claims() -> str | None:
        watch.probe()  # more than once, as the port may not hear the address's multicast group yet
        return acquired.probe.claimant()

    claimant = wait_until(claims, "the claim", interval=0.5)
    acquired.probe.forget()
    assert str(claimant) in run(f"ip link show {FOREIGN_PORT}")
    decline(CONTAINER_LINK, MAC, acquired.lease, IDENTITY)
    assert [x.declined for x in kea.leases()] == [True]


def test_two_servers(kea: Kea6, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one with the higher preference leases, wherever it is on the LAN; the other one leases nothing."""
    monkeypatch.setattr(machine, "CHOICE_SECONDS", 1.0)  # so that a busy machine does not matter
    second = Kea6(tmp_path / "second", None, FOREIGN_PORT, "9876543210")
    second.start(Kea6Options(first=0x3000, last=0x30FF, preference=9))
    try:
        lease = lease_of()
    finally:
        second.stop()
    assert lease.address.ip in [known.address for known in second.leases()]
    assert lease.server.hex().endswith("9876543210")
    assert kea.kinds(DUID)[:2] == ["SOLICIT", "ADVERTISE"]
    assert not kea.leases()


def test_pool_that_is_empty(kea: Kea6) -> None:
    """The error has the server's own words."""
    kea.restart(Kea6Options(first=0x2000, last=0x2000))
    lease_of()
    other = replace(SPEC6, client_identity=ClientIdentity.of_mac("02:00:00:00:00:77"), lease_timeout=0.5)
    words = re.compile(r"no ADVERTISE on br-lan .*: the server granted nothing: NO_ADDRS_AVAIL")
    wait_until(lambda: words.search(refusal(other)), "the server's words within the time for a lease")


@pytest.mark.parametrize(
    ("options", "address", "dns"),
    [
        (Ipv6Options(), None, (SERVER6,)),
        (Ipv6Options(mode="ra-stateless"), SLAAC, (SERVER6,)),
        (Ipv6Options(mode="ra-only", dns=None), SLAAC, ()),
    ],
    ids=["stateful", "stateless", "slaac"],
)
def test_auto(
    dnsmasq: DhcpServer, options: Ipv6Options, address: IPv6Address | None, dns: tuple[IPv6Address, ...]
) -> None:
    """The flags of the router's advertisement say what is done, as on each machine of the LAN."""
    dnsmasq.start(ServerOptions(ipv6=options))
    acquired = acquire(replace(SPEC6, ipv6=Ipv6.AUTO))
    acquired.probe.forget()
    lease = acquired.lease
    assert (lease.slaac, lease.dns, lease.router) == (address is not None, dns, ROUTER)
    assert [known.address for known in dnsmasq.leases6()] == ([lease.address.ip] if address is None else [])
    if address is not None:
        assert lease.address.ip == address


def test_refreshed_configuration(dnsmasq: DhcpServer) -> None:
    """A server tells its name servers also to a client without a lease."""
    dnsmasq.start(ServerOptions(ipv6=Ipv6Options(mode="ra-stateless")))
    client = Machine(MAC, IDENTITY)
    client.inform(boottime())
    (configured,) = reports(client)
    assert isinstance(configured, Configured)
    assert configured.dns == (SERVER6,)


def test_slaac_with_radvd(radvd: Radvd) -> None:
    """Prefix, lifetimes, name server and search list are the router's."""
    radvd.start(Advertised(((str(LAN6), 600, 300),), dns=(str(SERVER6),), search=("lan.test",)))
    lease = lease_of(replace(SPEC6, ipv6=Ipv6.SLAAC))
    assert (lease.address.ip, lease.duration, lease.preferred) == (SLAAC, 600, 300)
    assert (lease.dns, lease.search, lease.router) == ((SERVER6,), ("lan.test",), ROUTER)


def test_token(radvd: Radvd) -> None:
    """The kernel makes an address that ends with the token, in place of the one that is made of the MAC; it stays when
    another worker takes the link over."""
    radvd.start(Advertised(((str(LAN6), 600, 300),)))
    token, told = IPv6Address("::8000:0:0:1"), list[object]()
    with new_namespace() as namespace:
        with Netlink() as netlink:
            netlink.move_link(netlink.require_link(CONTAINER_LINK), namespace)
        with namespace.visit():
            run(f"ip link set {CONTAINER_LINK} name eth0 up")
            wait_until(lambda: global_addresses() == [SLAAC], "the address of the MAC")
            Placement6(told.append, token).prepare("eth0", slaac=True)
            wait_until(global_addresses, "the address of the token")
            assert global_addresses() == [LAN6[int(token)]]

            Placement6(told.append, token).prepare("eth0", slaac=True)

            assert global_addresses() == [LAN6[int(token)]]
    assert told == []


def global_addresses() -> list[IPv6Address]:
    """Those on the container's link."""
    words = run("ip -6 -o addr show dev eth0 scope global").split()
    return [IPv6Interface(words[i + 1]).ip for i, word in enumerate(words) if word == "inet6"]


def test_two_routers(radvd: Radvd, tmp_path: Path) -> None:
    """The one with the higher preference is the container's, and one that is none any more is none, even alone."""
    second = Radvd(tmp_path / "second", None, FOREIGN_PORT)
    prefixes = ((str(LAN6), 600, 300),)
    radvd.start(Advertised(prefixes))
    second.start(Advertised(prefixes, preference="high"))
    spec = replace(SPEC6, ipv6=Ipv6.SLAAC, conflict=ConflictCheck.WAIT)
    try:
        wait_until(lambda: lease_of(spec).router == ROUTER + 1, "the router with the higher preference")
        second.restart(Advertised(prefixes, lifetime=0))
        assert lease_of(spec).router != ROUTER + 1  # the other one's advertisement may come later than the lease
        wait_until(lambda: lease_of(spec).router == ROUTER, "the router that is one")
        radvd.kill()
        assert lease_of(spec).router is None
    finally:
        second.stop()


def test_no_server_but_a_router(radvd: Radvd) -> None:
    """The error says what the router said, and what to do."""
    radvd.start(Advertised(((str(LAN6), 600, 300),)))
    words = re.compile(r"the router fe80::1 .* \(M flag off\): use -o ipv6=slaac")
    hasty = replace(SPEC6, lease_timeout=0.5)
    wait_until(lambda: words.search(refusal(hasty)), "the router's words within the time for a lease")


@pytest.mark.usefixtures("lan6")
def test_nobody_answers() -> None:
    """No server and no router."""
    with pytest.raises(NoLease, match=r"\(1 SOLICIT sent, 0 answers\): no router advertisement was seen"):
        acquire(replace(SPEC6, lease_timeout=0.3))


def test_release_without_a_server(kea: Kea6) -> None:
    """No REPLY within half a second is an error that says so."""
    lease = lease_of()
    kea.stop()
    begun = boottime()
    with pytest.raises(ReleaseError, match=r"no REPLY in 0\.5 s \(2 RELEASE sent\)"):
        release(CONTAINER_LINK, MAC, lease, IDENTITY)
    assert 0.5 <= boottime() - begun < 0.5 + SLACK_SECONDS


@pytest.fixture(name="sandbox6")
def _sandbox6(kea: Kea6) -> Iterator[Namespace]:
    """A container's namespace into which the link has just been moved, as the engine does it."""
    with new_namespace() as namespace:
        with Netlink() as netlink:
            netlink.move_link(netlink.require_link(CONTAINER_LINK), namespace)
        yield namespace


def test_release_in_a_short_life(kea: Kea6, sandbox6: Namespace) -> None:
    """The server's answer arrives also while the kernel still makes sure of its own link-local address."""
    with sandbox6.visit():
        run(f"ip link set {CONTAINER_LINK} name eth0 up")
        acquired = acquire(SPEC6, "eth0")
        acquired.probe.forget()
        assert "tentative" in run("ip -6 addr show dev eth0 scope link")
        release("eth0", MAC, acquired.lease, IDENTITY)
    assert not kea.leases()


def test_release_without_ipv6_in_the_container(kea: Kea6, sandbox6: Namespace) -> None:
    """Not even `disable_ipv6` keeps a lease from being given back."""
    with sandbox6.visit():
        run(f"ip link set {CONTAINER_LINK} name eth0 up")
        acquired = acquire(SPEC6, "eth0")
        acquired.probe.forget()
        run("sysctl -q net.ipv6.conf.eth0.disable_ipv6=1")
        release("eth0", MAC, acquired.lease, IDENTITY)
    assert not kea.leases()
