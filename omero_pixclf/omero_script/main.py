"""The OMERO script: show its form in OMERO.web, run the recipe or queue a request, and return a message.

The server stores `scripts/Pixel_Classification.py`, which finds this module and calls `main`. Slow imports happen only
after the server has got the parameters.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import omero
import omero.clients
from omero import scripts
from omero.constants.namespaces import NSDYNAMIC
from omero.rtypes import robject, rstring

from omero_pixclf import __version__
from omero_pixclf.connector.files import list_attached_projects, name_recipe, resolve_project
from omero_pixclf.connector.hierarchy import parse_key
from omero_pixclf.connector.results.annotations import make_reference
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import connect, wrap_client
from omero_pixclf.direct.mounts import DirectSettings, parse_mount
from omero_pixclf.errors import PixclfError, UsageError
from omero_pixclf.omero_script.form import (
    HERE,
    QUEUE,
    ScriptRequest,
    form_parameters,
    list_choices,
    parse_form,
    use_form_names,
)
from omero_pixclf.omero_script.slots import DEFAULT_SLOTS, hold_slot
from omero_pixclf.text import pluralize

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.session import Session
    from omero_pixclf.runs.execution.serial import ImageOutcome
    from omero_pixclf.runs.planning.plan import PlanItem
    from omero_pixclf.runs.run import ContainerOutcome, Event, RunFinished

__all__ = ["ScriptResult", "main", "summarize"]

_TITLE = "Pixel_Classification"
# OMERO.web keeps the line breaks.
_DESCRIPTION = (
    "Applies a pixel classifier that was trained in ilastik to images, datasets, projects, wells, plates or screens. "
    "Results are ROIs with their class, tables of measurements, and a contact sheet and a report as attachments; the "
    "key-value pairs of each image describe the run.\n"
    "Attach the trained .ilp to a dataset or plate first; then you can choose it here."
)
_MAX_REASONS = 3
_SHEET, _REPORT = "contact_sheet.png", "report.html"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScriptResult:
    """Result of the script.

    Attributes
    ----------
    message
        Text for the user.
    outputs
        Further outputs by name: objects (``"FileAnnotation:31"``, ``"Plate:3"``) that OMERO.web can open.
    code
        Exit code of the script; 0 if everything succeeded.
    """

    message: str
    outputs: dict[str, str] = field(default_factory=dict)
    code: int = 0


def main(direct: Sequence[str] = (), max_scripts: int = DEFAULT_SLOTS) -> None:
    """Run the script in a process of OMERO's Processor.

    Parameters
    ----------
    direct
        Mount points of the server's storage on that host, as for ``--direct``; ``script install`` writes them.
    max_scripts
        Number of scripts that may run at the same time on that host; further ones wait.

    Raises
    ------
    omero.scripts.ParseExit
        If the server only asks for the parameters.
    """
    client = scripts.client(
        _TITLE,
        _DESCRIPTION,
        *form_parameters(_list_classifiers()),
        namespaces=[NSDYNAMIC],  # the list of classifiers depends on user and time
        version=__version__,
        authors=["omero_pixclf"],
        institutions=[],
        contact="",
    )
    try:
        # OMERO.web shows stdout behind its button Info, and calls stderr an error.
        logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout, force=True)
        logging.getLogger("omero_pixclf").setLevel(logging.INFO)
        result = _process_form(client, direct, max_scripts)
        _set_outputs(client, result)
    finally:
        client.closeSession()
    sys.exit(result.code)


def _list_classifiers() -> list[str]:
    """Return the classifiers that this user can see, if the server asks for the parameters; otherwise nothing."""
    client = omero.client()
    try:
        if client.getProperty("omero.scripts.parse") in ("", "only"):  # "only": no server to connect to
            return []
        client.createSession().detachOnDestroy()
        with wrap_client(client) as session:
            return list_choices(list_attached_projects(session))
    finally:
        client.closeSession()


def _process_form(client: Any, direct: Sequence[str], max_scripts: int) -> ScriptResult:
    """Run or queue what the form requests; an error of this program becomes the message."""
    try:
        request = parse_form(_read_inputs(client))
        with connect(_login(client)) as session:
            if request.queue:
                return _queue(session, request)
            request = _resolve_classifier(session, request)
        with hold_slot(max_scripts):
            return _run(_login(client), request, DirectSettings(tuple(map(parse_mount, direct))))
    except PixclfError as error:
        _log.error("%s", error)
        return ScriptResult(f"Nothing was done: {use_form_names(str(error))}", code=1)


def _read_inputs(client: Any) -> dict[str, Any]:
    """Return the values of the form by parameter name; UsageError if they are nested without end."""
    try:
        found: dict[str, Any] = client.getInputs(unwrap=True)
    except RecursionError:
        raise UsageError("the form's values are nested too deeply. Enter plain values and lists of them") from None
    return found


def _resolve_classifier(session: Session, request: ScriptRequest) -> ScriptRequest:
    """Replace the project by an attachment: the script opens no files on the server's disk for its users."""
    classifier = request.recipe.classifier
    address = resolve_project(session, classifier.project, request.targets)
    placed = classifier.model_copy(update={"project": address})
    return replace(request, recipe=name_recipe(session, request.recipe.model_copy(update={"classifier": placed})))


