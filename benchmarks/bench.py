"""All rows, in a laboratory of their own: the order in which they are taken, and where their results go."""

from dataclasses import replace
from pathlib import Path

from benchmarks.burst import measure_bursts
from benchmarks.card import measure_on_card
from benchmarks.contenders import Contenders
from benchmarks.dual import measure_dual
from benchmarks.figures import OURS, Figures
from benchmarks.fleet import measure_fleet
from benchmarks.life import measure_lives
from benchmarks.played import measure_played
from benchmarks.plots import draw_plots
from benchmarks.results import machine, write_results
from benchmarks.rows import table
from benchmarks.sizes import Sizes
from benchmarks.stage import SERVER, widen
from benchmarks.startup import measure_starts
from tests.lab.build import BUILD, PLUGIN, ROOT
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin

OUTPUT = BUILD / "bench"
LEASE_SECONDS = 120


def bench(sizes: Sizes, baseline: Path | None) -> None:
    """Prints the table; writes results and plots. `baseline` is another built plugin to measure beside ours."""
    figures = Figures()
    with Lab.temporary("bench") as lab:
        widen(lab.network)
        lab.dhcp.restart(replace(SERVER, lease_time=LEASE_SECONDS))
        plugin = Plugin.install(lab.engine, f"net-dhcp:{lab.name}", PLUGIN)
        with Contenders.installed(lab, plugin, baseline) as contenders:
            measure(contenders, sizes, figures)
        write_results(OUTPUT / "results.json", figures, machine(lab.engine.docker))
    draw_plots(OUTPUT, figures)
    print(table(figures))
    print(f"every sample and the plots: {OUTPUT.relative_to(ROOT)}")


def measure(contenders: Contenders, sizes: Sizes, figures: Figures) -> None:
    """Measures every row."""
    _say(f"{sizes.starts} starts of the plugin")
    measure_starts(contenders, sizes, figures)
    _say(f"{sizes.played} endpoints of a played engine")
    measure_played(contenders, sizes, figures)
    with contenders.networks() as network_ids:
        _say(f"{sizes.lives} lives of a container of each contender, and of an endpoint without one")
        measure_lives(contenders, network_ids, sizes, figures)
        _say(f"{sizes.lives} containers on a card, and as many by the engine's own driver")
        measure_on_card(contenders, sizes, figures)
        _say(f"{sizes.lives} containers and endpoints with both families")
        measure_dual(contenders, network_ids[OURS], sizes, figures)
        _say(f"{sizes.bursts} times {sizes.burst} containers of each contender at once")
        measure_bursts(contenders, sizes, figures)
        _say(f"{sizes.fleet[-1]} containers, {sizes.idle_seconds:g} s of them idle")
        measure_fleet(contenders, network_ids, sizes, figures)


def _say(text: str) -> None:
    print(f"==> {text}", flush=True)
