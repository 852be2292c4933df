"""One call of the command: which engine, which plugin, and connections to both, made when they are first needed."""

from functools import cached_property
from pathlib import Path

import click

from cli.client import Client
from cli.engine import Engine, Installed
from cli.errors import NotFound, Unreachable
from cli.where import Target, directories, engine_host, require_here, sockets


class Session:
    """What a command gets. Everything in it raises Failure."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @cached_property
    def engine(self) -> Engine:
        """The engine that is meant."""
        return Engine(engine_host(self.target))

    @cached_property
    def client(self) -> Client:
        """The plugin that is meant."""
        return Client(Path(self.target.socket) if self.target.socket else self._socket())

    @cached_property
    def installed(self) -> Installed:
        """The same plugin as the engine knows it."""
        found = self.engine.plugins()
        if self.target.plugin is None and self.target.socket:
            found = [plugin for plugin in found if plugin.id == self.client.path.parent.name] or found
        return self._choose(found)

    def close(self) -> None:
        """Ends the connection to the engine, if there is one."""
        if "engine" in self.__dict__:
            self.engine.close()

    def _socket(self) -> Path:
        """The engine is asked only if the sockets alone do not tell: its SDK takes longer than the question."""
        host = engine_host(self.target)
        require_here(host)
        places = {id_: path for directory in reversed(directories(host)) for id_, path in sockets(directory).items()}
        first = next((found for directory in directories(host) if (found := sockets(directory))), {})
        if len(first) == 1 and self.target.plugin is None:
            return next(iter(first.values()))
        plugin = self.installed
        if not plugin.enabled:
            raise Unreachable(f"the plugin {plugin.name} is disabled: `docker plugin enable {plugin.name}`")
        if plugin.id not in places:
            looked = ", ".join(map(str, directories(host)))
            raise Unreachable(
                f"the plugin {plugin.name} is enabled, but its socket is not in {looked}: name it by --socket"
            )
        return places[plugin.id]

    def _choose(self, found: list[Installed]) -> Installed:
        wanted = self.target.plugin
        if wanted is not None:
            named = [p for p in found if wanted in (p.name, p.name.removesuffix(":latest")) or p.id.startswith(wanted)]
        else:
            named = [p for p in found if p.enabled] or found
        if len(named) == 1:
            return named[0]
        names = ", ".join(plugin.name for plugin in found)
        if not found:
            raise NotFound("the plugin is not installed in this engine: `docker plugin install --alias net-dhcp …`")
        if not named:
            raise NotFound(f"no plugin {wanted!r}; this engine has {names}")
        raise Unreachable(f"several plugins may be meant: name one by --plugin: {names}")


pass_session = click.make_pass_decorator(Session)
