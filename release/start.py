"""The plugin of `make release`, shown as `make demo` shows it: a container with a lease.

That of arm64 starts elsewhere on a machine that is emulated as a whole, and there by this module again.
"""

import argparse
import sys

from release.build import ARCHITECTURES, RELEASE
from release.emulation import native
from release.machine import run_in_machine
from tests.lab.command import CommandFailed, NotReached
from tests.lab.demo import demo
from tests.lab.engine import EngineFailed


def main() -> int:
    """Exit status 1 and the reason on standard error where it does not work."""
    parser = argparse.ArgumentParser(prog="release.start", description=__doc__)
    parser.add_argument("architecture", choices=ARCHITECTURES, nargs="?", default=native())
    architecture = parser.parse_args().architecture
    try:
        if architecture == "arm64" != native():
            return run_in_machine("python3", "-m", "release.start", architecture)
        demo(RELEASE / architecture / "plugin")
    except (CommandFailed, NotReached, EngineFailed, OSError) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
