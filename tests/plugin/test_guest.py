"""What this machine's kernel may lack: the short form of `make test-kernels`."""

import pytest

from tests.lab.guest import LIMIT_SECONDS, run_kernel_tests

SERIES = "6.1"


@pytest.mark.timeout(LIMIT_SECONDS + 60)
def test_kernel_tests_pass_in_a_guest() -> None:
    """The tests of tests/kernel pass under Debian 12's kernel; their own report is this one's output."""
    assert run_kernel_tests(SERIES, short=True) == 0
