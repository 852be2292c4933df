"""Text as no sane server would send it, the same in each run: for tests that hold whatever is fed to them."""

import random
from collections.abc import Iterator

FRAGMENTS = (
    *("192.0.2.10", "0.0.0.0/0", "255.255.255.255", "224.0.0.1", "127.0.0.1", "1.2.3", "01.2.3.4", "1.2.3.4.5"),
    *("/", "24", "/33", "-1", "+1", "1e3", "0x10", "٣", "²", "4294967295", "99999999999", "0", "10.0.0.0/8"),
    *(" ", "\t", "\n", "\r\n", "\x00", "\x1b[0m", "\u2028", "\ufeff", "%n%s", "$(reboot)", "`id`", "'", '"', "\\"),
    *("example.com", "..", "-", "_", ".", "ö", "\U0001f600", "\ud800", "a" * 300, "bad", "=", ";", "|", "::1"),
)


def texts(count: int, seed: int = 2131) -> Iterator[str]:
    """`count` mixtures, from empty to some thousand characters."""
    source = random.Random(seed)  # noqa: S311  no secret: the same in each run
    for _ in range(count):
        yield "".join(source.choice((*FRAGMENTS, chr(source.randrange(0x80)))) for _ in range(source.randrange(12)))
