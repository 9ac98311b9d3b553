"""What the product writes as TOML reads back as it was."""

from __future__ import annotations

import tomllib

from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.settings.toml_text import toml_text

TEXTS = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
@example({"口令": '𠮷野家 \x7f \\ "东" \n'})
def test_a_tree_reads_back_as_it_was(tree: dict[str, object]) -> None:
    assert tomllib.loads(toml_text(tree)) == tree
