"""Which lines of the shipped code have run, in all processes of tests that run what ships; `RECORD_LINES=1` measures.

    python -m tests.lab.lines begin, and afterwards: python -m tests.lab.lines report
At its start Python imports what a `.pth` file beside its packages says: the harness puts one there (`rootfs.py`).
What ships is as it is. The report adds what coverage.py knows of unit tests, if it has measured.
"""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from coverage import CoverageData

from tests.lab.build import BUILD, PLUGIN, ROOT
from tests.lab.command import run
from tests.lab.rootfs import LINES

PACKAGES = ("api", "supervisor", "workers")
# The lines that have code, by file, as the shipped interpreter sees them.
CODE_LINES = """
import json, sys
def lines(code):
    yield from (line for _, _, line in code.co_lines() if line)
    for one in code.co_consts:
        if hasattr(one, "co_lines"):
            yield from lines(one)
print(json.dumps({p: sorted(set(lines(compile(open(p).read(), p, "exec", optimize=2)))) for p in sys.argv[1:]}))
"""


def begin() -> None:
    """Nothing has run yet."""
    shutil.rmtree(LINES, ignore_errors=True)
    (LINES / "site").mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("line_recorder.py"), LINES / "site")
    (LINES / "site" / "line_recorder.pth").write_text("import line_recorder\n")
    at = 0
    with (LINES / "index").open("w") as index:
        for path, source in _files():
            index.write(f"{path} {at}\n")
            at += len(source.read_bytes().splitlines()) + 1
    (LINES / "ran").write_bytes(bytes(at))


def report() -> None:
    """The lines that have not run, by file, and the share of those that have."""
    known, missing = 0, 0
    ran = _ran()
    paths = [str(path) for path, _ in _files()]
    out = run("chroot", PLUGIN / "rootfs", "/usr/bin/python3", "-I", "-OO", "-c", CODE_LINES, *paths)
    for path, lines in json.loads(out).items():
        name = "/".join(Path(path).parts[6:])
        left = sorted(set(lines) - ran[path] - _of_unit_tests(ROOT / name))
        known, missing = known + len(lines), missing + len(left)
        if left:
            print(f"{name:<45} {100 - 100 * len(left) / len(lines):5.1f} %  {', '.join(_ranges(left))}")
    print(f"{known - missing} of {known} lines with code have run: {100 - 100 * missing / known:.1f} %")


def _files() -> Iterator[tuple[Path, Path]]:
    """The shipped files, each with its path inside, and outside."""
    root = PLUGIN / "rootfs"
    (site,) = (root / "usr" / "local" / "lib").glob("python3*/dist-packages")
    for source in sorted(path for package in PACKAGES for path in (site / package).rglob("*.py")):
        yield Path("/") / source.relative_to(root), source


def _ran() -> dict[str, set[int]]:
    """The lines that have run, by the file's path inside."""
    ran = (LINES / "ran").read_bytes()
    index = [line.split() for line in (LINES / "index").read_text().splitlines()]
    ends = [int(start) for _, start in index[1:]] + [len(ran)]
    return {
        path: {number for number, byte in enumerate(ran[int(start) : end]) if byte}
        for (path, start), end in zip(index, ends, strict=True)
    }


def _of_unit_tests(source: Path) -> set[int]:
    """The lines of this file that coverage.py has seen."""
    data = CoverageData(str(BUILD / "coverage"))
    data.read()
    return set(data.lines(str(source)) or ())


def _ranges(lines: list[int]) -> Iterator[str]:
    """Neighbours as one word."""
    first = last = lines[0]
    for line in [*lines[1:], 0]:
        if line != last + 1:
            yield f"{first}-{last}" if first < last else str(first)
            first = line
        last = line


if __name__ == "__main__":
    {"begin": begin, "report": report}[sys.argv[1]]()