def _login(client: Any) -> Login:
    """Return a login that joins the script's own session."""
    (endpoint, *_) = client.getRouter(client.getCommunicator()).ice_getEndpoints()
    where = endpoint.getInfo()
    return Login(host=where.host, port=where.port, key=client.getSessionId())


def _set_outputs(client: Any, result: ScriptResult) -> None:
    client.setOutput("Message", rstring(result.message))
    with wrap_client(client) as session:
        for name, key in result.outputs.items():
            client.setOutput(name, robject(_load_output(session, key)))


def _load_output(session: Session, key: str) -> Any:
    """Return an object for an output; files are loaded with their names, so that OMERO.web can show them."""
    kind, ident = parse_key(key)
    if kind != "FileAnnotation":
        return make_reference(kind, ident)
    return session.query_objects("select a from FileAnnotation a join fetch a.file where a.id = :id", id=ident)[0]


def _queue(session: Session, request: ScriptRequest) -> ScriptResult:
    """Queue requests for the watcher."""
    from omero_pixclf.connector.watching import queue_request

    queued_before = []
    for target in request.targets:
        queued = queue_request(session, target, request.recipe)
        _log.info("%s: %s as MapAnnotation:%d", target, "queued" if queued.new else "already queued", queued.annotation)
        queued_before += [] if queued.new else [target]
    message = (
        f"Queued for the service: {_abbreviate(request.targets)}. Their key-value pairs (omero_pixclf/request) show "
        "the state of the request; the results appear when the watcher has processed it."
    )
    if queued_before:
        message += f" Already queued by an earlier, identical request: {_abbreviate(queued_before)}."
    return ScriptResult(message, {"Container": request.targets[0]})


