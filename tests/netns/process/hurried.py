"""The plugin with less patience than the product, which has no such options: minutes are seconds."""

from collections.abc import Mapping

JOIN_SECONDS = 4.0  # a busy machine has to join a container in that
SURE_SECONDS = 2.0
GONE_SECONDS = 0.5
ENGINE_IS_SILENT = {
    "supervisor.core.TICK_SECONDS": 0.2,
    "supervisor.driver.networks.SURE_SECONDS": SURE_SECONDS,
    "supervisor.endpoint.endpoint.JOIN_SECONDS": JOIN_SECONDS,
    "supervisor.endpoint.endpoint.GONE_SECONDS": GONE_SECONDS,
}


def with_constants(constants: Mapping[str, float]) -> tuple[str, ...]:
    """The program of a plugin with these, by their full names."""
    modules = sorted({f"import {name.rpartition('.')[0]}" for name in constants})
    values = [f"{name} = {value}" for name, value in constants.items()]
    program = "\n".join([*modules, *values, "from supervisor.init import main", "main()"])
    return ("-c", program)
