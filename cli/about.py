"""What Docker asks of each plugin of its command. Loads nothing, because Docker asks at each of its own helps."""

import json

from cli import VERSION

ABOUT = {
    "SchemaVersion": "0.1.0",
    "Vendor": "docker-net-dhcp",
    "Version": VERSION,
    "ShortDescription": "Leases of containers from the LAN's DHCP server",
}


def metadata() -> str:
    """The answer to `docker-cli-plugin-metadata`."""
    return json.dumps(ABOUT)
