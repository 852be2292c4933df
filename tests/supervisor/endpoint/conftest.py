"""What the tests of an endpoint share."""

from collections.abc import Iterator

import pytest

from tests.supervisor.puppet import Puppet


@pytest.fixture(name="puppet")
def _puppet() -> Iterator[Puppet]:
    puppet = Puppet()
    yield puppet
    puppet.close()
