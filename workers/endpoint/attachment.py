"""From Attach to Leave: the link is followed into the sandbox, and its lease kept there for as long as it is there.

Owns what Docker has told of the sandbox, and what the link is called in there. Must not know how the lease is kept, or
what becomes of it afterwards.
"""

from collections.abc import Callable, Mapping

from workers.acd.arp import ArpWatch
from workers.contract.lease import Family
from workers.contract.messages import (
    Attach,
    Attached,
    EndpointSpec,
    LeaseTrouble,
    NotMoved,
    Report,
    SandboxGone,
    Trouble,
)
from workers.endpoint.creation import Made
from workers.endpoint.lease_manager import LeaseManager
from workers.endpoint.sandbox import Sandbox
from workers.link.kind import EndpointLink
from workers.netlink.operations import Link, NetlinkError


class Attachment:
    """Of one endpoint; `interface` is the link in the sandbox, as soon as its lease is kept there."""

    def __init__(
        self,
        spec: EndpointSpec,
        link: EndpointLink,
        managers: Mapping[Family, LeaseManager],
        report: Callable[[Report], None],
        made: Made | None,
    ) -> None:
        """Without what was `made` just now, the link may have gone to the sandbox, or with it, long ago."""
        self.interface: str | None = None
        self._link = link
        self._managers = managers
        self._report = report
        self._sandbox = Sandbox(spec.container_link, link)
        self._probe: ArpWatch | None = made.acquired.watch if made else None
        self._takeover = made is None
        self._attach: Attach | None = None

    @property
    def inside(self) -> bool:
        """Whether this process is in the sandbox."""
        return self._sandbox.inside

    @property
    def awaits_link(self) -> bool:
        """Whether the link is on its way."""
        return self._attach is not None and self.interface is None

    def sources(self) -> dict[int, Callable[[], None]]:
        """Descriptors to be waited on, with what to call when one is readable."""
        sources: dict[int, Callable[[], None]] = dict.fromkeys(self._sandbox.sources(), self._on_change)
        if self._probe is not None:
            sources[self._probe.fileno()] = self._on_claim
        return sources

    def attach(self, command: Attach) -> None:
        """From now on the sandbox is where Docker says. Raises NetlinkError, OSError."""
        self._attach = command
        if command.arrived and self._sandbox.is_abandoned(command.path):
            self._end_managers()
            self._lose_sandbox()
            return
        self._sandbox.watch()
        self._advance()

    def leave(self) -> None:
        """Back into the host's network namespace, whether there was a sandbox or not."""
        self._attach = None
        self._sandbox.leave()
        self.interface = None

    def _on_claim(self) -> None:
        """An answer to the probe that came after ours to Docker: mended as soon as the link is in the sandbox."""
        if self._probe is None:
            return
        claims = self._probe.claims()
        self._probe.close()  # a link that is moved ends it, too
        self._probe = None
        if claims:
            self._managers[Family.IPV4].on_conflict(claims[0])

    def _on_change(self) -> None:
        self._sandbox.drain()
        self._advance()

    def _advance(self) -> None:
        """Goes as far towards keeping the lease in the sandbox as the link has come."""
        if self._attach is not None and not self._sandbox.inside:
            self._enter(self._attach)
        try:
            if self._sandbox.inside and self.interface is None:
                self._begin()
            elif self._sandbox.inside:
                self._follow()
        except (NetlinkError, OSError):
            if self._sandbox.link() is not None:
                raise
            self._on_link_gone()  # between two looks at it

    def _enter(self, attach: Attach) -> None:
        if self._sandbox.has_link_at_home():
            if attach.arrived:
                self._lose_sandbox()  # Docker has moved it back already
            elif self._takeover:
                self._report(NotMoved())
        elif not self._sandbox.enter(attach.path) and (self._takeover or attach.arrived):
            self._lose_sandbox()  # else the container has ended already, and Leave or Delete is on its way

    def _begin(self) -> None:
        link = self._arrival()
        while link is not None and self._sandbox.drain():
            link = self._arrival()  # what is still to be heard of it would wake the worker once more
        if link is None or self._attach is None:
            return
        self.interface = link.name
        self._on_claim()
        self._report(Attached(link.name))
        for manager in self._managers.values():
            manager.begin(link.name, self._attach, self._link.mtu_limit(link))

    def _arrival(self) -> Link | None:
        """The link in the sandbox, unless Docker is still at it, or the kernel."""
        arrived = self._attach is not None and self._attach.arrived
        there = all(self._sandbox.has_address(manager.lease.address.ip) for manager in self._managers.values())
        if not (there or arrived or self._takeover):
            return None
        link = self._sandbox.link()
        if link is None and (arrived or self._takeover):
            self._lose_sandbox()
        if link is None or not link.up:
            return None
        return link if arrived or (there and link.settled) else None

    def _follow(self) -> None:
        """With CAP_NET_ADMIN a container can rename its link, change or remove it."""
        link = self._sandbox.link()
        if link is None:
            self._on_link_gone()
        elif link.up and link.name != self.interface:
            self.interface = link.name
            self._report(Attached(link.name))
            for manager in self._managers.values():
                manager.move(link.name)

    def _on_link_gone(self) -> None:
        self._end_managers()
        what = f"{self.interface or 'the link'} vanished from the sandbox"
        self._report(LeaseTrouble(Trouble.LINK_GONE, what, None))
        self._lose_sandbox()

    def _end_managers(self) -> None:
        for manager in self._managers.values():
            manager.end()

    def _lose_sandbox(self) -> None:
        self.leave()
        self._report(SandboxGone())
