"""The OMERO script: a form in OMERO.web, a run or a queued request, and a message about what came of it.

`scripts/Pixel_Classification.py` is what the server holds; it finds this module and calls `main`. What takes long to
import waits until the server has had its answer about the parameters.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
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
from omero_pixclf.omero_script.form import HERE, QUEUE, Order, choices, in_form, order_of, parameters
from omero_pixclf.omero_script.slots import AT_ONCE, slot
from omero_pixclf.text import pluralize

if TYPE_CHECKING:
    from omero_pixclf.connector.sessions.session import Session
    from omero_pixclf.runs.execution.serial import ImageOutcome
    from omero_pixclf.runs.planning.plan import PlanItem
    from omero_pixclf.runs.run import ContainerOutcome, RunFinished

__all__ = ["Answer", "main", "message_of"]

TITLE = "Pixel_Classification"
# OMERO.web shows line breaks as they are.
DESCRIPTION = (
    "Applies a pixel classifier that was trained in ilastik to images, datasets, projects, wells, plates or screens. "
    "Objects come back as ROIs with their class, measurements as tables, and a contact sheet and a report as "
    "attachments; the key-values of each image say what was done.\n"
    "Attach the trained .ilp to a dataset or plate first, and it can be chosen here."
)
REASONS = 3
SHEET, REPORT = "contact_sheet.png", "report.html"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What the user is told.

    Attributes
    ----------
    outputs
        Further outputs by name, as objects (``"FileAnnotation:31"``, ``"Plate:3"``) that OMERO.web opens.
    code
        The script's exit code; 0 where all is done.
    """

    message: str
    outputs: dict[str, str] = field(default_factory=dict)
    code: int = 0


def main(direct: Sequence[str] = (), at_once: int = AT_ONCE) -> None:
    """The script, in a process of the server's processor.

    Parameters
    ----------
    direct
        Where the server's storage is mounted there, as for ``--direct``; ``script install`` writes it.
    at_once
        How many scripts may work at the same time on that machine; further ones wait.

    Raises
    ------
    omero.scripts.ParseExit
        Where the server only asks for the parameters.
    """
    client = scripts.client(
        TITLE,
        DESCRIPTION,
        *parameters(_choices()),
        namespaces=[NSDYNAMIC],  # the list of classifiers is another for each user and each time
        version=__version__,
        authors=["omero_pixclf"],
        institutions=[],
        contact="",
    )
    try:
        # On stdout, behind OMERO.web's button Info; what is on stderr would be called an error there.
        logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stdout, force=True)
        logging.getLogger("omero_pixclf").setLevel(logging.INFO)
        answer = _answer(client, direct, at_once)
        _tell(client, answer)
    finally:
        client.closeSession()
    sys.exit(answer.code)


def _choices() -> list[str]:
    """The classifiers that this user can see; asked for only where the server asks for the parameters."""
    client = omero.client()
    try:
        if client.getProperty("omero.scripts.parse") in ("", "only"):  # "only": there is no server
            return []
        client.createSession().detachOnDestroy()
        with wrap_client(client) as session:
            return choices(list_attached_projects(session))
    finally:
        client.closeSession()


def _answer(client: Any, direct: Sequence[str], at_once: int) -> Answer:
    """Do what the form asks for; what is refused is an answer, too."""
    try:
        order = order_of(_inputs(client))
        with connect(_login(client)) as session:
            if order.queue:
                return _queue(session, order)
            order = _addressed(session, order)
        with slot(at_once):
            return _run(_login(client), order, DirectSettings(tuple(map(parse_mount, direct))))
    except PixclfError as error:
        log.error("%s", error)
        return Answer(f"Nothing was done: {in_form(str(error))}", code=1)


def _inputs(client: Any) -> dict[str, Any]:
    """What was filled in, as plain values by parameter name; UsageError where it is nested without end."""
    try:
        found: dict[str, Any] = client.getInputs(unwrap=True)
    except RecursionError:
        raise UsageError("the form's values are nested too deeply; fill in plain values and lists of them") from None
    return found


def _addressed(session: Session, order: Order) -> Order:
    """The order with its project as an attachment: the script opens no files of the server's own disk for its users."""
    classifier = order.recipe.classifier
    address = resolve_project(session, classifier.project, order.targets)
    placed = classifier.model_copy(update={"project": address})
    return replace(order, recipe=name_recipe(session, order.recipe.model_copy(update={"classifier": placed})))


def _login(client: Any) -> Login:
    """The script's own session, to be joined as often as needed."""
    (endpoint, *_) = client.getRouter(client.getCommunicator()).ice_getEndpoints()
    where = endpoint.getInfo()
    return Login(host=where.host, port=where.port, key=client.getSessionId())


def _tell(client: Any, answer: Answer) -> None:
    client.setOutput("Message", rstring(answer.message))
    with wrap_client(client) as session:
        for name, key in answer.outputs.items():
            client.setOutput(name, robject(_loaded(session, key)))


def _loaded(session: Session, key: str) -> Any:
    """An object as OMERO.web wants it in an output; files with their names, so that it offers to view them."""
    kind, ident = parse_key(key)
    if kind != "FileAnnotation":
        return make_reference(kind, ident)
    return session.query_objects("select a from FileAnnotation a join fetch a.file where a.id = :id", id=ident)[0]


