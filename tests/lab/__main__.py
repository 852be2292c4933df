"""The command line behind the Makefile: `python3 -m tests.lab COMMAND`."""

import argparse
import sys

from tests.lab.build import build_plugin
from tests.lab.command import CommandFailed


def main() -> int:
    """Exit status 1 and the reason on standard error where a command failed."""
    parser = argparse.ArgumentParser(prog="tests.lab", description=__doc__)
    parser.add_argument("command", choices=["plugin"])
    parser.parse_args()
    try:
        build_plugin()
    except CommandFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
