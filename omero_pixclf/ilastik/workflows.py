"""ilastik's workflows by name: which ones can be applied, and advice for the others."""

from __future__ import annotations

from omero_pixclf.errors import ProjectError

__all__ = [
    "AUTOCONTEXT",
    "OBJECT",
    "PIXEL",
    "PIXEL_AND_OBJECT",
    "unsupported_workflow_message",
    "untrained_project_error",
]

PIXEL, AUTOCONTEXT = "Pixel Classification", "AutocontextTwoStage"
PIXEL_AND_OBJECT = "Object Classification (from pixel classification)"
OBJECT = {
    "Object Classification (from prediction image)": "predictions",
    "Object Classification (from binary image)": "binary",
    "Object Classification (from label image)": "labels",
    PIXEL_AND_OBJECT: "pixels",
}
"""The workflows that classify objects, and where their objects come from."""

_APPLIED = (
    "omero_pixclf applies Pixel Classification and Autocontext projects, and the pixel part of "
    "'Pixel Classification + Object Classification' projects"
)
_IN_ILASTIK = "run this one in ilastik itself"

# The first words of a workflow's name (as stored), and what can be done today with such a project.
_ADVICE = (
    (
        "Object Classification (from prediction",
        "apply the Pixel Classification project that its prediction maps come from, with `run` for objects above a "
        f"threshold; to classify objects, {_IN_ILASTIK} on the maps that predict writes",
    ),
    ("Object Classification (from", f"its objects come from an image that exists already: {_IN_ILASTIK}"),
    (
        "Automatic Tracking Workflow",
        "apply the Pixel Classification project that its prediction maps come from; to track, "
        f"{_IN_ILASTIK} on the maps that predict writes",
    ),
    (
        "Structured Learning Tracking",
        "apply the Pixel Classification project that its prediction maps come from; to track, "
        f"{_IN_ILASTIK} on the maps that predict writes",
    ),
    (
        "Animal Conservation Tracking Workflow from pixel",
        f"train its pixels as a Pixel Classification project; to track, {_IN_ILASTIK}",
    ),
    ("Carving", f"carving is interactive: {_IN_ILASTIK}, or train a Pixel Classification project"),
    ("Neural Network", f"deep networks are not applied here: {_IN_ILASTIK}; its results can be read as images"),
)


def unsupported_workflow_message(workflow: str) -> str:
    """What to say of a project of a workflow that is not applied here: what is, and what can be done.

    Examples
    --------
    >>> unsupported_workflow_message("Carving")[:48]
    "is a project of ilastik's workflow 'Carving'; om"
    """
    known = (advice for start, advice in _ADVICE if workflow.startswith(start))
    advice = next(known, f"{_IN_ILASTIK}, or train the same classes in a Pixel Classification project")
    return f"is a project of ilastik's workflow {workflow[:120]!r}; {_APPLIED}: {advice}"


def untrained_project_error(file: str, found: str) -> ProjectError:
    """The error for a project that was saved before it had a classifier: what it lacks, and what to do."""
    return ProjectError(
        f"{file}: nothing is trained in this project: {found}. Open it in ilastik, select features, label pixels of "
        "each class, train (switch Live Update on, or export once), save the project and use it again"
    )
