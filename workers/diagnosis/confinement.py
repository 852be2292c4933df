"""Tells whether AppArmor or SELinux confines this process, which may keep packets from it without an error.

What the policy forbids is in the kernel's log, and cannot be seen from here.
"""

import re
from contextlib import suppress
from pathlib import Path

from workers.contract.finding import Check, Finding, Severity

CONFINED = Check("confined", Severity.HINT)
CONTEXT = Path("/proc/self/attr/current")
APPARMOR = re.compile(r"(.+) \(enforce\)")
SELINUX = re.compile(r"[^:]+:[^:]+:([^:]+)(?::.*)?")
FREE_TYPES = ("unconfined_t", "spc_t", "container_runtime_t")  # SELinux lets processes of these do all


def confinement() -> Finding | None:
    """What confines this process; None if nothing does."""
    context = _context()
    if profile := APPARMOR.fullmatch(context):
        found, remedy = f"AppArmor confines this plugin to the profile {profile[1]}", "`journalctl -k -g DENIED`"
    elif (label := SELINUX.fullmatch(context)) and label[1] not in FREE_TYPES:
        found, remedy = f"SELinux confines this plugin to the type {label[1]}", "`ausearch -m avc -ts recent`"
    else:
        return None
    return CONFINED.finding(found, f"{remedy} shows what the policy forbids")


def _context() -> str:
    with suppress(OSError):  # without such a policy
        return CONTEXT.read_text(errors="replace").strip("\0\n ")
    return ""
