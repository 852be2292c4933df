"""The command behind `make soak`: a laboratory, one run, its table. Exit status 1 where a gap has no explanation."""

import argparse
import shutil
import sys
import time

from tests.lab.build import BUILD, PLUGIN
from tests.lab.lab import Lab
from tests.lab.plugin import Plugin
from tests.soak.run import Settings, Soak
from tests.soak.verdict import story, table, unexplained

EVIDENCE = BUILD / "soak"


def main() -> int:
    """0 where everything is explained."""
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--containers", type=int, default=30)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10_000)
    arguments = parser.parse_args()
    print(f"==> {arguments.containers} containers, {arguments.minutes:g} minutes, SEED={arguments.seed}", flush=True)
    with Lab.temporary("soak") as lab:
        plugin = Plugin.install(lab.engine, "net-dhcp:soak", PLUGIN)
        soak = Soak(lab, plugin, Settings(60 * arguments.minutes, arguments.containers, arguments.seed))
        try:
            found = soak.run()
        finally:
            _keep(lab)
    (EVIDENCE / "story.txt").write_text(f"{story(soak.diary, found)}\n")
    print(table(soak.diary, found))
    return 1 if unexplained(found) else 0


def _keep(lab: Lab) -> None:
    """The logs, for whoever looks into a gap."""
    EVIDENCE.mkdir(exist_ok=True)
    for log in (lab.dhcp.log_file, lab.engine.log):
        shutil.copy(log, EVIDENCE)


if __name__ == "__main__":
    sys.exit(main())
