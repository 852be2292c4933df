"""The plugin on a machine of its own, as the process tests have it."""

from tests.netns.process.conftest import _rigs, alone, instances, rig, server

__all__ = ["_rigs", "alone", "instances", "rig", "server"]
