"""The list of what ships."""

import pytest

from release import sbom

TABLE = "libc6\t2.41-12+deb13u5\tglibc\t2.41-12+deb13u5\tarm64\nlibgcc-s1\t14.2.0-19\tgcc-14\t14.2.0-19\tarm64\n"
LOCK = "certifi==2026.1.1 \\\n    --hash=sha256:00\nmsgspec==0.22.0 \\\n"


def _metadata(name: str, version: str, *headers: str) -> str:
    return "\n".join(("Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *headers, "", "text"))


def test_names_for_the_world() -> None:
    """Debian's packages and wheels have their package URLs, licences and sources."""
    wheel = _metadata("msgspec", "0.22.0", "License-Expression: BSD-3-Clause")
    found = [*sbom.debian(TABLE), *sbom.wheels([wheel], [LOCK])]
    assert [component.purl for component in found] == [
        "pkg:deb/debian/libc6@2.41-12%2Bdeb13u5?arch=arm64",
        "pkg:deb/debian/libgcc-s1@14.2.0-19?arch=arm64",
        "pkg:pypi/msgspec@0.22.0",
    ]
    assert found[-1].license == "BSD-3-Clause"
    assert found[1].source == "gcc-14 14.2.0-19"


def test_a_wheel_that_is_not_locked() -> None:
    """A wheel of another version than the lock files' stops the release."""
    with pytest.raises(sbom.NotLocked, match=r"certifi 2025\.1\.1"):
        sbom.wheels([_metadata("certifi", "2025.1.1")], ["", LOCK])


def test_one_content_one_list() -> None:
    """The order in which packages are found does not matter, and another content has another serial number."""
    components = sbom.debian(TABLE)
    lists = [
        sbom.document("net-dhcp", "1.0", "arm64", some, 0) for some in (components, components[::-1], components[:1])
    ]
    assert lists[0] == lists[1]
    assert lists[0]["serialNumber"] != lists[2]["serialNumber"]
