"""Paths in another process's view of the file system. Owns nothing else; must not know whose view it is."""

from pathlib import Path

MAX_LINKS = 40  # as the kernel's own limit, path_resolution(7)


def resolve(root: Path, path: str) -> Path:
    """Where we find what a process with root directory `root` (/proc/PID/root) calls `path`.

    An absolute symbolic link, as /var/run is on most systems, would lead the kernel to our own root, so links are
    followed here. What does not exist is taken literally. Raises OSError for a loop or missing rights.
    """
    pending = list(reversed(Path(path).parts))
    found, links = root, 0
    while pending:
        part = pending.pop()
        if part == "/":
            found = root
        elif part == "..":
            found = found if found == root else found.parent
        elif (found / part).is_symlink():
            links += 1
            if links > MAX_LINKS:
                raise OSError(f"too many symbolic links in {path}")
            pending += reversed((found / part).readlink().parts)
        else:
            found = found / part
    return found
