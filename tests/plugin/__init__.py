"""The built plugin in a real Docker Engine."""

import pytest

pytest.register_assert_rewrite("tests.plugin.judge")
