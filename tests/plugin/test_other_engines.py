"""The core of the plugin tests once more, in the engines that `make test` does not run all of them in.

These are the one that DOCKERD names, if it names one, and the machine's own.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.engine_roots import chosen, given

REPOSITORY = Path(__file__).parents[2]
CORE = (
    "tests/plugin/test_containers.py",
    "tests/plugin/test_ipv6_container.py::test_container",
    "tests/plugin/test_ipv6_container.py::test_priority",
    "tests/plugin/test_mac_and_hostname.py::test_mac_address_of_the_users_choice",
    "tests/plugin/test_mac_and_hostname.py::test_connected_while_another_one_starts",
    "tests/plugin/test_macvlan_in_docker.py",
    "tests/plugin/test_identity_restart.py::test_restart_by_restart",
    "tests/plugin/test_refusals.py",
)
LIMIT_SECONDS = 900
OUTER = ("ENGINE", "PYTEST_")


OTHERS = [pytest.param(version, id=f"engine {version}") for version in (given(),) if version and version != chosen()]


@pytest.mark.timeout(LIMIT_SECONDS + 60)
@pytest.mark.parametrize("engine", [*OTHERS, pytest.param("", id="the machine's own")])
def test_core_tests_pass(engine: str) -> None:
    """Lives of containers, their links, identities and refusals; their own report is this one's output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OUTER)}
    quiet = ("-q", "-p", "no:cacheprovider")
    command = [sys.executable, "-m", "pytest", *quiet, *CORE]
    ended = subprocess.run(
        command, cwd=REPOSITORY, env=environment | {"ENGINE": engine}, timeout=LIMIT_SECONDS, check=False
    )
    assert ended.returncode == 0
