"""The documents' tables of options, made from the table in the code: `make docs` writes them, tests compare them.

Knows which test proves each option, and each promise about the life of a lease.
"""

import re
from pathlib import Path

from supervisor.domain.options import EVERY_MODE, Option, Scope, options_of
from workers.contract.link import LinkKind

ROOT = Path(__file__).parents[1]
OPTIONS, PROOFS_PAGE = ROOT / "docs" / "options.md", ROOT / "docs" / "proofs.md"
HEADINGS = {Scope.NETWORK: "Options of a network", Scope.ENDPOINT: "Options of a container"}
CHOSEN, LIFE = "tests/netns/process/test_chosen_options.py", "tests/netns/process/test_lease_life.py"
PROOFS: dict[Scope, dict[str, str]] = {
    Scope.NETWORK: {
        "alike": "tests/plugin/test_connected_again.py::test_all_are_themselves_in_the_end",
        "bridge": "tests/plugin/test_containers.py::test_life_of_a_container",
        "client": "tests/netns/process/test_servers.py::test_native_client",
        "client_id": f"{CHOSEN}::test_identifiers_of_a_network",
        "conflict": "tests/netns/process/test_conflict.py::test_off_asks_nobody",
        "dns": "tests/plugin/test_resolver.py::test_both_kinds_of_names",
        "expired": "tests/netns/process/test_expiry.py::test_expired",
        "gateway": f"{CHOSEN}::test_gateway",
        "host_access": "tests/netns/process/test_host_access.py::test_both_ways",
        "hostname": "tests/plugin/test_mac_and_hostname.py::test_host_name_without_a_choice",
        "ignore_conflicts": "tests/plugin/test_refusals.py::test_conflicts_can_be_ignored",
        "ipv6": "tests/netns/process/test_ipv6.py::test_whole_life",
        "ipvlan_mode": "tests/kernel/test_link_kinds.py::test_whole_lives",
        "lease_timeout": "tests/netns/process/test_failing_well.py::test_no_server",
        "mac": "tests/plugin/test_successors.py::test_same_name_same_mac",
        "macvlan_mode": "tests/netns/test_macvlan.py::test_mode",
        "mode": "tests/netns/process/test_macvlan_life.py::test_life",
        "mtu": "tests/netns/process/test_mtu.py::test_mtu_option",
        "parent": "tests/netns/process/test_macvlan_life.py::test_life",
        "register_dns": f"{CHOSEN}::test_identity",
        "release": "tests/netns/process/test_expiry.py::test_lease_that_is_kept",
        "skip_routes": "tests/plugin/test_what_the_server_says.py::test_routes_are_skipped",
        "user_class": f"{CHOSEN}::test_identity",
        "validate_dhcp": f"{CHOSEN}::test_server_that_is_asked_for",
        "vendor_class": f"{CHOSEN}::test_identity",
        "vlan": "tests/kernel/test_link_kinds.py::test_whole_lives",
    },
    Scope.ENDPOINT: {
        "client_id": f"{CHOSEN}::test_identity",
        "gateway": f"{CHOSEN}::test_gateway",
        "hostname": f"{CHOSEN}::test_identity",
        "id": "tests/plugin/test_successors.py::test_same_id_same_mac_and_address",
        "ip": "tests/plugin/test_what_the_server_says.py::test_address_that_is_asked_for",
        "ip6": f"{CHOSEN}::test_classes_and_address_over_ipv6",
        "mtu": "tests/netns/process/test_mtu.py::test_mtu_option",
        "release": "tests/netns/process/test_expiry.py::test_one_container_keeps_its_lease",
        "vendor_class": f"{CHOSEN}::test_vendor_class_of_a_container",
    },
}
LEASE_LIFE: dict[str, tuple[str, ...]] = {
    "The lease is renewed, and released once at the stop; the server's log says so": (
        f"{LIFE}::test_renewal_comes_from_inside",
        f"{LIFE}::test_leave_releases_once_and_before_its_answer",
    ),
    "Options 3, 26, 33, 121 and 249 and the address follow a renewal, in place and within 2 s": (
        "tests/netns/process/test_changes.py::test_change",
        "tests/netns/process/test_mtu.py::test_mtu_follows_the_server",
    ),
    "Option 121 wins over 249, and both over 33 and 3; a router outside of the subnet is reached; one that is the "
    "address itself is none; a /32 works": ("tests/netns/process/test_servers.py::test_server",),
    "A new address in the same subnet takes no route of the user's away": (
        "tests/netns/test_configure.py::test_another_address_of_the_subnet_spares_what_is_the_users",
    ),
    "The default route is where Docker puts it, and a renewal does not take it from another network": (
        "tests/plugin/test_what_the_server_says.py::test_default_route_of_another_network",
        "tests/plugin/test_what_the_server_says.py::test_gateway_that_docker_has_forgotten",
        "tests/plugin/test_ipv6_container.py::test_default_routes_of_another_network",
        "tests/plugin/test_ipv6_container.py::test_priority",
    ),
    "Operators see a refusal, a silent server, its return and the end of a lease": (
        f"{LIFE}::test_refused_renewal",
        "tests/netns/process/test_outage.py::test_server_that_dies_and_returns",
        "tests/netns/process/test_expiry.py::test_expired",
    ),
    "An address that another machine has is declined, and a new one is announced": (
        "tests/netns/process/test_conflict.py::test_taken_address_is_declined",
        "tests/netns/process/test_changes.py::test_change",
    ),
    "MAC address and address stay over restarts of container, Docker and host, and go to no other container": (
        "tests/plugin/test_identity_restart.py::test_restarted_all_at_once",
        "tests/plugin/test_crash_and_boot.py::test_nothing_is_lost",
    ),
    "The plugin may crash, be disabled or upgraded, and Docker may be killed: no lease is lost or released": (
        "tests/plugin/test_crash_and_boot.py::test_nothing_is_lost",
        "tests/plugin/test_crash_and_boot.py::test_upgrade_from_a_version_of_before",
    ),
    "A container that ends before or within its start leaves no lease": (
        f"{LIFE}::test_container_ends_before_it_is_entered",
        "tests/plugin/test_containers.py::test_container_that_exits_at_once",
    ),
    "Every kind of container keeps its lease: not root, read-only, without a shell, without capabilities, paused": (
        "tests/plugin/test_kinds.py::test_every_kind_of_container_keeps_its_lease",
    ),
    "A container may have several networks, and be connected and disconnected while it runs": (
        "tests/plugin/test_containers.py::test_two_networks",
        "tests/plugin/test_containers.py::test_connect_and_disconnect_at_run_time",
    ),
    "A container's interface has the name that the user wants, or the log and the history say why not": (
        "tests/plugin/test_interface_name.py::test_first_of_its_kind",
        "tests/plugin/test_docker_dhcp.py::test_interface_names",
        "tests/netns/process/test_chosen_options.py::test_interface_name",
    ),
    "A lease that waits for its container is released by the client that obtained it": (
        "tests/netns/process/test_expiry.py::test_lease_of_another_client",
    ),
    "The LAN's DNS finds a container by its name, by --hostname, and as a service of Compose": (
        "tests/plugin/test_mac_and_hostname.py::test_host_name_in_the_first_packet",
        "tests/plugin/test_mac_and_hostname.py::test_host_name_without_a_choice",
        "tests/plugin/test_compose.py::test_up_restart_recreate_down",
    ),
}
PREFACE = """# Proofs

`make docs` writes this page. [Options](options.md) says what each option does; this page names the test that proves
it, at the DHCP server, on the wire or in the container. What is true of all options, that bad values are refused and
what the refusal says, is in `tests/supervisor/domain/test_options.py`.
"""


