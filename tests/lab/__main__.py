"""The command line behind the Makefile: `python3 -m tests.lab COMMAND`."""

import argparse
import subprocess
import sys
from collections.abc import Callable

from tests.lab.build import PLUGIN, build_before, build_plugin
from tests.lab.command import CommandFailed, NotReached
from tests.lab.demo import demo
from tests.lab.engine import Docker, EngineFailed
from tests.lab.engine_roots import UnknownEngine, make_chosen
from tests.lab.guest import GuestFailed, run_kernel_tests
from tests.lab.kernels import SERIES
from tests.lab.lab import Lab
from tests.lab.network import BRIDGE, SERVER
from tests.lab.packages import install_missing
from tests.lab.plugin import Plugin, create
from tests.lab.protocol_recorder import record

LAB = "lab"
DRIVER = "net-dhcp:dev"
COMMAND = "build/docker-dhcp"
OPS_LISTEN = "127.0.0.1:9618"


def up() -> None:
    """Leave a laboratory running, with the plugin in it, and say how it is used."""
    lab = Lab(LAB)
    lab.up()
    Plugin.install(lab.engine, DRIVER, PLUGIN, f"OPS_LISTEN={OPS_LISTEN}")
    print(
        f"The lab is up, with {DRIVER} enabled. Use its engine from any shell:\n\n"
        f"    export DOCKER_HOST=unix://{lab.engine.socket}\n"
        f"    docker network create -d {DRIVER} --ipam-driver null -o bridge={BRIDGE} lan\n"
        f"    docker run -d --name web --network lan lab-busybox\n"
        f"    {COMMAND} ps\n\n"
        f"The page is http://{OPS_LISTEN}/ in the namespace {lab.network.host}. Break something, and ask why:\n\n"
        f"    nsenter --net=/run/netns/{lab.network.host} ip link set uplink down\n"
        f"    {COMMAND} doctor\n\n"
        f"The bridge is {BRIDGE} in the network namespace {lab.network.host}; the DHCP server is {SERVER} in\n"
        f"{lab.network.lan}. Its log: {lab.dhcp.log_file}\n"
        f"The engine's log, with the plugin's: {lab.engine.log}\n"
        "`make lab-down` removes everything."
    )


def down() -> None:
    """Remove that laboratory."""
    Lab(LAB).down()


COMMANDS: dict[str, Callable[[], None]] = {
    "setup": install_missing,
    "plugin": build_plugin,
    "plugin-before": build_before,
    "engine": make_chosen,
    "up": up,
    "down": down,
    "demo": demo,
    "record": record,
}


def main() -> int:
    """Exit status 1 and the reason on standard error where a command failed."""
    parser = argparse.ArgumentParser(prog="tests.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in COMMANDS:
        commands.add_parser(name)
    commands.add_parser("create").add_argument("name")
    commands.add_parser("test-kernel").add_argument("series", choices=SERIES)
    arguments = parser.parse_args()
    try:
        if arguments.command == "test-kernel":
            return run_kernel_tests(arguments.series)
        if arguments.command == "create":
            create(Docker(), arguments.name, PLUGIN)
        else:
            COMMANDS[arguments.command]()
    except (CommandFailed, NotReached, EngineFailed, UnknownEngine, GuestFailed, subprocess.TimeoutExpired) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
