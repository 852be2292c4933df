"""Which lines of the shipped code the tests run: a plugin of pytest, by `-p tests.lab.lines`, that prints their share.

All processes of a run set bytes in one file, a byte a line. Unit tests run the sources, into which each statement gets
one before it that sets its line's byte. What ships is as it is: at its start Python imports what a `.pth` file beside
its packages says, and the harness puts one there (`rootfs.py`, `line_recorder.py`).

    python -m tests.lab.lines: the lines that have not run in the last such run, by file
"""

import ast
import builtins
import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from mmap import mmap
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from tests.lab import rootfs
from tests.lab.build import PLUGIN, ROOT
from tests.lab.command import run
from tests.lab.rootfs import LINES

PACKAGES = ("api", "supervisor", "workers")
INSIDE = 6  # parts of a shipped file's path before its package
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


def pytest_load_initial_conftests() -> None:
    """Before anything of ours is imported; pytest-xdist's workers go on with what its controller has begun."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        _begin()
    rootfs.RECORDS_LINES = True
    sys.meta_path.insert(0, _Recorded())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The share of each package, and of all."""
    known, missing = Counter[str](), Counter[str]()
    for name, lines, left in _files_by_lines():
        package = ".".join(Path(name).parent.parts)
        known[package] += len(lines)
        missing[package] += len(left)
    terminalreporter.section("lines of the shipped code that have run")
    for package in filter(known.get, known):
        terminalreporter.write_line(_share(package, known[package], missing[package]))
    terminalreporter.write_line(_share("all", known.total(), missing.total()))


def _share(name: str, lines: int, missing: int) -> str:
    return f"{name:<25} {lines - missing:6d} of {lines:6d}  {100 - 100 * missing / lines:5.1f} %"


def _begin() -> None:
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


class _Recorded(MetaPathFinder):
    """Finds our packages among the sources, and has them compiled with what records their lines."""

    def __init__(self) -> None:
        with (LINES / "ran").open("r+b") as file:
            vars(builtins)["__ran__"] = mmap(file.fileno(), 0)
        self._starts = {_name(path): start for path, start in _index()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """None for all else."""
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and spec.origin and Path(spec.origin).is_relative_to(ROOT):
            start = self._starts.get(str(Path(spec.origin).relative_to(ROOT)))
            spec.loader = spec.loader if start is None else _RecordingLoader(fullname, spec.origin, start)
        return spec


class _RecordingLoader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, start: int) -> None:
        super().__init__(fullname, path)
        self._start = start

    def path_stats(self, path: str) -> dict[str, int]:  # in the way of the interpreter's cache
        raise OSError

    def source_to_code(self, data: bytes, path: str) -> CodeType:  # type: ignore[override]
        tree = ast.parse(data)
        for parent, field in list(_blocks(tree)):
            setattr(parent, field, [one for statement in getattr(parent, field) for one in self._recorded(statement)])
        code: CodeType = compile(ast.fix_missing_locations(tree), path, "exec")
        return code

    def _recorded(self, statement: ast.stmt) -> list[ast.stmt]:
        match statement:
            case ast.Expr(value=ast.Constant()) | ast.ImportFrom(module="__future__"):
                return [statement]  # it has to be the first one
        (mark,) = ast.parse(f"__ran__[{self._start + statement.lineno}] = 1").body
        return [ast.copy_location(mark, statement), statement]


def _blocks(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """The lists of statements in there."""
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            if isinstance(getattr(node, field, None), list):
                yield node, field


def _files_by_lines() -> Iterator[tuple[str, list[int], list[int]]]:
    """Each file with its lines that have code, and those of them that have not run."""
    ran = (LINES / "ran").read_bytes()
    starts = dict(_index())
    out = run("chroot", PLUGIN / "rootfs", "/usr/bin/python3", "-I", "-OO", "-c", CODE_LINES, *starts)
    for path, lines in json.loads(out).items():
        name = _name(path)
        seen = {line for line in lines if ran[starts[path] + line]}
        for statement in _statements(ast.parse((ROOT / name).read_bytes())):
            if not seen.isdisjoint(statement):
                seen.update(statement)
        yield name, lines, sorted(set(lines) - seen)


def _statements(tree: ast.Module) -> Iterator[range]:
    """The lines of each, but for the statements in it."""
    for parent, field in _blocks(tree):
        match parent:
            case ast.ExceptHandler(lineno=first) | ast.match_case(pattern=ast.pattern(lineno=first)):
                yield range(first, parent.body[0].lineno + 1)
        for statement in getattr(parent, field):
            heads = getattr(statement, "decorator_list", [])
            inner = getattr(statement, "body", None) or getattr(statement, "cases", None)
            end = statement.end_lineno + 1
            if inner:
                end = max(statement.lineno + 1, getattr(inner[0], "pattern", inner[0]).lineno)
            yield range(min(one.lineno for one in [*heads, statement]), end)


def _files() -> Iterator[tuple[Path, Path]]:
    """The shipped files, each with its path inside, and outside."""
    root = PLUGIN / "rootfs"
    (site,) = (root / "usr" / "local" / "lib").glob("python3*/dist-packages")
    for source in sorted(path for package in PACKAGES for path in (site / package).rglob("*.py")):
        yield Path("/") / source.relative_to(root), source


def _index() -> Iterator[tuple[str, int]]:
    """The shipped files' paths inside, and where the bytes of each begin."""
    for line in (LINES / "index").read_text().splitlines():
        path, start = line.split()
        yield path, int(start)


def _name(path: str) -> str:
    return "/".join(Path(path).parts[INSIDE:])


def _ranges(lines: list[int]) -> Iterator[str]:
    """Neighbours as one word."""
    first = last = lines[0]
    for line in [*lines[1:], 0]:
        if line != last + 1:
            yield f"{first}-{last}" if first < last else str(first)
            first = line
        last = line


if __name__ == "__main__":
    for name, lines, left in _files_by_lines():
        if left:
            print(_share(name, len(lines), len(left)), ", ".join(_ranges(left)))
