"""Makes the archive: `python3 -m cli.onefile LIBRARIES FILE`. The same sources make the same file, byte by byte."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

HERE = Path(__file__).resolve().parent
LEFT_OUT = {"RECORD", "INSTALLER", "REQUESTED", "WHEEL", "direct_url.json", "top_level.txt", "entry_points.txt"}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that an archive can say


def build(libraries: Path, target: Path) -> None:
    """The command and its libraries in one file; it is complete as soon as it is there."""
    files = dict(sorted((*_files(libraries), *_files(HERE.parent, HERE.parent.name))))
    digest = hashlib.sha256()
    for name, content in files.items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    start = (HERE / "start.py").read_text(encoding="utf-8")
    files["__main__.py"] = start.replace('BUILD = ""', f'BUILD = "{digest.hexdigest()[:32]}"', 1).encode()

    fresh = target.with_name(target.name + ".new")
    with fresh.open("wb") as file:
        file.write(b"#!/usr/bin/env python3\n")
        with ZipFile(file, "w", ZIP_DEFLATED, compresslevel=9) as archive:
            for name, content in sorted(files.items()):
                entry = ZipInfo(name, EPOCH)
                entry.create_system, entry.external_attr, entry.compress_type = 3, 0o100644 << 16, ZIP_DEFLATED
                archive.writestr(entry, content, compresslevel=9)
    fresh.chmod(0o755)
    fresh.rename(target)


def _files(directory: Path, ahead: str = "") -> Iterator[tuple[str, bytes]]:
    """The files that are needed at run time, and the licences."""
    for path in directory.rglob("*"):
        inside = path.relative_to(directory)
        if not path.is_file() or "__pycache__" in inside.parts or inside.parts[0] == "bin":
            continue
        if path.name in LEFT_OUT or path.suffix in (".pyi", ".typed") or path.suffix == ".so":
            continue
        yield str(Path(ahead) / inside), path.read_bytes()


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