def _run(login: Login, form: ScriptRequest, direct: DirectSettings) -> ScriptResult:
    """Process the images in this script, unless there are too many."""
    from omero_pixclf.app.execute import run_in_omero
    from omero_pixclf.app.plan import plan_in_omero
    from omero_pixclf.app.request import RunRequest
    from omero_pixclf.runs.run import RunFinished

    with tempfile.TemporaryDirectory(prefix="omero_pixclf-") as folder:
        threads = max(1, (os.cpu_count() or 2) // 2)  # leave half of the cores to the server
        request = RunRequest(
            form.targets, form.recipe, force=form.repeat, threads=threads, folder=Path(folder), direct=direct
        )
        items = plan_in_omero(login, request).items
        due = sum(item.decision in ("due", "replace") for item in items)
        if due > form.most_images:
            raise UsageError(
                f"{due} images are due, but Most Images is {form.most_images}. Increase it, or choose '{QUEUE}' "
                f"instead of '{HERE}'"
            )
        for event in _log_events(run_in_omero(login, request), items):
            if isinstance(event, RunFinished):
                message = summarize(event) + _describe_left_out(items)
                return ScriptResult(message, _outputs(event.containers), int(event.failed))
    raise AssertionError("a run ends with RunFinished")


def _log_events(events: Iterable[Event], items: Sequence[PlanItem]) -> Iterator[Event]:
    """Log the plan and the images of a run, and pass its events on."""
    from omero_pixclf.runs.execution.serial import ImageOutcome
    from omero_pixclf.runs.planning.plan import format_decisions, select_inputs
    from omero_pixclf.runs.planning.plan_notes import format_notes
    from omero_pixclf.runs.run import RunPlanned

    total, number = len(select_inputs(items)), 0
    for event in events:
        if isinstance(event, RunPlanned):
            decisions = format_decisions(event.items)
            _log.info("run %s: %s: %s", event.run_id, pluralize(len(event.items), "image"), decisions)
            for note in format_notes(item.note for item in event.items):
                _log.warning("%s", note)
        elif isinstance(event, ImageOutcome):
            number += 1
            found = ", ".join(f"{count} {name}" for name, count in event.objects) or event.reason
            _log.info("%d/%d %s %s: %s %s", number, total, event.image.key, event.image.name, event.state, found)
        yield event


def _describe_left_out(items: Sequence[PlanItem]) -> str:
    """Describe the images that runs made: they are inputs only if they are selected themselves."""
    made = [item.image for item in items if item.decision == "made"]
    if not made:
        return ""
    names = _abbreviate([f"{image.name} ({image.key})" for image in made])
    return f" Left out, because runs made them: {names}. To use one as input, select the image itself."


def _outputs(containers: Sequence[ContainerOutcome]) -> dict[str, str]:
    """Return the outputs for OMERO.web's buttons: the first container, its contact sheet and its report."""
    if not containers:
        return {}
    first = containers[0]
    written = dict(first.written)
    named = {"Container": first.container, "File_Annotation": written.get(_SHEET), "Report": written.get(_REPORT)}
    return {name: key for name, key in named.items() if key}


def summarize(finished: RunFinished) -> str:
    """Summarize a run in a few sentences."""
    counts = Counter(outcome.state for outcome in finished.outcomes)
    found: Counter[str] = Counter()
    for outcome in finished.outcomes:
        found.update(dict(outcome.objects))
    objects = ", ".join(f"{count} {name}" for name, count in found.items())
    parts = [
        f"{counts['done']} of {pluralize(len(finished.outcomes), 'image')} done{f': {objects}' if objects else ''}."
    ]
    if counts["skipped"]:
        parts.append(f"{pluralize(counts['skipped'], 'image')} already had these results.")
    parts += _failures(finished.outcomes)
    parts += [
        f"{c.container} {c.name} was not finished: {use_form_names(c.reason)}." for c in finished.containers if c.reason
    ]
    if finished.containers:
        names = _abbreviate([f"{c.name} ({c.container})" for c in finished.containers])
        parts.append(f"Tables, contact sheet and report: {names}.")
    if counts["done"]:
        parts.append(f"Run {finished.run_id}; to undo it: omero-pixclf undo {finished.run_id}")
    return " ".join(parts)


def _failures(outcomes: Iterable[ImageOutcome]) -> list[str]:
    bad = [o for o in outcomes if o.state in ("failed", "refused")]
    if not bad:
        return []
    listed = [f"{o.image.name or o.image.key}: {use_form_names(o.reason)}." for o in bad[:_MAX_REASONS]]
    more = [f"… and {len(bad) - _MAX_REASONS} more: see Info."] if len(bad) > _MAX_REASONS else []
    return [f"{pluralize(len(bad), 'image')} without results:", *listed, *more]


def _abbreviate(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
