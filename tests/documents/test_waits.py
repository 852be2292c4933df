"""docs/waits.md, held to the supervisor's source: no call that may wait and no time is without its row, or wrong."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.documents.markdown import section

ROOT = Path(__file__).parents[2]
WAITS = (ROOT / "docs" / "waits.md").read_text()
MODULES = {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in (ROOT / "supervisor").rglob("*.py")}
# Of sockets, pipes, locks, processes, files and databases.
MAY_WAIT = {"accept", "acquire", "connect", "execute", "flock", "fsync", "listdir", "poll", "put", "read"}
MAY_WAIT |= {"read_text", "recv", "recv_bytes", "recvmsg", "scandir", "select", "send", "send_bytes", "sendall"}
MAY_WAIT |= {"sendmsg", "sigwait", "sleep", "wait", "waitid", "waitpid", "write"}
# What has such a method, too: objects of ours, whose own calls are in the table, and texts.
OTHERS = {"self", "child", "worker", "outbox", "store", "_store", "tables"}
CODE = re.compile(r"`([^`]+)`")


def _calls(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.With):
            yield from ("with" for item in node.items if ast.unparse(item.context_expr).endswith("_lock"))
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        name, receiver = node.func.attr, node.func.value
        if isinstance(receiver, ast.Constant) or ast.unparse(receiver).rpartition(".")[2] in OTHERS:
            continue
        if name in MAY_WAIT or (name == "get" and not node.args):  # a dictionary's `get` has a key
            yield name


def _times(module: ast.Module) -> Iterator[tuple[str, float]]:
    for node in module.body:
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = list(zip(target.elts, value.elts, strict=True))
            for name, value in pairs:
                is_time = isinstance(name, ast.Name) and re.search(r"(^|_)SECONDS(_|$)", name.id)
                if is_time and not isinstance(value, ast.Dict):  # of units
                    yield ast.unparse(name), float(eval(ast.unparse(value), {}))  # noqa: S307  our own source


def _rows(heading: str) -> list[list[str]]:
    lines = [line for line in section(WAITS, heading).splitlines() if line.startswith("| `")]
    return [line.strip("| ").split(" | ") for line in lines]


def test_calls_that_may_wait() -> None:
    """Each module's row names exactly the calls that it makes."""
    told = Counter(
        (module.strip("`"), call) for module, calls, *_ in _rows("Calls that may wait") for call in CODE.findall(calls)
    )
    made = {(name, call) for name, module in MODULES.items() for call in _calls(module)}
    assert made
    assert told == Counter(made)


def test_times() -> None:
    """Each time of the supervisor's is explained, with its value."""
    told = {
        (module.strip("`"), name.strip("`")): float(value)
        for module, name, value, *_ in _rows("The supervisor's times")
    }
    assert told == {(name, time): value for name, module in MODULES.items() for time, value in _times(module)}
