"""What is expensive to make and does not change by being used, for many tests."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Generic, TypeVar

import pytest

T = TypeVar("T")


class Shared(Generic[T]):
    """Made when a test needs it; a test that fails takes it along."""

    def __init__(self, make: Callable[[], AbstractContextManager[T]]) -> None:
        self._make = make
        self._stack = ExitStack()
        self._present: T | None = None

    @contextmanager
    def lend(self, session: pytest.Session) -> Iterator[T]:
        """For one test."""
        if self._present is None:
            self._present = self._stack.enter_context(self._make())
        failed = session.testsfailed
        try:
            yield self._present
        except BaseException:
            self.drop()
            raise
        if session.testsfailed > failed:
            self.drop()

    def drop(self) -> None:
        """The next test gets another one."""
        self._present = None
        self._stack.close()


@contextmanager
def shared(make: Callable[[], AbstractContextManager[T]]) -> Iterator[Shared[T]]:
    """For a fixture of a module."""
    made = Shared(make)
    yield made
    made.drop()
