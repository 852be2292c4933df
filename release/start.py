"""The plugin of `make release`, shown as `make demo` shows it: a container with a lease, in emulation if need be."""

import argparse
import sys

from release.build import ARCHITECTURES, RELEASE
from release.emulation import able_to_run, native
from tests.lab.build import BUILD
from tests.lab.command import CommandFailed, NotReached
from tests.lab.demo import demo
from tests.lab.engine import EngineFailed


def main() -> int:
    """Exit status 1 and the reason on standard error where it does not work."""
    parser = argparse.ArgumentParser(prog="release.start", description=__doc__)
    parser.add_argument("architecture", choices=ARCHITECTURES, nargs="?", default=native())
    architecture = parser.parse_args().architecture
    try:
        with able_to_run(architecture, BUILD):
            demo(RELEASE / architecture / "plugin")
    except (CommandFailed, NotReached, EngineFailed, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
