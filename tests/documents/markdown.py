"""The documents' own commands, files and tables, read out of their Markdown. Pure; must not know how they are run."""

import re
from dataclasses import dataclass

FENCED = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"^# Not run by the tests: (?P<reason>.+)$", re.MULTILINE)
FILE = re.compile(r"\A# (?P<name>[\w.-]+\.yaml)$", re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ROW = re.compile(r"^\| `(?P<word>[^`]+)` \|", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `line` is where its text begins."""

    language: str
    text: str
    line: int

    @property
    def reason_not_run(self) -> str | None:
        """Why its reader is told that no test runs it."""
        match = NOT_RUN.search(self.text)
        return match["reason"] if match else None

    @property
    def file(self) -> str | None:
        """The name under which the reader saves it, from its first line."""
        match = FILE.search(self.text)
        return match["name"] if match else None


def blocks(document: str) -> list[Block]:
    """All fenced blocks, in order."""
    found = FENCED.finditer(document)
    return [Block(m["language"], m["text"], document[: m.start("text")].count("\n") + 1) for m in found]


def section(document: str, heading: str) -> str:
    """What stands below the heading, whatever its level, to the next one; raises ValueError where there is none."""
    parts = HEADING.split(_without_comments(document))
    return parts[parts.index(heading) + 1].replace("\0", "#")


def headings(document: str) -> list[str]:
    """All of them, in order."""
    return HEADING.findall(_without_comments(document))


def _without_comments(document: str) -> str:
    """A shell's comment looks like a heading."""
    return FENCED.sub(lambda block: block[0].replace("\n#", "\n\0"), document)


def first_cells(text: str) -> list[str]:
    """The code in the first cell of each table row."""
    return [match["word"] for match in ROW.finditer(text)]
