"""The watcher's connection to OMERO: find containers and requests, and run recipes on their images."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Literal

from omero_pixclf.app.backends import load_project, open_omero
from omero_pixclf.app.execute import run_in_context
from omero_pixclf.app.request import RunRequest
from omero_pixclf.config import Recipe, default_recipe_name, parse_size
from omero_pixclf.connector.files import name_recipe
from omero_pixclf.connector.hierarchy import iterate_images
from omero_pixclf.connector.recipe_annotations import build_recipe, parse_recipe_pairs
from omero_pixclf.connector.sessions.login import Login, read_password_file
from omero_pixclf.connector.sessions.session import Session, connect
from omero_pixclf.connector.watching import (
    KeyValueAnnotation,
    answer_request,
    find_attached_project,
    find_containers_by_name,
    find_up_to_date_images,
    list_open_requests,
    list_opt_ins,
    read_image_versions,
)
from omero_pixclf.errors import InputError, MissingError, PixclfError, UnreachableError, UsageError
from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.run import Event
from omero_pixclf.runs.state.manifest import Manifest, state_folder
from omero_pixclf.watch.guarded_io import GuardedSink, GuardedSource
from omero_pixclf.watch.protocols import CandidateImage, ContainerImages, Guard, RefusedTarget, WatchTarget
from omero_pixclf.watch.settings import (
    ServerSettings,
    ServiceSettings,
    StatusPageSettings,
    WatcherSettings,
    WatchSettings,
)

_log = logging.getLogger(__name__)

__all__ = ["OmeroWatchBackend", "make_login", "read_status_token", "runs_folder", "state_url"]


def make_login(server: ServerSettings, environ: Mapping[str, str]) -> Login:
    """The login of the settings' server; what they leave out comes from the environment, as for other commands."""
    port = server.port or (int(environ["OMERO_PORT"]) if environ.get("OMERO_PORT", "").isdecimal() else None)
    return Login(
        server.host or environ.get("OMERO_HOST", ""),
        None if server.host and not server.port else port,
        server.user or environ.get("OMERO_USER", ""),
        server.group or environ.get("OMERO_GROUP", ""),
        environ.get("OMERO_SESSION_KEY", ""),
        password_file=server.password_file,
        ca_file=server.ca_file,
    )


