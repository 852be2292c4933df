"""Fixtures: Chromium on the plugin's machine, with the plugin's page."""

import json
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import ConsoleMessage, Page, Playwright, sync_playwright

from tests.lab.command import PATIENCE_SECONDS, wait_until
from tests.netns.process.conftest import _rigs, rig  # noqa: F401  fixtures
from tests.netns.process.rig import Rig

ADDRESS = "127.0.0.1:9618"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin serves its page; `rig` makes one of its own for each test."""
    monkeypatch.setattr("tests.netns.process.plugin.SETTINGS", {"OPS_LISTEN": ADDRESS})


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """Playwright's driver."""
    with sync_playwright() as driver:
        yield driver


@pytest.fixture
def page(alone: None, rig: Rig, playwright: Playwright, tmp_path: Path) -> Iterator[Page]:  # noqa: F811
    """The page, open in a Chromium that runs on the plugin's machine; an error on its console fails the test."""
    wait_until(lambda: rig.plugin.is_served, "the ops service")
    browser = tmp_path / "chromium"
    program = shutil.which("chromium")
    assert program, "chromium is not installed: run make test-page"
    browser.write_text(f'#!/bin/sh\nexec ip netns exec {shlex.quote(rig.machine.host)} {program} "$@"\n')
    browser.chmod(0o755)
    with playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]) as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE_SECONDS * 1000)
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text) if _is_error(message) else None)
        page.on("pageerror", lambda error: told.append(str(error)))
        page.goto(f"http://{ADDRESS}/")
        page.get_by_text("all is well").wait_for()
        yield page
        assert told == []


def _is_error(message: ConsoleMessage) -> bool:
    """Chromium tells of each answer with another status than 200, too: the page deals with those."""
    return message.type == "error" and not message.text.startswith("Failed to load resource")


def many(number: int, like: dict[str, object]) -> str:
    """The list of so many endpoints that are like this one."""
    endpoints = [
        {
            **like,
            "endpoint_id": f"{index:064x}",
            "container": f"web-{index}",
            "address": f"10.0.{index >> 8}.{index & 255}/16",
        }
        for index in range(number)
    ]
    return json.dumps({"endpoints": endpoints})
