"""Prometheus of Debian's package, unpacked, with the files of contrib/monitoring."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

from tests.lab.command import run
from tests.lab.daemon import Daemon
from tests.lab.network import inside
from tests.lab.unpacked import unpacked

FILES = Path(__file__).resolve().parents[2] / "contrib" / "monitoring"
ADDRESS = "127.0.0.1:9090"


def promtool(*args: str | Path) -> str:
    """What it says; raises CommandFailed."""
    return run(unpacked("prometheus") / "usr/bin/promtool", *args)


@dataclass(frozen=True, slots=True)
class Prometheus(Daemon):
    """It scrapes and judges once a second."""

    name: ClassVar[str] = "prometheus"
    started: ClassVar[str] = "Server is ready to receive web requests"

    def start(self, token: str, *targets: str) -> None:
        """With the rules and the configuration that find hosts by files, of which one names the targets."""
        program = unpacked("prometheus") / "usr/bin/prometheus"
        (self.directory / "hosts").mkdir(parents=True)
        shutil.copy(FILES / "alerts.yml", self.directory)
        text = (FILES / "prometheus.yml").read_text()
        for interval in ("scrape_interval", "evaluation_interval"):
            assert f"{interval}: 15s" in text
            text = text.replace(f"{interval}: 15s", f"{interval}: 1s")
        (self.directory / "prometheus.yml").write_text(text)
        (self.directory / "token").write_text(token)
        (self.directory / "hosts" / "lab.yml").write_text(json.dumps([{"targets": targets}]))
        config = f"--config.file={self.directory / 'prometheus.yml'}"
        data = f"--storage.tsdb.path={self.directory / 'data'}"
        self.launch(str(program), config, data, f"--web.listen-address={ADDRESS}")

    def query(self, expression: str) -> list[Any]:
        """The samples that an instant query gives; raises CommandFailed for one that it does not take."""
        return list(self._ask("query", query=expression)["result"])

    def alerts(self) -> dict[str, dict[str, str]]:
        """The labels of one firing alert of each name."""
        firing = [one for one in self._ask("alerts")["alerts"] if one["state"] == "firing"]
        return {one["labels"]["alertname"]: one["labels"] for one in firing}

    def targets(self) -> dict[str, str]:
        """The health of each."""
        return {one["scrapeUrl"]: one["health"] for one in self._ask("targets")["activeTargets"]}

    def _ask(self, what: str, **parameters: str) -> Any:  # noqa: ANN401  (JSON)
        url = f"http://{ADDRESS}/api/v1/{what}?{urlencode(parameters)}"
        return json.loads(run(*inside(self.netns, "curl", "-sSf", url)))["data"]