class OmeroWatchBackend:
    """`omero_pixclf.watch.protocols.WatchBackend` over OMERO; owns a session, which it opens when it is first needed.

    Parameters
    ----------
    recipes
        The recipes that watches and annotations name.
    pause
        How to wait for a server that does not answer.
    """

    def __init__(
        self, settings: WatcherSettings, recipes: Mapping[str, Recipe], pause: Callable[[float], None]
    ) -> None:
        self._settings, self._recipes, self._pause = settings, recipes, pause
        self._open: ExitStack | None = None
        self._session: Session | None = None
        self._notes: dict[int, KeyValueAnnotation] = {}
        self._hashes: dict[tuple[str, ...], str] = {}

    @property
    def session(self) -> Session:
        """The session; opened where there is none."""
        if self._session is None:
            with ExitStack() as opening:
                login = make_login(self._settings.server, os.environ)
                self._session = opening.enter_context(connect(login, ask=None, pause=self._pause))
                self._open = opening.pop_all()
        return self._session

    def disconnect(self) -> None:
        """Close the session, if it can still be closed."""
        held, self._open, self._session = self._open, None, None
        if held is not None:
            held.close()

    def list_targets(self) -> Iterator[WatchTarget | RefusedTarget]:
        """Requests first, then watches in the order of the settings, then opt-ins by age."""
        service = self._settings.service
        self._notes = {n.annotation: n for n in list_open_requests(self.session)} if service.requests else {}
        for note in self._notes.values():
            yield self._noted(
                note, f"request {note.annotation} of {note.value('Requested by') or note.owner}", asked=True
            )
        for watch in self._settings.watches:
            yield from self._watched(watch)
        for note in list_opt_ins(self.session) if service.opt_in else ():
            yield self._noted(note, f"opt-in {note.annotation} of {note.owner}", asked=False)

    def _watched(self, watch: WatchSettings) -> Iterator[WatchTarget | RefusedTarget]:
        named = find_containers_by_name(self.session, watch.kind, watch.pattern) if watch.kind else []
        for target in dict.fromkeys((*watch.targets, *named)):
            yield self._order(target, lambda: self._recipes[watch.recipe], f"watch {watch.name!r}")

    def _noted(self, note: KeyValueAnnotation, origin: str, *, asked: bool) -> WatchTarget | RefusedTarget:
        return self._order(note.target, lambda: self._recipe(note), origin, note.annotation if asked else None)

    def _order(
        self, target: str, recipe: Callable[[], Recipe], origin: str, request: int | None = None
    ) -> WatchTarget | RefusedTarget:
        try:
            return WatchTarget(target, name_recipe(self.session, recipe()), origin, request)
        except UnreachableError:
            raise
        except PixclfError as error:
            return RefusedTarget(target, origin, str(error), request)
        except Exception as error:  # noqa: BLE001 - the one guard at this door: one note must not end the pass for all
            _log.exception("%s, %s: an unexpected error", target, origin)
            return RefusedTarget(target, origin, f"unexpected {type(error).__name__}: {error}", request)

    def _recipe(self, note: KeyValueAnnotation) -> Recipe:
        content = parse_recipe_pairs(note.pairs, self._recipes)
        project = content["classifier"]["project"]
        if note.value("Recipe").strip() in self._recipes:
            return build_recipe(content)
        if not project.startswith("FileAnnotation:"):
            address, file = find_attached_project(self.session, note.target, project)
            content["classifier"]["project"] = address
            content.setdefault("name", default_recipe_name(file))
        return build_recipe(content)

    def list_containers(self, target: WatchTarget) -> list[ContainerImages]:
        """What lies below a target, by the containers that get tables."""
        digest = self._digest(self._resolved(target))
        listed = list(iterate_images(self.session, [target.key]))
        images = [image for image in listed if not (image.made_by or image.problem)]
        if listed and not images and target.request is not None:
            raise UsageError(f"{target.key}: runs made all its images; to use one as input, name it: {listed[0].key}")
        wanted = find_up_to_date_images(self.session, images, target.recipe.title, digest)
        moving = read_image_versions(self.session, [i.key for i in images if i.key not in wanted])
        parts: dict[str, list[ImageInfo]] = {}
        for image in images:
            parts.setdefault(image.place.container, []).append(image)
        return [
            ContainerImages(
                container,
                members[0].place.name,
                digest,
                tuple(CandidateImage(i.key, i.name, moving.get(i.key, ""), i.key in wanted) for i in members),
            )
            for container, members in parts.items()
        ]

    def _resolved(self, target: WatchTarget) -> Recipe:
        """The target's recipe with its project's address, where it only names a file attached to the target."""
        recipe = target.recipe
        project = recipe.classifier.project
        if project.startswith("FileAnnotation:") or os.sep in project or Path(project).is_file():
            return recipe
        address, _ = find_attached_project(self.session, target.key, project)
        classifier = recipe.classifier.model_copy(update={"project": address})
        return recipe.model_copy(update={"name": recipe.title, "classifier": classifier})

    def _digest(self, recipe: Recipe) -> str:
        """The recipe's hash; the project is read only where its file has changed."""
        state = (*self._state_of(recipe.classifier.project), recipe.model_dump_json())
        if state not in self._hashes:
            self._hashes[state] = recipe.hash(load_project(self.session, recipe).sha256)
        return self._hashes[state]

    def _state_of(self, project: str) -> tuple[str, ...]:
        if not project.startswith("FileAnnotation:"):
            try:
                found = Path(project).stat()
            except OSError as error:
                raise InputError(f"{project}: cannot be read: {error.strerror}") from error
            return (project, str(found.st_size), str(found.st_mtime_ns))
        hql = "select f.id, f.hash, f.size from FileAnnotation a join a.file f where a.id = :id"
        rows = self.session.query_rows(hql, id=int(project.partition(":")[2]))
        if not rows:
            raise MissingError(f"{project}: not on the server, or not visible to {self.session.user_name}")
        return (project, *map(str, rows[0]))

    def run(
        self,
        target: WatchTarget,
        container: ContainerImages,
        chosen: Collection[str],
        *,
        resume: str | None,
        guard: Guard,
    ) -> Iterator[Event]:
        """Run on the chosen images of a container, and on what an earlier run of it has done already."""
        service = self._settings.service
        standing = {image.key for image in container.images if image.has_results}
        wanted = set(chosen) | (_done_in(runs_folder(service) / resume, standing) if resume else set())
        if not wanted:
            return  # the earlier run was cut off before its first image: it goes on when there is something to do

        # An image that a run made is an input only where it is named itself.
        named = target.key.startswith("Image:")
        request = RunRequest(
            (target.key if named else container.key,),
            self._resolved(target),
            resume=resume,
            threads=service.threads,
            memory=parse_size(service.memory) if service.memory else None,
            folder=runs_folder(service),
            direct=service.direct_access,
        )
        with open_omero(self.session, request) as context:
            guarded = replace(
                context, source=GuardedSource(context.source, wanted, guard), sink=GuardedSink(context.sink, guard)
            )
            yield from run_in_context(guarded, request)

    def answer_request(self, request: int, state: Literal["running", "done", "failed"], message: str) -> None:
        """Tell who asked; a request that was removed meanwhile needs no answer."""
        try:
            answer_request(self.session, self._notes[request], state, message)
        except MissingError:
            return


def runs_folder(service: ServiceSettings) -> Path:
    """Where the watcher keeps its run folders."""
    return service.runs or state_folder()


def _done_in(folder: Path, standing: Collection[str]) -> set[str]:
    """The images of an earlier run that its tables must show: done, or cut off after the ledger was told."""
    with Manifest.open(folder) as manifest:
        entries = manifest.entries()
        kept = {e.key for e in entries if e.key in standing and manifest.load_table(e.key, "summary") is not None}
        return kept | {entry.key for entry in entries if entry.state == "done"}


def state_url(service: ServiceSettings, environ: Mapping[str, str]) -> str:
    """The state database: the environment's (it may hold a password), the settings', or a file beside the runs."""
    given = environ.get("OMERO_PIXCLF_WATCH_STATE") or service.state
    return given or f"sqlite:///{runs_folder(service).resolve().parent / 'watch.sqlite'}"


def read_status_token(page: StatusPageSettings) -> str:
    """The status page's token, from a file that only its owner can read; "" where none is asked for."""
    return read_password_file(page.token_file) if page.token_file else ""
