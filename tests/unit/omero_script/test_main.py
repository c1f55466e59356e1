"""The OMERO script's answers."""

from __future__ import annotations

from typing import Any

from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.omero_script.main import _process_form, summarize
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.run import ContainerOutcome, RunFinished

PLATE = ImageLocation("Plate:3", "Screening", "A1")


def outcome(number: int, state: Any = "done", reason: str = "", **objects: int) -> ImageOutcome:
    image = ImageInfo(f"Image:{number}", f"field {number}", (1, 1, 8, 8, 1), "uint8", ("",), place=PLATE)
    return ImageOutcome(image, state, reason, objects=tuple(objects.items()))


def test_the_message_counts_what_was_found_and_says_where_it_is() -> None:
    done = RunFinished(
        "r-1", (outcome(1, Nucleus=5), outcome(2, Nucleus=7)), (ContainerOutcome("Plate:3", "Screening"),)
    )
    text = summarize(done)
    assert text.startswith("2 of 2 images done: 12 Nucleus.")
    assert "Screening (Plate:3)" in text and "omero-pixclf undo r-1" in text


def test_the_message_names_the_first_failures_with_their_reasons_and_counts_the_others() -> None:
    bad = tuple(outcome(n, "failed", f"reason {n}") for n in range(5))
    text = summarize(RunFinished("r-1", (*bad, outcome(9, "skipped")), ()))
    assert "0 of 6 images done" in text and "5 images without results" in text
    assert "field 2: reason 2" in text and "reason 3" not in text and "2 more" in text
    assert "1 image already had these results" in text and "undo" not in text


def test_a_container_that_was_not_finished_is_told() -> None:
    one = ContainerOutcome("Plate:3", "Screening", reason="refused")
    assert "not finished: refused" in summarize(RunFinished("r-1", (outcome(1),), (one,)))


def test_inputs_that_cannot_be_unwrapped_are_refused_with_words() -> None:
    class Client:
        def getInputs(self, unwrap: bool) -> dict[str, Any]:
            raise RecursionError

    answer = _process_form(Client(), (), 1)
    assert answer.code == 1 and "nested too deeply" in answer.message
