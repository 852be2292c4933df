"""The contents of the root file system, as a CycloneDX list: Debian's packages, the wheels, and the plugin itself."""

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.parser import HeaderParser
from typing import Any
from urllib.parse import quote

NAMESPACE = uuid.UUID("6c1f3d52-6a3e-5c53-9f0e-0d1a8a0c5f11")  # of serial numbers, which must be the same each time
PINNED = re.compile(r"^([\w.-]+)==([\w.!+-]+)", re.MULTILINE)


class NotLocked(Exception):
    """A wheel is shipped that the lock file does not name."""


@dataclass(frozen=True, slots=True)
class Component:
    """A package; `purl` is its name for the world."""

    name: str
    version: str
    purl: str
    license: str | None = None
    source: str | None = None

    def row(self) -> dict[str, Any]:
        """As CycloneDX writes it."""
        row: dict[str, Any] = {
            "type": "library", "bom-ref": self.purl, "name": self.name, "version": self.version, "purl": self.purl,
        }  # fmt: skip
        if self.license:
            row["licenses"] = [{"license": {"name": self.license}}]
        if self.source:
            row["properties"] = [{"name": "debian:source", "value": self.source}]
        return row


def debian(table: str) -> list[Component]:
    """From what notices.sh prints."""
    rows = (line.split("\t") for line in table.splitlines())
    return [
        Component(
            name, version, f"pkg:deb/debian/{name}@{_in_url(version)}?arch={architecture}", source=f"{source} {its}"
        )
        for name, version, source, its, architecture in rows
    ]


def wheels(metadata_files: Iterable[str], locks: Iterable[str]) -> list[Component]:
    """From the METADATA of the installed packages. Raises NotLocked."""
    locked = {(_normal(name), version) for lock in locks for name, version in PINNED.findall(lock)}
    found = []
    for text_of_one in metadata_files:
        metadata = HeaderParser().parsestr(text_of_one)
        name, version = _normal(metadata["Name"]), metadata["Version"]
        if (name, version) not in locked:
            raise NotLocked(f"{name} {version} is shipped, and no lock file has it")
        text = metadata["License-Expression"] or metadata["License"]
        found.append(
            Component(name, version, f"pkg:pypi/{name}@{_in_url(version)}", text.splitlines()[0] if text else None)
        )
    return found


def _in_url(version: str) -> str:
    return quote(version, safe=":~")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def document(name: str, version: str, architecture: str, components: Iterable[Component], time: int) -> dict[str, Any]:
    """The whole list, the same for the same content."""
    rows = [component.row() for component in sorted(set(components), key=lambda component: component.purl)]
    own = f"pkg:pypi/{name}@{version}"
    identity = " ".join((own, architecture, str(time), *(row["purl"] for row in rows)))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(NAMESPACE, identity).urn,
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(time, UTC).isoformat(),
            "component": {
                "type": "application", "bom-ref": own, "name": name, "version": version, "purl": own,
                "licenses": [{"license": {"id": "MIT"}}],
                "properties": [{"name": "architecture", "value": architecture}],
            },
        },
        "components": rows,
        "dependencies": [{"ref": own, "dependsOn": [row["bom-ref"] for row in rows]}],
    }  # fmt: skip
