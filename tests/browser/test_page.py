"""What a person sees on the page: containers as they come, change and go; details, keyboard, phone, screen reader."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import ADDRESS, many
from tests.lab.network import LAN
from tests.netns.process.rig import Rig
from tests.netns.process.scripted import Grant, scripted_server

LEASE_SECONDS = 30
DOCS = Path(__file__).parents[2] / "docs"
SERIOUS = ("serious", "critical")


def test_life_of_a_lease(rig: Rig, page: Page) -> None:
    """A container is there within a second, its address follows a NAK, its state an outage and the server's return.

    After the release it has gone.
    """
    with scripted_server(rig.machine.lan, Grant(lease_time=LEASE_SECONDS).answer) as server:
        container = rig.joined()
        row = page.locator("#containers tbody tr")
        expect(row).to_contain_text(str(LAN[60]), timeout=1000)
        expect(row).to_contain_text("bound")

        server.behaviour = Grant(LAN[61], lease_time=LEASE_SECONDS).answer
        rig.renew(container)
        expect(row).to_contain_text(str(LAN[61]))

        server.behaviour = lambda _: []
        expect(row).to_contain_text("rebinding", timeout=2000 * LEASE_SECONDS)
        expect(page.locator("#health")).to_contain_text("1 problem", timeout=2000 * LEASE_SECONDS)
        expect(row).to_contain_text("expired", timeout=2000 * LEASE_SECONDS)
        server.behaviour = Grant(LAN[61], lease_time=LEASE_SECONDS).answer
        expect(row).to_contain_text("bound", timeout=2000 * LEASE_SECONDS)

        rig.clean()
        expect(row).to_have_count(0)


def test_details_and_history(rig: Rig, page: Page) -> None:
    """The keyboard opens a container's details and closes them again; the history tells who had an address."""
    with scripted_server(rig.machine.lan, Grant().answer):
        container = rig.joined()
        name = page.locator("#containers tbody button.name")
        name.focus()
        page.keyboard.press("Enter")
        detail = page.locator("#detail")
        expect(detail).to_contain_text(container.mac)
        expect(detail.locator("#detail-events")).to_contain_text("bound")
        expect(detail.locator("#detail-messages")).to_contain_text("sent DISCOVER")
        expect(detail.locator("#detail-messages")).to_contain_text("received ACK ipv4, ")
        expect(detail.locator("svg.timeline")).to_have_attribute("role", "img")
        serious(page)
        page.keyboard.press("Escape")
        expect(detail).to_be_hidden()
        expect(name).to_be_focused()

        page.get_by_role("link", name="Leases").click()
        page.get_by_label("Address", exact=True).fill(str(LAN[60]))
        page.keyboard.press("Enter")
        expect(page.locator("#leases tbody tr")).to_contain_text(container.mac)
        serious(page)
        page.get_by_role("link", name="Workers").click()
        expect(page.locator("#workers tbody")).to_contain_text("supervisor")
        serious(page)
        page.get_by_role("link", name="Checks").click()
        expect(page.locator("#checks")).to_contain_text("None.")
        serious(page)
        rig.clean()


def test_hostile_names_are_text(rig: Rig, page: Page) -> None:
    """What a container or a server is called never becomes markup, and no script of it runs."""
    evil = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>\u202e"
    with scripted_server(rig.machine.lan, Grant().answer):
        container = rig.joined()
        like = {**container.view, "container": evil, "hostname": evil, "domain": evil, "last_trouble": evil}
        answer(page, json.dumps({"endpoints": [like]}))
        page.reload()
        expect(page.locator("#containers tbody button.name")).to_have_text(evil)
        page.locator("#containers tbody button.name").click()
        expect(page.locator("#detail-title")).to_have_text(evil)
        assert page.locator("#content img, dialog img").count() == 0
        assert "taken" not in page.title()
        rig.clean()


def test_many_rows(rig: Rig, page: Page) -> None:
    """With 500 rows nothing blocks the page for longer than a blink, neither the first time nor each second."""
    with scripted_server(rig.machine.lan, Grant().answer):
        container = rig.joined()
        answer(page, many(500, container.view))
        page.reload()
        expect(page.locator("#containers tbody tr")).to_have_count(500)
        longest = page.evaluate(
            """() => new Promise((done) => {
                let longest = 0, last = performance.now(), frames = 0;
                const frame = (now) => {
                    longest = Math.max(longest, now - last);
                    last = now;
                    if (++frames < 180) requestAnimationFrame(frame); else done(longest);
                };
                requestAnimationFrame(frame);
            })"""
        )
        print(f"the longest of 180 frames took {longest:.0f} ms")
        assert longest < 250
        page.get_by_label("Find").fill("web-499")
        expect(page.locator("#containers tbody tr")).to_have_count(1)
        rig.clean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_looks(rig: Rig, page: Page, scheme: str) -> None:
    """Light and dark, on a screen and on a phone: nothing serious for axe, nothing wider than the screen. Its pictures
    are those of the README, where PICTURES asks for them."""
    with scripted_server(rig.machine.lan, Grant().answer):
        container = rig.joined()
        answer(page, examples(container.view))
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.reload()
        expect(page.locator("#containers tbody tr")).to_have_count(4)
        serious(page)
        if os.environ.get("PICTURES"):
            page.set_viewport_size({"width": 1180, "height": 420})
            page.screenshot(path=DOCS / f"page-{scheme}.png")
        page.set_viewport_size({"width": 360, "height": 740})
        page.wait_for_function("innerWidth === 360")  # it is laid out anew
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        serious(page)
        rig.clean()


def answer(page: Page, endpoints: str) -> None:
    """The page gets this list in place of the plugin's."""

    def give(route: Route) -> None:
        route.fulfill(body=endpoints, content_type="application/json")

    page.route(f"http://{ADDRESS}/v1/endpoints", give)


def examples(like: dict[str, object]) -> str:
    """Four containers as a home has them."""
    day, now = timedelta(days=1), datetime.now(UTC)
    states = {
        "web": ("bound", 0.1),
        "mail": ("renewing", 0.6),
        "printer": ("rebinding", 0.9),
        "camera": ("expired", 1.1),
    }
    troubles = {"printer": "no answer: 3 REQUEST sent", "camera": "no answer: 9 REQUEST sent"}
    rows = [
        {
            **like,
            "endpoint_id": f"{index:064x}",
            "container": name,
            "network": "lan",
            "address": f"192.168.77.{61 + index}/24",
            "mac": f"02:00:5e:10:00:{index + 1:02x}",
            "lease_state": state,
            "last_trouble": troubles.get(name),
            "lease_seconds": day.total_seconds(),
            "renewed": (now - age * day).isoformat(),
            "expires": (now + (1 - age) * day).isoformat(),
        }
        for index, (name, (state, age)) in enumerate(states.items())
    ]
    return json.dumps({"endpoints": rows})


def serious(page: Page) -> None:
    """axe-core finds nothing serious in what is shown."""
    found = [v for v in Axe().run(page).response["violations"] if v["impact"] in SERIOUS]
    assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found] == []
