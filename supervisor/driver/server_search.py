"""Has a job ask a network's LAN for a DHCP server, with a MAC address of its own. It leaves neither lease nor link."""

import secrets
from collections.abc import Callable
from dataclasses import replace

from supervisor.runtime.jobs import ask
from supervisor.runtime.loop import Loop
from supervisor.runtime.process_manager import ProcessManager
from supervisor.state.bindings import local_mac
from supervisor.state.records import Network
from workers.contract.client_identity import VENDOR_CLASS, ClientIdentity
from workers.contract.messages import EndpointSpec
from workers.endpoint.server_probe import ServerReport, probe_server

LINK_SECONDS = 3.0  # to make and remove one; with the longest search for a server it is less than the engine's 30 s


class ServerSearch:
    """`mark` is the group of our links (supervisor.state.instance_lock)."""

    def __init__(self, process_manager: ProcessManager, loop: Loop, mark: int) -> None:
        self._process_manager = process_manager
        self._loop = loop
        self._mark = mark

    def begin(self, network: Network, answer: Callable[[ServerReport | None], None]) -> None:
        """Asks as a container of the network would; `answer` gets None if that could not be done."""
        options, mac = network.options, local_mac(secrets.token_bytes(5))
        vendor_class = options.vendor_class or VENDOR_CLASS
        made = ClientIdentity.of_mac if options.link.has_own_mac else ClientIdentity.of_seed
        client = replace(made(mac), vendor_class=vendor_class, user_class=options.user_class)
        owner = (network.id, secrets.token_hex(32), options.link, mac, client)
        spec = EndpointSpec(*owner, options.lease_timeout, mark=self._mark, ipv6=options.ipv6)

        def answered(report: object | None) -> None:
            answer(report if isinstance(report, ServerReport) else None)

        deadline = options.lease_timeout + LINK_SECONDS
        ask(self._process_manager, self._loop, "nd-probe", probe_server, spec, deadline=deadline, answer=answered)
