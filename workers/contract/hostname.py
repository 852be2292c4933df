"""The host name that goes into option 12. Owns what may stand there (RFC 952, RFC 1123)."""

import re

MAX_LABEL = 63  # RFC 1035 section 2.3.4
ILLEGAL = re.compile(r"[^A-Za-z0-9-]+")


def legal_hostname(name: str | None) -> str | None:
    """The nearest legal host name, None where nothing legal is left. An underscore becomes a hyphen; labels are cut."""
    labels = (ILLEGAL.sub("-", label).strip("-")[:MAX_LABEL].rstrip("-") for label in (name or "").split("."))
    return ".".join(label for label in labels if label)[:253].strip("-.") or None
