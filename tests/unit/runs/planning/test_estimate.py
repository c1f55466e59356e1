"""The estimate of a run from some of its images."""

from __future__ import annotations

from math import prod

from omero_pixclf.image import ImageInfo, ImageLocation
from omero_pixclf.runs.planning.estimate import SampleResult, estimate_run
from omero_pixclf.runs.planning.plan import PlanItem


def image(number: int, side: int = 64) -> ImageInfo:
    shape = (1, 1, side, side, 2)
    return ImageInfo(f"Image:{number}", f"i{number}", shape, "uint16", ("a", "b"), place=ImageLocation("Dataset:1"))


def test_the_estimate_is_shared_by_the_workers() -> None:
    items = [PlanItem(image(n), "due") for n in range(10)]
    for workers, seconds in ((1, 10.0), (2, 5.0), (50, 1.0)):
        clock = iter([0.0, 2.0])
        look = lambda image: SampleResult(prod(image.shape), {"Nucleus": 3})  # noqa: E731
        expected = estimate_run(items, look, workers=workers, clock=lambda c=clock: next(c))
        assert expected is not None and expected.seconds == seconds and expected.objects == {"Nucleus": 30}
