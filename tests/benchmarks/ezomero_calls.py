"""What the connector asks of a server beside what ezomero asks for the same answer: calls and time, in turns.

python -m tests.benchmarks.ezomero_calls [--images 48] [--rounds 9]

Calls are counted by a server in this process; times are taken on a server in a process of its own, without a network,
so that a real server's latency (about 1 ms per call in a laboratory's network) is to be added per call. Both sides
give the same answer, which is checked. ezomero works on a `BlitzGateway` around the connector's own client.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ezomero
import numpy as np
from omero.gateway import BlitzGateway

from omero_pixclf.connector.files import attach_file, download_file
from omero_pixclf.connector.hierarchy import iterate_images, to_micrometres
from omero_pixclf.connector.results.ledger import (
    RUN_NS,
    find_entries_on,
    find_entries_on_images,
    format_record,
    open_entry,
    parse_record,
)
from omero_pixclf.connector.results.orphans import list_container_images
from omero_pixclf.connector.sessions.login import Login
from omero_pixclf.connector.sessions.session import Session, connect
from omero_pixclf.connector.upload import WellContent, create_container, create_plate, find_containers, upload_image
from omero_pixclf.image import ArrayReader, ImageInfo
from omero_pixclf.provenance import RunRecord
from tests.benchmarks.stand import PASSWORD, session, stand
from tests.integration.recorded import Recorded, recording
from tests.integration.results import record as example_record

FILES_NS = "example/files"


@dataclass(frozen=True)
class Scene:
    """A dataset of images with ledger entries, a plate, and a file attached to the dataset."""

    session: Session
    gateway: Any
    folder: Path
    name: str
    dataset: int
    images: tuple[int, ...]
    plate: int
    file: int


@dataclass(frozen=True)
class Task:
    """The same question put in both ways; the answers are equal unless ``equal`` is False (new ids)."""

    name: str
    ours: Callable[[Scene], Any]
    theirs: Callable[[Scene], Any]
    equal: bool = True


def small(number: int) -> ArrayReader:
    pixels = np.full((1, 1, 16, 16, 2), number, np.uint16)
    return ArrayReader(ImageInfo("", f"i{number}", (1, 1, 16, 16, 2), "uint16", ("a", "b"), (None, 0.5, 0.5)), pixels)


def ledger_record(image: int) -> RunRecord:
    return example_record("20261121T053000-e2e001", image=f"Image:{image}")


def build(opened: Session, folder: Path, count: int) -> Scene:
    name = "the dataset"
    dataset = create_container(opened, "Dataset", name)
    images = tuple(upload_image(opened, small(n), dataset=dataset) for n in range(count))
    for image in images:
        open_entry(opened, RUN_NS, ledger_record(image))
    plate = create_plate(opened, "p", [WellContent(0, n, [small(n)]) for n in range(count)])
    path = folder / "a.csv"
    path.write_text("a,b\n1,2\n" * 50_000)
    file = attach_file(opened, f"Dataset:{dataset}", path, namespace=FILES_NS)
    return Scene(opened, BlitzGateway(client_obj=opened.client), folder, name, dataset, images, plate, file)


def described_by_ezomero(scene: Scene) -> list[Any]:
    found = []
    for ident in ezomero.get_image_ids(scene.gateway, dataset=scene.dataset):
        image, _ = ezomero.get_image(scene.gateway, ident, no_pixels=True)
        sizes = [size and to_micrometres(size.getValue(), str(size.getUnit())) for size in _sizes(image)]
        found.append((ident, image.getName(), tuple(image.getChannelLabels()), image.getPixelsType(), *sizes))
    return sorted(found)


def _sizes(image: Any) -> list[Any]:
    return [image.getPixelSizeY(units=True), image.getPixelSizeX(units=True)]


def described_by_us(scene: Scene) -> list[Any]:
    found = iterate_images(scene.session, [f"Dataset:{scene.dataset}"])
    return sorted((int(i.key[6:]), i.name, i.channels, i.dtype, *i.pixel_size_um[1:]) for i in found)


def named_by_ezomero(scene: Scene) -> list[int]:
    ids = ezomero.get_dataset_ids(scene.gateway)
    found = [i for i in ids if scene.gateway.getObject("Dataset", i).getName() == scene.name]
    return sorted(found)


def entries_by_ezomero(scene: Scene, images: tuple[int, ...]) -> dict[str, list[RunRecord]]:
    made = {}
    for image in images:
        ids = ezomero.get_map_annotation_ids(scene.gateway, "Image", image, ns=RUN_NS)
        pairs = [ezomero.get_map_annotation(scene.gateway, i).items() for i in ids]
        made[f"Image:{image}"] = [parse_record(p) for p in pairs]
    return made


def entries_by_us(scene: Scene) -> dict[str, list[RunRecord]]:
    found = find_entries_on_images(scene.session, scene.images)
    return {key: [e.record for e in entries] for key, entries in found.items()}


def files_by_us(scene: Scene) -> list[int]:
    hql = "select a.id from DatasetAnnotationLink l join l.child a where l.parent.id = :id and a.ns = :ns order by a.id"
    return scene.session.query_ids(hql, id=scene.dataset, ns=FILES_NS)


def downloaded_by_ezomero(scene: Scene) -> bytes:
    return Path(ezomero.get_file_annotation(scene.gateway, scene.file, folder_path=str(scene.folder))).read_bytes()


def pairs_by_ezomero(scene: Scene) -> int | None:
    pairs = dict(format_record(ledger_record(scene.images[0])))
    return ezomero.post_map_annotation(scene.gateway, "Image", scene.images[0], pairs, "example/pairs")


def attached_by_ezomero(scene: Scene) -> int | None:
    path = str(scene.folder / "a.csv")
    return ezomero.post_file_annotation(
        scene.gateway, path, "example/attached", object_type="Dataset", object_id=scene.dataset
    )


TASKS = (
    Task(
        "ids of a dataset's images",
        lambda s: list_container_images(s.session, f"Dataset:{s.dataset}"),
        lambda s: sorted(ezomero.get_image_ids(s.gateway, dataset=s.dataset)),
    ),
    Task(
        "ids of a plate's images",
        lambda s: list_container_images(s.session, f"Plate:{s.plate}"),
        lambda s: sorted(ezomero.get_image_ids(s.gateway, plate=s.plate)),
    ),
    Task("names, channels, sizes of a dataset's images", described_by_us, described_by_ezomero),
    Task("a dataset by its name", lambda s: find_containers(s.session, "Dataset", s.name), named_by_ezomero),
    Task(
        "ledger entries on one image",
        lambda s: [e.record for e in find_entries_on(s.session, RUN_NS, f"Image:{s.images[0]}")],
        lambda s: entries_by_ezomero(s, s.images[:1])[f"Image:{s.images[0]}"],
    ),
    Task("ledger entries on all images", entries_by_us, lambda s: entries_by_ezomero(s, s.images)),
    Task(
        "attachments of a dataset by namespace",
        files_by_us,
        lambda s: sorted(ezomero.get_file_annotation_ids(s.gateway, "Dataset", s.dataset, ns=FILES_NS)),
    ),
    Task("download an attachment of 400 kB", lambda s: download_file(s.session, s.file)[1], downloaded_by_ezomero),
    Task(
        "write key-value pairs on an image",
        lambda s: open_entry(s.session, "example/pairs", ledger_record(s.images[0])).annotation,
        pairs_by_ezomero,
        equal=False,
    ),
    Task(
        "attach a file of 400 kB",
        lambda s: attach_file(s.session, f"Dataset:{s.dataset}", s.folder / "a.csv", namespace="example/attached"),
        attached_by_ezomero,
        equal=False,
    ),
)


@contextmanager
def recorded_scene(folder: Path, count: int) -> Iterator[tuple[Recorded, Scene]]:
    with recording(folder / "data") as made:
        login = Login(made.endpoint.host, port=made.endpoint.port, user="root")
        with connect(login, environ={"OMERO_PASSWORD": made.endpoint.password}) as opened:
            yield made, build(opened, folder, count)


def count_calls(folder: Path, count: int) -> list[tuple[int, int]]:
    """Remote calls of each task, ours and ezomero's; a first round warms what both look up only once."""
    counted = []
    with recorded_scene(folder, count) as (made, scene):
        for task in TASKS:
            answers, calls = [], []
            for ask in (task.ours, task.theirs):
                ask(scene)
                made.calls.clear()
                answers.append(ask(scene))
                calls.append(len(made.calls))
            assert answers[0] == answers[1] or not task.equal, (task.name, answers)
            counted.append((calls[0], calls[1]))
    return counted


def take_times(folder: Path, count: int, rounds: int) -> list[tuple[float, float]]:
    """Median milliseconds of each task, ours and ezomero's, in turns."""
    taken = []
    with stand(folder / "stand") as at, session(at, password=PASSWORD) as opened:
        scene = build(opened, folder, count)
        for task in TASKS:
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(rounds):
                for ask, spent in zip((task.ours, task.theirs), times, strict=True):
                    begun = time.perf_counter()
                    ask(scene)
                    spent.append(1000 * (time.perf_counter() - begun))
            taken.append((statistics.median(times[0]), statistics.median(times[1])))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        calls = count_calls(Path(first), chosen.images)
        times = take_times(Path(second), chosen.images, chosen.rounds)
    print(
        f"| of {chosen.images} images | calls, ours | calls, ezomero | ms, ours | ms, ezomero |\n|---|---|---|---|---|"
    )
    for task, (our_calls, their_calls), (our_ms, their_ms) in zip(TASKS, calls, times, strict=True):
        print(f"| {task.name} | {our_calls} | {their_calls} | {our_ms:.1f} | {their_ms:.1f} |")


if __name__ == "__main__":
    main()
