"""The first lease, obtained while the link is still in the host's network namespace.

Owns the budget and the text that a user reads when no lease came. Must not know what the lease is for.
"""

import time
from multiprocessing.connection import Connection, wait

from workers.diagnose import likely_cause
from workers.lease import Lease, boottime
from workers.messages import EndpointSpec
from workers.parse import InvalidLease, parse_lease
from workers.udhcpc import Client, ClientOptions, Event, EventKind


class NoLease(Exception):
    """No lease within the budget; the text says what was sent, what was seen and the likeliest cause."""


class Cancelled(Exception):
    """The supervisor has something else to say, or is gone: the lease is not wanted any more."""


def acquire(spec: EndpointSpec, channel: Connection) -> Lease:
    """One DISCOVER-OFFER-REQUEST-ACK on the container end. Raises NoLease, Cancelled, or OSError without busybox."""
    client = Client(
        ClientOptions(spec.container_link, spec.mac, once=True, requested=spec.requested, hostname=spec.hostname)
    )
    try:
        return _await_lease(client, spec, channel)
    finally:
        client.stop()


def _await_lease(client: Client, spec: EndpointSpec, channel: Connection) -> Lease:
    deadline = time.monotonic() + spec.lease_timeout
    refused = ""
    while (left := deadline - time.monotonic()) > 0:
        ready = wait([client.events, client.errors, channel], left)
        if channel in ready:
            raise Cancelled
        client.read_log()
        events = client.read_events()
        if events is None:
            raise NoLease(f"udhcpc on {spec.container_link} ended by itself: {client.counts.last_words or 'no word'}")
        for event in events:
            if event.kind is EventKind.BOUND:
                return _validated(event)
            if event.kind is EventKind.NAK:
                refused = event.values.get("message", "")[:100]
    raise NoLease(_no_answer(client, spec, refused))


def _validated(event: Event) -> Lease:
    try:
        return parse_lease(event.values, boottime())
    except InvalidLease as error:
        raise NoLease(str(error)) from error


def _no_answer(client: Client, spec: EndpointSpec, refused: str) -> str:
    client.read_log()
    counts = client.counts
    awaited = "DHCPACK" if counts.offers else "DHCPOFFER"
    seen = f"{counts.discovers} DISCOVER sent, {counts.offers} answers"
    if counts.naks:
        seen += f", {counts.naks} DHCPNAK {refused!r}"
        return f"no {awaited} on {spec.bridge} in {spec.lease_timeout:g} s ({seen}): the server refuses the request"
    return f"no {awaited} on {spec.bridge} in {spec.lease_timeout:g} s ({seen}): {likely_cause(spec.bridge)}"