def table(scope: Scope) -> str:
    """Markdown, with a row for each option."""
    rows = (f"| `{o.name}` | {_default(o, scope)} | {_modes(o)} | {_meaning(o)} |" for o in options_of(scope).values())
    return "\n".join(("| option | default | mode | meaning |", "| --- | --- | --- | --- |", *rows, ""))


def _default(option: Option, scope: Scope) -> str:
    return "the network's" if scope is Scope.ENDPOINT and Scope.NETWORK in option.scopes else option.default


def _modes(option: Option) -> str:
    """The values of `mode` that it fits."""
    return "any" if option.modes == EVERY_MODE else ", ".join(f"`{mode}`" for mode in LinkKind if mode in option.modes)


def _meaning(option: Option) -> str:
    aliases = (
        f". `{alias.name}=true` means `{alias.when_true}`, `{alias.name}=false` means `{alias.when_false}`"
        for alias in option.aliases
    )
    return option.help + "".join(aliases)


def with_tables(document: str) -> str:
    """The document, with the first table below each of the HEADINGS replaced."""
    for scope, heading in HEADINGS.items():
        pattern = re.compile(rf"(^## {heading}\n(?:(?!\|).*\n)*)(?:\|.*\n)+", re.MULTILINE)
        found = pattern.search(document)
        if found is None:
            raise ValueError(f"no table below {heading!r}")
        document = document[: found.end(1)] + table(scope) + document[found.end() :]
    return document


def proofs_page() -> str:
    """docs/proofs.md."""
    parts = [PREFACE]
    for scope, heading in HEADINGS.items():
        parts.append(f"\n## {heading}\n\n| option | proved by |\n| --- | --- |\n")
        parts.extend(f"| `{name}` | `{PROOFS[scope][name]}` |\n" for name in options_of(scope))
    parts.append("\n## The life of a lease\n\n| promise | proved by |\n| --- | --- |\n")
    for promise, proofs in LEASE_LIFE.items():
        parts.append(f"| {promise} | {', '.join(f'`{proof}`' for proof in proofs)} |\n")
    return "".join(parts)


if __name__ == "__main__":
    OPTIONS.write_text(with_tables(OPTIONS.read_text()))
    PROOFS_PAGE.write_text(proofs_page())
