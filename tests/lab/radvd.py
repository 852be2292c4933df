"""radvd, a router of the LAN that says what dnsmasq cannot: other prefixes, lifetimes and flags."""

from dataclasses import dataclass

from tests.lab.daemon import Daemon
from tests.lab.network import LAN_BRIDGE


@dataclass(frozen=True, slots=True)
class Advertised:
    """What it says; times are in seconds. `prefixes` are autonomous ones, with their valid and preferred lifetimes."""

    prefixes: tuple[tuple[str, int, int], ...] = ()
    managed: bool = False
    other: bool = False
    lifetime: int = 1800
    preference: str = "medium"
    dns: tuple[str, ...] = ()
    search: tuple[str, ...] = ()

    def config(self, interface: str) -> str:
        """In radvd.conf(5)'s language. It may answer a solicitation at once, and repeats itself every few seconds."""
        lines = [
            "AdvSendAdvert on;",
            "MinRtrAdvInterval 3;",
            "MaxRtrAdvInterval 4;",
            f"AdvManagedFlag {_switch(self.managed)};",
            f"AdvOtherConfigFlag {_switch(self.other)};",
            f"AdvDefaultLifetime {self.lifetime};",
            f"AdvDefaultPreference {self.preference};",
        ]
        for prefix, valid, preferred in self.prefixes:
            lines.append(f"prefix {prefix} {{ AdvValidLifetime {valid}; AdvPreferredLifetime {preferred}; }};")
        if self.dns:
            lines.append(f"RDNSS {' '.join(self.dns)} {{ }};")
        if self.search:
            lines.append(f"DNSSL {' '.join(self.search)} {{ }};")
        return f"interface {interface} {{\n" + "\n".join(lines) + "\n};\n"


@dataclass(frozen=True, slots=True)
class Radvd(Daemon):
    """radvd. When it is stopped it says that it is no router any more; when it is killed it says nothing."""

    name = "radvd"
    started = "started"

    interface: str = LAN_BRIDGE

    def start(self, advertised: Advertised) -> None:
        """Returns when it runs."""
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "radvd.conf"
        config.write_text(advertised.config(self.interface))
        pid_file = self.directory / "radvd.own.pid"
        self.launch("radvd", "-n", "-d", "1", "-m", "stderr", "-C", str(config), "-p", str(pid_file))

    def restart(self, advertised: Advertised) -> None:
        """Says something else."""
        self.stop()
        self.start(advertised)


def _switch(state: bool) -> str:
    return "on" if state else "off"
