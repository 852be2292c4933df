"""The list of what ships."""

from pathlib import Path

import pytest

from release import sbom

TABLE = "libc6\t2.41-12\tglibc\t2.41-12\tarm64\nlibgcc-s1\t14.2.0-19\tgcc-14\t14.2.0-19\tarm64\n"
LOCK = "certifi==2026.1.1 \\\n    --hash=sha256:00\nmsgspec==0.22.0 \\\n"


def _installed(site: Path, name: str, version: str, *headers: str) -> None:
    directory = site / f"{name}-{version}.dist-info"
    directory.mkdir(parents=True)
    lines = ("Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *headers, "", "text")
    (directory / "METADATA").write_text("\n".join(lines))


def test_names_for_the_world(tmp_path: Path) -> None:
    """Debian's packages and wheels have their package URLs; the plugin itself is not one of its own components."""
    _installed(tmp_path, "msgspec", "0.22.0", "License-Expression: BSD-3-Clause")
    _installed(tmp_path, "docker_net_dhcp", "0.1.0")
    found = [*sbom.debian(TABLE), *sbom.wheels(tmp_path, LOCK, "docker-net-dhcp")]
    assert [component.purl for component in found] == [
        "pkg:deb/debian/libc6@2.41-12?arch=arm64",
        "pkg:deb/debian/libgcc-s1@14.2.0-19?arch=arm64",
        "pkg:pypi/msgspec@0.22.0",
    ]
    assert found[-1].license == "BSD-3-Clause"
    assert found[1].source == "gcc-14 14.2.0-19"


def test_a_wheel_that_is_not_locked(tmp_path: Path) -> None:
    """A wheel of another version than the lock file's stops the release."""
    _installed(tmp_path, "certifi", "2025.1.1")
    with pytest.raises(sbom.NotLocked, match=r"certifi 2025\.1\.1"):
        sbom.wheels(tmp_path, LOCK, "docker-net-dhcp")


def test_one_content_one_list() -> None:
    """The order in which packages are found does not matter, and another content has another serial number."""
    components = sbom.debian(TABLE)
    lists = [
        sbom.document("net-dhcp", "1.0", "arm64", some, 0) for some in (components, components[::-1], components[:1])
    ]
    assert lists[0] == lists[1]
    assert lists[0]["serialNumber"] != lists[2]["serialNumber"]
