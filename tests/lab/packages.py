"""Installs what a machine lacks for building and testing, from Debian's packages, without starting any service.

Run by the system's python3 before anything else is there: standard library only.
"""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.command import CommandFailed

# The package that each command comes with.
COMMANDS = {
    "dockerd": "docker.io",
    "docker": "docker-cli",
    "docker-compose": "docker-compose",
    "docker-registry": "docker-registry",
    "dnsmasq": "dnsmasq-base",
    "kea-dhcp4": "kea-dhcp4-server",
    "kea-dhcp6": "kea-dhcp6-server",
    "radvd": "radvd",
    "busybox": "busybox",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "sysctl": "procps",
    "tcpdump": "tcpdump",
    "dig": "bind9-dnsutils",
    "curl": "curl",
    "qemu-system-x86_64": "qemu-system-x86",
    "modprobe": "kmod",
    "zstd": "zstd",
}
FORMERLY = {"docker-cli": "docker.io"}  # before Debian 13
ADMINISTRATION = "/usr/sbin:/sbin"
POLICY = Path("/usr/sbin/policy-rc.d")
FORBID = "#!/bin/sh\nexit 101\n"  # what invoke-rc.d and deb-systemd-invoke take as: do not start it


def install_missing() -> None:
    """Install the packages of the commands that are missing; raises CommandFailed."""
    missing = missing_packages()
    if not missing:
        return
    if os.geteuid():
        raise CommandFailed(f"these packages are missing, and only root can install them: {' '.join(missing)}")
    print(f"==> installing {' '.join(missing)}", flush=True)
    with _services_not_started():
        _apt_get("update", "--quiet=2")
        names = sorted({name if _exists(name) else FORMERLY[name] for name in missing})
        _apt_get("install", "--quiet=2", "--yes", "--no-install-recommends", *names)


def missing_packages() -> list[str]:
    """The names of the packages to install."""
    path = f"{os.environ.get('PATH', '')}:{ADMINISTRATION}"
    missing = {package for command, package in COMMANDS.items() if not shutil.which(command, path=path)}
    if not importlib.util.find_spec("ensurepip"):
        missing.add("python3-venv")
    return sorted(missing)


def _exists(name: str) -> bool:
    """Does this Debian have the package?"""
    shown = subprocess.run(["apt-cache", "show", name], capture_output=True, check=False)
    return shown.returncode == 0


def _apt_get(*args: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["apt-get", *args], env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise CommandFailed(f"apt-get {' '.join(args)}: exit status {done.returncode}")


@contextmanager
def _services_not_started() -> Iterator[None]:
    """A Docker Engine or a DHCP server that apt starts would touch the machine's network."""
    if POLICY.exists():
        yield  # the machine has a policy of its own
        return
    POLICY.write_text(FORBID)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
