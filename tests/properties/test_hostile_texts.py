"""Whatever an annotation, form, file, table or name holds: understood, or one of the program's own errors."""

from __future__ import annotations

from tests.properties.text_fuzz import DOORS, faults


def test_hostile_texts_end_in_our_own_errors_only() -> None:
    assert list(faults(100 * len(DOORS), seed=1)) == []
