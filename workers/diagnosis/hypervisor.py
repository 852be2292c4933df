"""Tells whether this host is a virtual machine, whose virtual switch may let only one MAC address pass.

The switch itself cannot be seen from here.
"""

from contextlib import suppress
from pathlib import Path

from workers.contract.finding import Check, Finding, Severity

VIRTUAL_SWITCH = Check("virtual-switch", Severity.HINT)
DMI = Path("/sys/class/dmi/id")
# What a vendor's machines are made by, and what lets a port of their switch have several MAC addresses.
SWITCHES = {
    "VMware": "VMware: set Promiscuous mode and Forged transmits of its port group to Accept",
    "innotek": "VirtualBox: `VBoxManage modifyvm VM --nicpromisc1 allow-all`",
    "Microsoft": "Hyper-V: `Set-VMNetworkAdapter -VMName VM -MacAddressSpoofing On`",
    "QEMU": "QEMU: switch off the port's MAC filter (Proxmox: the firewall's; libvirt: clean-traffic, or "
    "trustGuestRxFilters='yes' for macvtap)",
    "Xen": "Xen: let its virtual interface send from other MAC addresses",
}
VIRTUAL_ON_HYPER_V = "Virtual Machine"  # Microsoft makes real machines, too


def port_security() -> Finding | None:
    """What to look at in a virtual machine where nothing else is wrong; None if the host is no known kind of one."""
    vendor, product = _read("sys_vendor"), _read("product_name")
    switch = next((words for maker, words in SWITCHES.items() if vendor.startswith(maker)), None)
    if switch is None or (vendor.startswith("Microsoft") and product != VIRTUAL_ON_HYPER_V):
        return None
    remedy = (
        "is there a DHCP server on this LAN, and does the virtual switch accept several MAC addresses on one port? "
        f"{switch}"
    )
    return VIRTUAL_SWITCH.finding("no cause found on this host, which is a virtual machine", remedy)


def _read(name: str) -> str:
    with suppress(OSError):
        return (DMI / name).read_text(errors="replace").strip()
    return ""
