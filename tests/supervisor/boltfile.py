"""Files as bolt writes them, made of what a test wants to have in them."""

from collections.abc import Iterator, Mapping

from supervisor.engine.bolt import (
    BRANCH,
    BRANCH_ELEMENT,
    BUCKET,
    CHECKSUM,
    IS_BUCKET,
    LEAF,
    LEAF_ELEMENT,
    MAGIC,
    META,
    PAGE,
    VERSION,
    fnv,
)

META_PAGE = 4  # its kind
FIRST = 4  # the first page behind two meta pages, the free list and the root bucket
PER_LEAF = 4
Items = Mapping[bytes, bytes]


def bolt_file(buckets: Mapping[bytes, Items], *, page_size: int = 4096, transaction: int = 8) -> bytes:
    """A bucket of few elements is in the place of a value, a larger one has leaves of its own below a branch."""
    pages: dict[int, bytes] = {}
    values: dict[bytes, bytes] = {}
    for name, items in buckets.items():
        pairs = sorted(items.items())
        leaves = [pairs[at : at + PER_LEAF] for at in range(0, len(pairs), PER_LEAF)]
        if len(leaves) <= 1:
            values[name] = BUCKET.pack(0, 0) + _leaf(0, pairs, 0)
            continue
        below = []
        for leaf in leaves:
            number = FIRST + len(pages)
            pages[number] = _leaf(number, leaf, 0)
            below.append((leaf[0][0], number))
        root = FIRST + len(pages)
        pages[root] = _branch(root, below)
        values[name] = BUCKET.pack(root, 0)
    pages[3] = _leaf(3, sorted(values.items()), IS_BUCKET)
    high = FIRST + len(pages) - 1
    for number in (0, 1):
        pages[number] = meta_page(number, page_size, 3, high, transaction - (transaction + number) % 2)
    return b"".join(pages.get(number, b"").ljust(page_size, b"\0") for number in range(high))


def meta_page(number: int, page_size: int, root: int, high: int, transaction: int) -> bytes:
    """One of the two meta pages."""
    meta = META.pack(MAGIC, VERSION, page_size, 0, root, 0, 2, high, transaction)
    return PAGE.pack(number, META_PAGE, 0, 0) + meta + CHECKSUM.pack(fnv(meta))


def _leaf(number: int, pairs: list[tuple[bytes, bytes]], flags: int) -> bytes:
    heads = _heads(len(pairs), LEAF_ELEMENT.size, [len(k) + len(v) for k, v in pairs])
    elements = (LEAF_ELEMENT.pack(flags, at, len(k), len(v)) for at, (k, v) in zip(heads, pairs, strict=True))
    return PAGE.pack(number, LEAF, len(pairs), 0) + b"".join(elements) + b"".join(k + v for k, v in pairs)


def _branch(number: int, below: list[tuple[bytes, int]]) -> bytes:
    heads = _heads(len(below), BRANCH_ELEMENT.size, [len(key) for key, _ in below])
    elements = (BRANCH_ELEMENT.pack(at, len(key), page) for at, (key, page) in zip(heads, below, strict=True))
    return PAGE.pack(number, BRANCH, len(below), 0) + b"".join(elements) + b"".join(key for key, _ in below)


def _heads(count: int, size: int, lengths: list[int]) -> Iterator[int]:
    """Where each element's key is, counted from the element."""
    written = 0
    for index, length in enumerate(lengths):
        yield (count - index) * size + written
        written += length
