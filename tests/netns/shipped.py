"""The modules of this directory, run by the shipped interpreter in the built root file system.

There a pytest of its own runs one module. It and what it needs come from this environment and are all Python; nothing
else does. Its reports are taken for ours.
"""

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

import pytest

from tests.lab.command import MACHINE
from tests.lab.rootfs import INTERPRETER, in_rootfs

REPOSITORY = Path(__file__).parents[2]
HERE, CONFIGURATION, ENVIRONMENT = "/run/here", "/run/repository/pyproject.toml", "/run/environment"
MOUNTS = {
    f"{HERE}/tests": REPOSITORY / "tests",  # without the sources beside it
    str(Path(CONFIGURATION).parent): REPOSITORY,
    ENVIRONMENT: Path(sysconfig.get_path("purelib")),
    "/tmp": Path("/tmp"),
}
PROGRAM = f"""
import importlib.machinery, importlib.metadata, os, sys

class Tools:
    names = "_pytest", "iniconfig", "packaging", "pluggy", "py", "pygments", "pytest", "pytest_timeout"

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            return importlib.machinery.PathFinder.find_spec(name, path or ["{ENVIRONMENT}"], target)

    def find_distributions(self, context):
        found = importlib.metadata.DistributionFinder.Context(name=context.name, path=["{ENVIRONMENT}"])
        return importlib.metadata.MetadataPathFinder.find_distributions(found)

sys.meta_path.append(Tools())
sys.path.append("{HERE}")
sys.dont_write_bytecode = True
import pytest
from tests.netns.shipped import Reporter
os.chdir("{HERE}")
# It rewrites the assertions of test modules, which hold therefore; the interpreter leaves out those of other modules.
quiet = ["-W", "ignore:assertions not in test modules:pytest.PytestConfigWarning"]
plugins = ["-p", "pytest_timeout", "-p", "no:cacheprovider", "-p", "no:debugging"]
options = ["--rootdir=.", "-c", "{CONFIGURATION}", *plugins, *quiet]
sys.exit(pytest.main([*options, *sys.argv[2:]], plugins=[Reporter(int(sys.argv[1]))]))
"""
IS_SHIPPED = Path(MACHINE).is_dir()


class Reporter:
    """In there: writes each report as a line of JSON."""

    def __init__(self, descriptor: int) -> None:
        self._lines = os.fdopen(descriptor, "w", buffering=1)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """One for each of setup, call and teardown."""
        report = yield
        data = item.config.hook.pytest_report_to_serializable(config=item.config, report=report)
        self._lines.write(json.dumps(data) + "\n")
        return report


class ShippedModule:
    """Out here: the process in there that runs these tests of one module, one after the other."""

    def __init__(self, items: list[pytest.Item]) -> None:
        self.path = items[0].path
        self._output = TemporaryFile()  # noqa: SIM115  (until `end`)
        reading, writing = os.pipe()
        command = [*INTERPRETER, "-c", PROGRAM, str(writing), *(item.nodeid for item in items)]
        self._process = subprocess.Popen(
            in_rootfs(*command, mounts=MOUNTS, with_machine=True),
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            stdout=self._output,
            stderr=self._output,
            pass_fds=[writing],
        )
        os.close(writing)
        self._lines = os.fdopen(reading)

    def reports(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        """Those of one test, as they come."""
        for line in self._lines:
            report = item.config.hook.pytest_report_from_serializable(config=item.config, data=json.loads(line))
            if report.nodeid == item.nodeid:
                yield report
                if report.when == "teardown":
                    return
        self._output.seek(0)
        said = f"it ended in the built root file system:\n{self._output.read().decode(errors='replace')}"
        yield pytest.TestReport(item.nodeid, item.location, {}, "failed", said, "call")

    def end(self) -> None:
        """Also in the middle of a test."""
        self._process.terminate()
        self._process.wait()
        self._lines.close()
        self._output.close()
