"""The README's tables of options, made from the table in the code: `make docs` writes them, a test compares them."""

import re
from pathlib import Path

from supervisor.domain.options import EVERY_MODE, Option, Scope, options_of
from workers.contract.link import LinkKind

README = Path(__file__).parents[1] / "README.md"
HEADINGS = {Scope.NETWORK: "Options of a network", Scope.ENDPOINT: "Options of a container"}


def table(scope: Scope) -> str:
    """Markdown, with a row for each option."""
    rows = (f"| `{o.name}` | {_default(o, scope)} | {_modes(o)} | {o.help} |" for o in options_of(scope).values())
    return "\n".join(("| option | default | mode | meaning |", "| --- | --- | --- | --- |", *rows, ""))


def _default(option: Option, scope: Scope) -> str:
    return "the network's" if scope is Scope.ENDPOINT and Scope.NETWORK in option.scopes else option.default


def _modes(option: Option) -> str:
    """The values of `mode` that it fits."""
    return "any" if option.modes == EVERY_MODE else ", ".join(f"`{mode}`" for mode in LinkKind if mode in option.modes)


def with_tables(document: str) -> str:
    """The document, with the first table below each of the HEADINGS replaced."""
    for scope, heading in HEADINGS.items():
        pattern = re.compile(rf"(^### {heading}\n(?:(?!\|).*\n)*)(?:\|.*\n)+", re.MULTILINE)
        found = pattern.search(document)
        if found is None:
            raise ValueError(f"no table below {heading!r}")
        document = document[: found.end(1)] + table(scope) + document[found.end() :]
    return document


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text()))
