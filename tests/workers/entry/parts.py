"""What a worker's state is declared to consist of."""

from collections.abc import Iterator
from typing import get_origin

from msgspec.inspect import DataclassType, Type, type_info

from workers.endpoint.worker import Worker


def types(info: Type, known: set[type]) -> Iterator[Type]:
    """Those that a state consists of."""
    parts = [getattr(info, name, None) for name in ("item_type", "key_type", "value_type")]
    if isinstance(info, DataclassType):
        if info.cls in known:
            return
        known.add(info.cls)
    yield info
    parts += [*getattr(info, "types", ()), *getattr(info, "item_types", ())]
    parts += [one.type for one in getattr(info, "fields", ())]
    for part in parts:
        if part is not None:
            yield from types(part, known)


STATE = list(types(type_info(Worker), set()))
PARTS = [get_origin(info.cls) or info.cls for info in STATE if isinstance(info, DataclassType)]
