"""The contenders, side by side in one engine: the plugin, perhaps the build before, and the engine's own drivers."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import BEFORE, BRIDGE, BRIDGE_DUAL, MACVLAN, NONE, OURS
from tests.lab.build import PLUGIN
from tests.lab.engine import Docker
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE as LAN_BRIDGE
from tests.lab.plugin import Plugin

NETWORKS = {
    OURS: "bench-dhcp",
    BEFORE: "bench-before",
    BRIDGE: "bench-bridge",
    BRIDGE_DUAL: "bench-bridge-dual",
    MACVLAN: "bench-macvlan",
    NONE: "none",
}


@dataclass(frozen=True, slots=True)
class Contenders:
    """`definitions` and `plugins` are by contender: ours, and the build before if it takes part."""

    lab: Lab
    definitions: Mapping[str, Path]
    plugins: Mapping[str, Plugin]

    @classmethod
    @contextmanager
    def installed(cls, lab: Lab, plugin: Plugin, baseline: Path | None) -> Iterator["Contenders"]:
        """With the build before, if there is one, as a second plugin as long as the block lasts."""
        if baseline is None:
            yield cls(lab, {OURS: PLUGIN}, {OURS: plugin})
            return
        before = Plugin.install(lab.engine, f"net-dhcp-before:{lab.name}", baseline)
        try:
            yield cls(lab, {OURS: PLUGIN, BEFORE: baseline}, {OURS: plugin, BEFORE: before})
        finally:
            before.remove()

    @property
    def docker(self) -> Docker:
        """The docker command for the engine of all of them."""
        return self.lab.engine.docker

    @property
    def for_starts(self) -> tuple[str, ...]:
        """Those of which containers are started."""
        return (*self.plugins, BRIDGE, NONE)

    @contextmanager
    def networks(self) -> Iterator[Mapping[str, str]]:
        """Makes the networks that the engine has not got; gives the ids of the plugins' ones, by contender."""
        with ExitStack() as stack:
            made = {contender: self._network(stack, contender, plugin) for contender, plugin in self.plugins.items()}
            self.docker("network", "create", NETWORKS[BRIDGE])
            stack.callback(self.docker, "network", "rm", NETWORKS[BRIDGE])
            yield made

    def _network(self, stack: ExitStack, contender: str, plugin: Plugin) -> str:
        options = ("--driver", plugin.name, "--ipam-driver", "null", "--opt", f"bridge={LAN_BRIDGE}")
        network_id = self.docker("network", "create", *options, NETWORKS[contender])
        stack.callback(self.docker, "network", "rm", NETWORKS[contender])
        return network_id