def _queue(session: Session, order: Order) -> Answer:
    """Leave requests for the watcher service."""
    from omero_pixclf.connector.watching import queue_request

    waited = []
    for target in order.targets:
        queued = queue_request(session, target, order.recipe)
        log.info("%s: %s as MapAnnotation:%d", target, "queued" if queued.new else "waits already", queued.annotation)
        waited += [] if queued.new else [target]
    message = (
        f"Queued for the service: {_few(order.targets)}. The key-values there (omero_pixclf/request) say how far "
        "it is; results appear when the watcher has done it."
    )
    if waited:
        message += f" The same had been asked for and waits since: {_few(waited)}."
    return Answer(message, {"Container": order.targets[0]})


def _run(login: Login, order: Order, direct: DirectSettings) -> Answer:
    """Work here and now, if it is not too much."""
    from omero_pixclf.app.execute import run_in_omero
    from omero_pixclf.app.plan import plan_in_omero
    from omero_pixclf.app.request import RunRequest
    from omero_pixclf.runs.execution.serial import ImageOutcome
    from omero_pixclf.runs.planning.plan import format_decisions, select_inputs
    from omero_pixclf.runs.planning.plan_notes import format_notes
    from omero_pixclf.runs.run import RunFinished, RunPlanned

    with tempfile.TemporaryDirectory(prefix="omero_pixclf-") as folder:
        threads = max(1, (os.cpu_count() or 2) // 2)  # the machine is the server's, too
        request = RunRequest(
            order.targets, order.recipe, force=order.repeat, threads=threads, folder=Path(folder), direct=direct
        )
        planned = plan_in_omero(login, request)
        due = sum(item.decision in ("due", "replace") for item in planned.items)
        if due > order.most_images:
            raise UsageError(
                f"{due} images are to be done, more than the {order.most_images} of Most Images; raise it, or choose "
                f"'{QUEUE}' instead of '{HERE}'"
            )
        number = 0
        for event in run_in_omero(login, request):
            if isinstance(event, RunPlanned):
                plan = format_decisions(event.items)
                log.info("run %s: %s: %s", event.run_id, pluralize(len(event.items), "image"), plan)
                for note in format_notes(item.note for item in event.items):
                    log.warning("%s", note)
            elif isinstance(event, ImageOutcome):
                number += 1
                found = ", ".join(f"{count} {name}" for name, count in event.objects)
                log.info("%d/%d %s %s: %s %s", number, len(select_inputs(planned.items)), event.image.key,
                         event.image.name,
                         event.state, found or event.reason)  # fmt: skip
            elif isinstance(event, RunFinished):
                message = message_of(event) + _left_out(planned.items)
                return Answer(message, _outputs(event.containers), int(event.failed))
    raise AssertionError("a run ends with RunFinished")


def _left_out(items: Sequence[PlanItem]) -> str:
    """What is said of images that runs made, which are no inputs unless they are chosen themselves."""
    made = [item.image for item in items if item.decision == "made"]
    if not made:
        return ""
    names = _few([f"{image.name} ({image.key})" for image in made])
    return f" Left out, since runs made them: {names}. To use one as input, choose the image itself."


def _outputs(containers: Sequence[ContainerOutcome]) -> dict[str, str]:
    """What OMERO.web shows buttons for: the first container, its contact sheet and its report."""
    if not containers:
        return {}
    first = containers[0]
    written = dict(first.written)
    named = {"Container": first.container, "File_Annotation": written.get(SHEET), "Report": written.get(REPORT)}
    return {name: key for name, key in named.items() if key}


def message_of(finished: RunFinished) -> str:
    """What came of a run, in a few sentences."""
    counts = Counter(outcome.state for outcome in finished.outcomes)
    found: Counter[str] = Counter()
    for outcome in finished.outcomes:
        found.update(dict(outcome.objects))
    objects = ", ".join(f"{count} {name}" for name, count in found.items())
    parts = [
        f"{counts['done']} of {pluralize(len(finished.outcomes), 'image')} done{f': {objects}' if objects else ''}."
    ]
    if counts["skipped"]:
        parts.append(f"{pluralize(counts['skipped'], 'image')} had these results already.")
    parts += _failures(finished.outcomes)
    parts += [f"{c.container} {c.name} was not finished: {in_form(c.reason)}." for c in finished.containers if c.reason]
    if finished.containers:
        parts.append(
            f"Tables, contact sheet and report: {_few([f'{c.name} ({c.container})' for c in finished.containers])}."
        )
    if counts["done"]:
        parts.append(f"Run {finished.run_id}; to take it back: omero-pixclf undo {finished.run_id}")
    return " ".join(parts)


def _failures(outcomes: Iterable[ImageOutcome]) -> list[str]:
    bad = [o for o in outcomes if o.state in ("failed", "refused")]
    if not bad:
        return []
    listed = [f"{o.image.name or o.image.key}: {in_form(o.reason)}." for o in bad[:REASONS]]
    more = [f"… and {len(bad) - REASONS} more: see Info."] if len(bad) > REASONS else []
    return [f"{pluralize(len(bad), 'image')} without results:", *listed, *more]


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
