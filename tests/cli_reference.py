"""`make docs`: writes the reference in docs/cli.md from the command's help."""

from pathlib import Path

from cli.errors import MEANINGS
from cli.main import group
from cli.manual import markdown

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
COMMANDS = "\n## Commands\n\n`make docs` writes this section from the command's own help.\n\n"
STATUSES = "| status | meaning |\n| --- | --- |\n"


def with_reference(page: str) -> str:
    """The page with both tables and all commands as they are now."""
    before, _, rest = page.partition(STATUSES)
    _, _, rest = rest.partition("\n\n")
    middle, _, _ = rest.partition(COMMANDS)
    statuses = "".join(f"| {status} | {meaning} |\n" for status, meaning in MEANINGS.items())
    return f"{before}{STATUSES}{statuses}\n{middle}{COMMANDS}" + "\n".join(markdown(group))


if __name__ == "__main__":
    PAGE.write_text(with_reference(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
