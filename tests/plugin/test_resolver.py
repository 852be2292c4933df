"""How a container resolves names on a network with `dns=lease`: judged in there and in the name server's log."""

from collections.abc import Iterator

import pytest

from tests.lab.containers import Container
from tests.lab.dhcp import DhcpServer, ServerOptions
from tests.lab.engine import Docker
from tests.lab.images import BUSYBOX
from tests.lab.lab import Lab
from tests.lab.network import MACHINE, SERVER
from tests.lab.plugin import Plugin
from tests.plugin.conftest import NETWORK, Run, create_network
from tests.plugin.judge import await_resolver, renew

pytestmark = pytest.mark.plugin

# Two machines of the LAN that answer a ping; the server knows nothing of the world, and says so at once.
RECORDS = (f"--host-record=printer.lan,{SERVER}", f"--host-record=scanner.attic,{MACHINE}", "--domain-needed")
LOGGED = ("--log-queries", *RECORDS)
PATIENCE_SECONDS = 20


@pytest.fixture
def network(plugin: Plugin, no_leaks: None) -> Iterator[str]:
    """With the option."""
    create_network(plugin, NETWORK, "--opt", "dns=lease")
    yield NETWORK
    plugin.docker("network", "rm", NETWORK)


@pytest.fixture
def server(dhcp: DhcpServer) -> DhcpServer:
    """It logs who asks for what."""
    dhcp.restart(ServerOptions(extra=LOGGED))
    return dhcp


@pytest.fixture
def another(docker: Docker, no_leaks: None) -> Iterator[str]:
    """A network of Docker's own, which has the default route of its containers."""
    docker("network", "create", "a-third")
    yield "a-third"
    docker("network", "rm", "a-third")


def resolved(container: Container, name: str, server: DhcpServer) -> str:
    """The address that the C library finds and a ping reaches, and that it did not have to ask for a second time."""
    before = len(questions(server))
    output = container.exec("ping", "-c1", f"-w{PATIENCE_SECONDS}", name)
    asked = questions(server)[before:]
    assert len(asked) == len(set(asked)), asked
    return output.split("(", 1)[1].split(")", 1)[0]


def questions(server: DhcpServer) -> list[str]:
    """All that the server was asked since it was started: the type and name, and who asked."""
    return [line.partition("query[")[2] for line in server.log().splitlines() if "query[" in line]


def content(container: Container) -> str:
    """Of its resolv.conf."""
    return container.exec("cat", "/etc/resolv.conf")


def searched(container: Container) -> list[str]:
    """The names in its resolv.conf."""
    return [name for line in content(container).splitlines() if line.startswith("search") for name in line.split()[1:]]


def askers(server: DhcpServer, name: str) -> set[str]:
    """The addresses from which the server was asked for this name."""
    return {line.split()[-1] for line in questions(server) if line.startswith(f"A] {name} from ")}


def test_both_kinds_of_names(run: Run, plugin: Plugin, server: DhcpServer) -> None:
    """Names of the LAN, with and without its domain, and of containers; in a read-only container as well."""
    container, other = run("--read-only"), run(name="other")
    attachment = container.attachment(NETWORK)
    await_resolver(plugin, attachment)
    address = attachment.address

    assert resolved(container, "printer.lan", server) == resolved(container, "printer", server) == str(SERVER)
    assert address is not None
    assert str(address.ip) in askers(server, "printer.lan")
    found = other.attachment(NETWORK).address
    assert found is not None
    assert resolved(container, "other", server) == str(found.ip)


def test_other_choices(run: Run, plugin: Plugin, server: DhcpServer, lab: Lab) -> None:
    """Servers, a search list or a file of the user's own stay."""
    own = lab.engine.directory / "resolv.conf"  # where an engine with a root of its own finds it, too
    own.write_text(f"nameserver {SERVER}\n")
    mounted = run(f"--volume={own}:/etc/resolv.conf")
    served, listed = run("--dns=192.0.2.7"), run("--dns-search=attic")
    await_resolver(plugin, listed.attachment(NETWORK))

    assert resolved(listed, "scanner", server) == str(MACHINE)
    assert searched(listed) == ["attic"]
    assert "net-dhcp" not in content(served) + content(mounted)
    assert own.read_text() == f"nameserver {SERVER}\n"


def test_server_that_changes(run: Run, plugin: Plugin, lab: Lab, server: DhcpServer) -> None:
    """The search list follows at the next renewal (option 119), and so does the name server."""
    container = run()
    attachment = container.attachment(NETWORK)
    await_resolver(plugin, attachment)
    assert searched(container) == ["lan"]

    server.restart(ServerOptions(extra=("--dhcp-option=119,attic,lan", *LOGGED)))
    renew(plugin, lab, attachment)
    assert searched(container) == ["attic", "lan"]
    assert resolved(container, "scanner", server) == str(MACHINE)

    server.restart(ServerOptions(extra=(f"--dhcp-option=6,{MACHINE}", *LOGGED)))
    renew(plugin, lab, attachment)
    asked = len(askers(server, "printer.attic"))
    container.exec("sh", "-c", "timeout 1 nslookup printer.attic || true")
    assert len(askers(server, "printer.attic")) == asked


def test_default_route_of_another_network(
    another: str, network: str, plugin: Plugin, docker: Docker, server: DhcpServer
) -> None:
    """The LAN's server is asked over the LAN, wherever the default route leads; the file is as before at the end."""
    container = Container(docker, "elsewhere")
    docker("run", "--detach", "--name", container.name, f"--network={another}", BUSYBOX)
    try:
        before = content(container)
        docker("network", "connect", network, container.name)
        attachment = container.attachment(NETWORK)
        await_resolver(plugin, attachment)
        address = attachment.address
        assert address is not None
        assert resolved(container, "printer", server) == str(SERVER)
        assert str(address.ip) in askers(server, "printer.lan")

        docker("network", "disconnect", network, container.name)
        assert content(container) == before
    finally:
        container.remove()
