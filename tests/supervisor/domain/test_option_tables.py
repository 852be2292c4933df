"""The pages that are made from the table of options: up to date, and every promise in them has a test that exists."""

import re

import pytest

from supervisor.domain.options import Scope, options_of
from tests.option_tables import LEASE_LIFE, OPTIONS, PROOFS, PROOFS_PAGE, ROOT, proofs_page, with_tables


def test_pages_are_those_of_the_code() -> None:
    """docs/options.md and docs/proofs.md have the words of the table in the code (`make docs`)."""
    assert with_tables(OPTIONS.read_text()) == OPTIONS.read_text()
    assert proofs_page() == PROOFS_PAGE.read_text()


@pytest.mark.parametrize("scope", Scope)
def test_every_option_has_a_proof(scope: Scope) -> None:
    """No row is without a test, and no test is named for a row that there is not."""
    assert PROOFS[scope].keys() == options_of(scope).keys()


@pytest.mark.parametrize(
    "proof",
    sorted({p for named in PROOFS.values() for p in named.values()} | {p for ps in LEASE_LIFE.values() for p in ps}),
)
def test_proofs_exist(proof: str) -> None:
    """Whoever looks for a named test finds it."""
    file, _, name = proof.partition("::")
    assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE)
