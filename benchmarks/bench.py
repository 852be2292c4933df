"""All rows, in a laboratory of their own: the order in which they are taken, and what becomes of them."""

from benchmarks.burst import measure_bursts
from benchmarks.figures import Figures
from benchmarks.fleet import measure_fleet
from benchmarks.life import measure_lives
from benchmarks.networks import contenders
from benchmarks.played import measure_played
from benchmarks.plots import draw_plots
from benchmarks.results import machine, write_results
from benchmarks.rows import table
from benchmarks.sizes import Sizes
from benchmarks.starts import measure_phases
from benchmarks.startup import measure_enabling, measure_listening
from benchmarks.timeline import timeline_table
from tests.lab.build import BUILD, PLUGIN, ROOT
from tests.lab.dhcp import ServerOptions
from tests.lab.lab import Lab
from tests.lab.network import LAN
from tests.lab.plugin import Plugin

OUTPUT = BUILD / "bench"
# Room for the fleet. Without its file the server answers at once: it would write all leases anew at each DHCPACK.
SERVER = ServerOptions(first=LAN[3], last=LAN[254], extra=("--leasefile-ro",))


def bench(sizes: Sizes) -> None:
    """Prints the table; writes results and plots."""
    figures = Figures()
    with Lab.temporary("bench", SERVER) as lab:
        plugin = Plugin.install(lab.engine, f"net-dhcp:{lab.name}", PLUGIN)
        measure(lab, plugin, sizes, figures)
        write_results(OUTPUT / "results.json", figures, machine(lab.engine.docker))
    draw_plots(OUTPUT, figures)
    print(table(figures))
    for traced, timelines in figures.timelines.items():
        print(timeline_table(traced, timelines))
    print(f"every sample and the plots: {OUTPUT.relative_to(ROOT)}")


def measure(lab: Lab, plugin: Plugin, sizes: Sizes, figures: Figures) -> None:
    """Every row."""
    _say(f"{sizes.starts} starts of the plugin")
    measure_enabling(plugin, sizes.starts, figures)
    measure_listening(lab.network, sizes.starts, figures)
    _say(f"{sizes.played} endpoints of a played engine")
    measure_played(sizes, figures)
    with contenders(plugin) as network_id:
        _say(f"{sizes.lives} lives of a container of each contender, and of an endpoint without one")
        measure_lives(plugin, network_id, sizes.lives, figures)
        _say(f"{sizes.traces} starts of a container, traced")
        measure_phases(lab, plugin, sizes.traces, figures)
        _say(f"{sizes.bursts} times {sizes.burst} containers of each contender at once")
        measure_bursts(lab, sizes.bursts, sizes.burst, figures)
        _say(f"{sizes.fleet[-1]} containers, {sizes.idle_seconds:g} s of them idle")
        measure_fleet(lab, plugin, network_id, sizes, figures)


def _say(text: str) -> None:
    print(f"==> {text}", flush=True)
