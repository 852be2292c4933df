"""The documents, held to the code: commands are run or say why not, tables have the fields, errors are explained."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import StructMeta

from supervisor.contract.messages import Cost, EndpointView, EventView, Health, MessageView, WorkerView
from tests.documents.markdown import blocks, first_cells, headings, section
from workers.contract.messages import Trouble

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# In the order of their reader, who finds there what the ones before have made: tests/plugin/test_readme.py runs them.
RUN = [ROOT / "README.md", *(DOCS / f"{name}.md" for name in ("install", "usage", "identity", "operations"))]
RUN += [DOCS / f"{name}.md" for name in ("ipv6", "migration", "upgrade")]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
PACKAGES = ("api", "cli", "supervisor", "workers")
NOT_OUTPUT = ("sh", "yaml")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)")
SOURCE_FILE = re.compile(r"`((?:api|supervisor|workers|tests|release)/[\w/]+\.\w+)`")
NOTED = re.compile(r'\.note(?:_of_lan)?\(\s*"(\w+)"(?: if \w+ else "(\w+)")?')
OPERATIONS, FAQ = (DOCS / "operations.md").read_text(), (DOCS / "faq.md").read_text()
MESSAGES = ["Messages of the plugin", "Refused options", "Rare messages", "Answers to your questions"]
MESSAGES += ["Messages of docker dhcp"]
# The calls whose text a user sees, in Docker's error or in an answer to a question.
REFUSALS = {"InvalidRequest", "Conflict", "NotFound", "Failed", "Unavailable", "DeadlineExceeded", "NoLease"}
REFUSALS |= {"Failure", "Unreachable", "Refused"}  # the command's
OPTION_VALUES = ("supervisor/domain/option_values.py", "workers/contract/client_identity.py")  # ValueError's text, too


@pytest.mark.parametrize("document", [path for path in DOCUMENTS if path not in RUN], ids=lambda path: path.name)
def test_commands_that_are_not_run_say_why(document: Path) -> None:
    """Each command and file of a document that no test follows tells its reader so, with the reason."""
    silent = [b for b in blocks(document.read_text()) if b.language in NOT_OUTPUT and b.reason_not_run is None]
    assert [f"{document.name}:{block.line}" for block in silent] == []


@pytest.mark.parametrize("view", [EndpointView, EventView, Health, MessageView, WorkerView, Cost])
def test_the_manual_explains_every_field(view: StructMeta) -> None:
    """docs/operations.md has a table for each answer, with exactly the fields that the answer has."""
    headings = {
        EndpointView: "GET /v1/endpoints",
        EventView: "GET /v1/events",
        Health: "GET /healthz",
        MessageView: "GET /v1/endpoints/NAME",
        WorkerView: "GET /v1/workers",
        Cost: "What a process costs",
    }
    assert first_cells(section(OPERATIONS, headings[view])) == list(view.__struct_fields__)


def test_answers_are_shown_with_the_fields_that_they_have() -> None:
    """The answers that docs/operations.md prints have neither more nor fewer fields than real ones."""
    shown = [json.loads(block.text) for block in blocks(section(OPERATIONS, "Look at it")) if block.language == "json"]
    health, endpoints = shown
    assert list(health) == list(Health.__struct_fields__)
    assert [list(e) for e in endpoints["endpoints"]] == [list(EndpointView.__struct_fields__)]


def test_the_errors_that_are_explained_exist() -> None:
    """Each message of the plugin's that docs/faq.md explains is in its source, word for word."""
    explained = [text for heading in MESSAGES for text in first_cells(section(FAQ, heading))]
    source = re.sub(r'"\s*\n\s*f?"', "", "\n".join(path.read_text() for path in _sources()))
    assert explained
    assert [text for text in explained if text not in source] == []


def test_every_error_is_explained() -> None:
    """Whoever searches docs/faq.md for a refusal that the plugin can print finds it."""
    explained = first_cells(FAQ)
    refusals = [(place, text) for path in _sources() for place, text in _refusals(path)]
    assert len(refusals) > 50
    assert [f"{place}: {text}" for place, text in refusals if not any(words in text for words in explained)] == []


def _sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def _refusals(path: Path) -> Iterator[tuple[str, str]]:
    """The texts of the refusals that a file raises; those that pass another error on have no words of their own."""
    name = str(path.relative_to(ROOT))
    told = REFUSALS | ({"ValueError"} if name in OPTION_VALUES else set())
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id=error), args=[ast.Constant() | ast.JoinedStr() as text]) if error in told:
                own = _text(text)
                if len({*re.findall("[a-z_]{3,}", own)} - {"option"}) > 1:
                    yield f"{name}:{node.lineno}", own


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    """With {} in place of what is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)


def test_the_history_is_explained() -> None:
    """docs/operations.md explains each kind of event that can stand in the history of leases, and no others."""
    source = "".join(path.read_text() for path in (ROOT / "supervisor").rglob("*.py"))
    noted = {kind for found in NOTED.findall(source) for kind in found if kind}
    assert sorted(first_cells(section(OPERATIONS, "State"))) == sorted(noted | {*Trouble})


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """A reader who follows a link to another page, or to a heading, arrives there."""
    broken = []
    for file, heading in LINK.findall(document.read_text()):
        target = (document.parent / file).resolve() if file else document
        if not target.is_file() or (heading and heading not in _anchors(target.read_text())):
            broken.append(f"{file}#{heading}")
    assert broken == []


def _anchors(text: str) -> set[str]:
    """What GitHub and the site make of the headings."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings(text)}


def test_the_files_that_are_named_exist() -> None:
    """Whoever looks for a file of the source that a document names finds it."""
    named = {name for document in DOCUMENTS for name in SOURCE_FILE.findall(document.read_text())}
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
