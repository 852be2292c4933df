"""Resolves paths in another process's view of the file system, and reads files there. Must not know which process."""

import os
from io import FileIO
from pathlib import Path
from stat import S_ISLNK, S_ISREG

MAX_LINKS = 40  # as the kernel's own limit, path_resolution(7)


def resolve(root: Path, path: str) -> Path:
    """Our path for `path` in the view of a process with the root directory `root` (/proc/PID/root).

    An absolute symbolic link, as /var/run is on most systems, would lead the kernel to our own root, so this function
    follows links itself. It takes a part that does not exist literally. Raises OSError for a loop or missing rights.
    It uses texts instead of a `Path` for each part, because each container's start asks a dozen times.
    """
    top = found = str(root)
    pending, links = _parts(path), 0
    while pending:
        part = pending.pop()
        below = f"{found}/{part}"
        if part == "..":
            found = found if found == top else found.rpartition("/")[0]
        elif _is_link(below):
            links += 1
            if links > MAX_LINKS:
                raise OSError(f"too many symbolic links in {path}")
            target = str(Path(below).readlink())
            found = top if target.startswith("/") else found
            pending += _parts(target)
        else:
            found = below
    return Path(found)


def open_regular(path: str | Path) -> FileIO:
    """A regular file, to read. Raises OSError, also for another kind of file: a FIFO would block us for ever."""
    number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(f"{path} is no regular file")
    return FileIO(number)


def read_regular(path: str | Path) -> bytes:
    """The content of a regular file. Raises OSError as `open_regular`."""
    with open_regular(path) as file:
        return file.read()


def _parts(path: str) -> list[str]:
    """The parts of a path, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _is_link(path: str) -> bool:
    try:
        return S_ISLNK(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
