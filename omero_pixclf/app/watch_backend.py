"""The watcher's connection to OMERO: find containers and requests, and run recipes on their images."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

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
from omero_pixclf.watch.protocols import (
    CandidateImage,
    ContainerImages,
    Guard,
    RefusedTarget,
    RequestState,
    WatchTarget,
)
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
    """Return the login for the server in the settings; missing values come from the environment."""
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
    """Implements `omero_pixclf.watch.protocols.WatchBackend` for OMERO; opens a session when it is first needed.

    Parameters
    ----------
    recipes
        The recipes by the names that watches and annotations use.
    pause
        Waits for a number of seconds; called between attempts to reach the server.
    """

    def __init__(
        self, settings: WatcherSettings, recipes: Mapping[str, Recipe], pause: Callable[[float], None]
    ) -> None:
        self._settings, self._recipes, self._pause = settings, recipes, pause
        self._closing: ExitStack | None = None
        self._session: Session | None = None
        self._requests: dict[int, KeyValueAnnotation] = {}
        self._hashes: dict[tuple[str, ...], str] = {}

    @property
    def session(self) -> Session:
        """The session; opened if there is none."""
        if self._session is None:
            with ExitStack() as opening:
                login = make_login(self._settings.server, os.environ)
                self._session = opening.enter_context(connect(login, ask=None, pause=self._pause))
                self._closing = opening.pop_all()
        return self._session

    def disconnect(self) -> None:
        """Close the session, if there is one; the next call opens a new one."""
        closing, self._closing, self._session = self._closing, None, None
        if closing is not None:
            closing.close()

    def list_targets(self) -> Iterator[WatchTarget | RefusedTarget]:
        """List requests first, then watches in the order of the settings, then opt-ins by age."""
        service = self._settings.service
        self._requests = {n.annotation: n for n in list_open_requests(self.session)} if service.requests else {}
        for note in self._requests.values():
            yield self._annotation_target(
                note, f"request {note.annotation} of {note.value('Requested by') or note.owner}", is_request=True
            )
        for watch in self._settings.watches:
            yield from self._watch_targets(watch)
        for note in list_opt_ins(self.session) if service.opt_in else ():
            yield self._annotation_target(note, f"opt-in {note.annotation} of {note.owner}", is_request=False)

    def _watch_targets(self, watch: WatchSettings) -> Iterator[WatchTarget | RefusedTarget]:
        named = find_containers_by_name(self.session, watch.kind, watch.pattern) if watch.kind else []
        for target in dict.fromkeys((*watch.targets, *named)):
            yield self._make_target(target, lambda: self._recipes[watch.recipe], f"watch {watch.name!r}")

    def _annotation_target(
        self, annotation: KeyValueAnnotation, origin: str, *, is_request: bool
    ) -> WatchTarget | RefusedTarget:
        return self._make_target(
            annotation.target,
            lambda: self._annotation_recipe(annotation),
            origin,
            annotation.annotation if is_request else None,
        )

    def _make_target(
        self, target: str, recipe: Callable[[], Recipe], origin: str, request: int | None = None
    ) -> WatchTarget | RefusedTarget:
        try:
            return WatchTarget(target, name_recipe(self.session, recipe()), origin, request)
        except UnreachableError:
            raise
        except PixclfError as error:
            return RefusedTarget(target, origin, str(error), request)
        except Exception as error:  # noqa: BLE001 - one annotation must not end the pass; the traceback is logged
            _log.exception("%s, %s: an unexpected error", target, origin)
            return RefusedTarget(target, origin, f"unexpected {type(error).__name__}: {error}", request)

    def _annotation_recipe(self, annotation: KeyValueAnnotation) -> Recipe:
        content = parse_recipe_pairs(annotation.pairs, self._recipes)
        project = content["classifier"]["project"]
        if annotation.value("Recipe").strip() in self._recipes:
            return build_recipe(content)
        if not project.startswith("FileAnnotation:"):
            address, file = find_attached_project(self.session, annotation.target, project)
            content["classifier"]["project"] = address
            content.setdefault("name", default_recipe_name(file))
        return build_recipe(content)

    def list_containers(self, target: WatchTarget) -> list[ContainerImages]:
        """List the images of a target by container; images that runs made are left out unless one is the target."""
        recipe_hash = self._hash_recipe(self._resolve_project(target))
        listed = list(iterate_images(self.session, [target.key]))
        images = [image for image in listed if not (image.made_by or image.problem)]
        if listed and not images and target.request is not None:
            raise UsageError(
                f"{target.key}: runs made all its images. To use one as input, request it: {listed[0].key}"
            )
        complete = find_up_to_date_images(self.session, images, target.recipe.title, recipe_hash)
        versions = read_image_versions(self.session, [i.key for i in images if i.key not in complete])
        by_container: dict[str, list[ImageInfo]] = {}
        for image in images:
            by_container.setdefault(image.place.container, []).append(image)
        return [
            ContainerImages(
                container,
                members[0].place.name,
                recipe_hash,
                tuple(CandidateImage(i.key, i.name, versions.get(i.key, ""), i.key in complete) for i in members),
            )
            for container, members in by_container.items()
        ]

    def _resolve_project(self, target: WatchTarget) -> Recipe:
        """Return the target's recipe; the name of a file attached to the target is replaced by its address."""
        recipe = target.recipe
        project = recipe.classifier.project
        if project.startswith("FileAnnotation:") or os.sep in project or Path(project).is_file():
            return recipe
        address, _ = find_attached_project(self.session, target.key, project)
        classifier = recipe.classifier.model_copy(update={"project": address})
        return recipe.model_copy(update={"name": recipe.title, "classifier": classifier})

    def _hash_recipe(self, recipe: Recipe) -> str:
        """Return the recipe's hash; the project is read only if its file has changed."""
        key = (*self._file_state(recipe.classifier.project), recipe.model_dump_json())
        if key not in self._hashes:
            self._hashes[key] = recipe.hash(load_project(self.session, recipe).sha256)
        return self._hashes[key]

    def _file_state(self, project: str) -> tuple[str, ...]:
        """Return values that change with the content of a project's file: size and time, or the server's checksum."""
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
        """Process the chosen images of a container; with ``resume``, also finish the tables of that earlier run."""
        service = self._settings.service
        complete = {image.key for image in container.images if image.has_results}
        wanted = set(chosen) | (_list_done(runs_folder(service) / resume, complete) if resume else set())
        if not wanted:
            return  # the earlier run ended before its first image: it is resumed when an image is due

        # An image that a run made is an input only if it is the target itself.
        is_image = target.key.startswith("Image:")
        request = RunRequest(
            (target.key if is_image else container.key,),
            self._resolve_project(target),
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

    def answer_request(self, request: int, state: RequestState, message: str) -> None:
        """Write the state into the request's annotation; a request that was deleted meanwhile needs no answer."""
        try:
            answer_request(self.session, self._requests[request], state, message)
        except MissingError:
            return


def runs_folder(service: ServiceSettings) -> Path:
    """Return the folder of the watcher's run folders."""
    return service.runs or state_folder()


def _list_done(folder: Path, complete: Collection[str]) -> set[str]:
    """Return the images of an earlier run that its tables must contain: done, or interrupted after the ledger entry."""
    with Manifest.open(folder) as manifest:
        entries = manifest.entries()
        recorded = {e.key for e in entries if e.key in complete and manifest.load_table(e.key, "summary") is not None}
        return recorded | {entry.key for entry in entries if entry.state == "done"}


def state_url(service: ServiceSettings, environ: Mapping[str, str]) -> str:
    """Return the URL of the state database: from the environment, the settings, or a file next to the run folders."""
    given = environ.get("OMERO_PIXCLF_WATCH_STATE") or service.state
    return given or f"sqlite:///{runs_folder(service).resolve().parent / 'watch.sqlite'}"


def read_status_token(page: StatusPageSettings) -> str:
    """Read the status page's token from a file that only its owner can read; "" if none is required."""
    return read_password_file(page.token_file) if page.token_file else ""
