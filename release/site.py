"""Gathers the documents for the site under build/site-source, where all pages are beside each other: `make site`.

A link to a page follows it there; one that leads elsewhere is an error, and the generator checks the rest (`--strict`).
"""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "build" / "site-source"
DOCS = ROOT / "docs"
# The pages from outside of docs/, and their names in the site.
OTHERS = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "report.md",
    "tests/README.md": "tests.md",
    "LICENSE": "license.md",
}
MENU_PAGE = re.compile(r"^ +- (?:\w+: )?([\w.]+\.md)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)(?P<target>[^)#\s]+)")


class Incomplete(Exception):
    """A page links to something that is no page of the site, or the site's menu lacks a page."""


def gather() -> None:
    """Make the directory anew; raises Incomplete."""
    pages = {ROOT / name: new for name, new in OTHERS.items()} | {path: path.name for path in DOCS.iterdir()}
    menu = MENU_PAGE.findall((ROOT / "mkdocs.yml").read_text())
    if missing := {name for name in pages.values() if name.endswith(".md")} - {*menu}:
        raise Incomplete(f"mkdocs.yml does not name {', '.join(sorted(missing))}")
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    for path, name in pages.items():
        if path.suffix == ".md":
            (TARGET / name).write_text(_with_links(path, pages))
        elif name.endswith(".md"):
            (TARGET / name).write_text(f"# License\n\n```text\n{path.read_text()}```\n")
        else:
            shutil.copyfile(path, TARGET / name)


def _with_links(page: Path, pages: dict[Path, str]) -> str:
    def moved(link: re.Match[str]) -> str:
        target = (page.parent / link["target"]).resolve()
        if target not in pages:
            raise Incomplete(f"{page.relative_to(ROOT)} links to {link['target']}, which is no page of the site")
        return f"]({pages[target]}"

    return LINK.sub(moved, page.read_text())


if __name__ == "__main__":
    try:
        gather()
    except Incomplete as error:
        sys.exit(f"failed: {error}")
