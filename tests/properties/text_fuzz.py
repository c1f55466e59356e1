"""Hostile texts at every door: `python -m tests.properties.text_fuzz [--count N] [--seed S]`.

Annotations, forms, recipes, settings, ledgers, tables and names as a group's member, a client or a stranger's folder
could send them. Each must be understood or end in one of the program's own errors, within two seconds.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from omero_pixclf.config import ClassifierSettings, Recipe, load_recipe, parse_size
from omero_pixclf.connector import watching
from omero_pixclf.connector.hierarchy import parse_key, parse_targets
from omero_pixclf.connector.recipe_annotations import SECTIONS, build_recipe, parse_recipe_pairs
from omero_pixclf.connector.results.ledger import parse_record
from omero_pixclf.direct.mounts import parse_mount
from omero_pixclf.errors import InputError, PixclfError
from omero_pixclf.folder.ledger import is_being_written, read_record
from omero_pixclf.folder.tables import read_parquet, write_parquet
from omero_pixclf.omero_script.form import form_parameters, parse_form
from omero_pixclf.runs.execution.jobqueue import load_jobqueue_settings
from omero_pixclf.runs.planning.shards import parse_shard
from omero_pixclf.table import Column, Table
from omero_pixclf.watch.settings import load_settings

SECONDS = 2.0
KEYS = [(s, k) for s in SECTIONS for k in Recipe.model_fields[s].annotation.model_fields]  # type: ignore[union-attr]
WORDS = [
    "", " ", "0", "-1", "1e400", "nan", "-inf", "9" * 400, "9" * 5000, "0x" + "f" * 300, "1_000", "٣", "²", "true",
    "TRUE",
    "[" * 3000, "{a=" * 500, "[[[[1]]]]", "'" * 7, '"""', "\\u0000", "\x00", "\ud800", "\ufeff", "\u202e", "a\nb",
    "a\r\nb=1",
    "$1_$2", "%s%n", "{0}", "{nickname}", "../../etc/passwd", "/etc/passwd", "~root", "C:\\x", "FileAnnotation:12",
    "FileAnnotation:", "FileAnnotation:-1", "FileAnnotation:" + "1" * 400, "Image:1", "Nucleus", "n.ilp", "threshold",
    "1979-05-27T07:32:00Z", "=", "a = 1", "[classifier]", "name = 5", "'; drop table run; --", "x" * 200_000, "🔬",
    "核", "العدد",
]  # fmt: skip
VALUES = [
    "0", "-1", "nan", "inf", "1e308", "9223372036854775808", "9" * 400, "[]", "{}", "[[1]]", "[" * 900 + "]" * 900,
    "true",
    "1979-05-27", "07:32:00", '"x"', '""', '"\\u0000"', '"\\U0001F52C"', "{a = {b = {c = {}}}}", "['a', 1, true]",
    "'~/n.ilp'",
    "'/etc/passwd'", '"' + "y" * 3000 + '"', "[1.0, 2.0, 3.0]", "[" + "1, " * 5000 + "]", "0x7fffffffffffffff", "1_0",
]  # fmt: skip
DOCUMENTS = [
    'name = "n"\n[classifier]\nproject = "n.ilp"\nchannels = [0, "DAPI"]\n[objects]\nthreshold = 0.5\nsmooth = 1\n'
    'min_size = 4\nmax_size = 9\n[output]\nrois = "mask"\n',
    '[server]\nhost = "h"\n[service]\nevery = 60\n[status]\nport = 1\n[recipes]\nn = "n.toml"\n'
    '[[watches]]\nname = "w"\nrecipe = "n"\ntargets = ["Dataset:1"]\n',
    '[dask]\ncluster = "slurm"\njobs = 2\ncores = 4\nmemory = "8G"\n',
]
RECORD = {
    "run_id": "20261121T053012-ab12cd", "image": "Image:1", "recipe": "n", "recipe_hash": "h", "fingerprint": "f",
    "project": "n.ilp", "project_sha256": "s", "version": "1", "started": "2026-11-21T05:30:12+00:00", "finished": None,
    "state": "running", "worker": "host 12", "objects": {"Nucleus": 3}, "uncertainty": 0.1, "settings": {},
}  # fmt: skip
PAIRS = {
    "Run ID": "20261121T053012-ab12cd", "State": "complete", "Image": "Image:1", "Recipe": "n", "Recipe hash": "h",
    "Pixels": "p", "Project file": "n.ilp", "Project SHA-256": "s", "Version": "1", "Started": "2026-11-21T05:30:12Z",
    "Finished": "2026-11-21T05:30:12Z", "Objects: Nucleus": "3", "Uncertainty": "0.1", "Request": "3",
}  # fmt: skip


class Hostile:
    """Makes texts and values, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def text(self) -> str:
        """A hostile word, a mutated document, or noise."""
        way = self.random.randrange(5)
        if way < 3:
            return self.random.choice(WORDS)
        if way == 3:
            return self.document()
        return "".join(chr(self.random.choice((self.random.randrange(128), self.random.randrange(0x2FFFF))))
                       for _ in range(self.random.randrange(40)))  # fmt: skip

    def document(self) -> str:
        """A real settings file of which a value was changed, or a part cut out, repeated or replaced."""
        text = self.random.choice(DOCUMENTS)
        if self.random.random() < 0.6:
            lines = text.splitlines()
            at = self.random.choice([n for n, line in enumerate(lines) if "=" in line])
            lines[at] = f"{lines[at].partition('=')[0]}= {self.random.choice(VALUES)}"
            return "\n".join(lines)
        for _ in range(self.random.randrange(1, 4)):
            a, b = sorted(self.random.randrange(len(text) + 1) for _ in range(2))
            piece = self.random.choice(("", text[a:b] * 2, self.random.choice(WORDS)[:4000]))
            text = text[:a] + piece + text[b:]
        return text

    def value(self, depth: int = 0) -> Any:
        """Anything that JSON, an OMERO form or an annotation can carry."""
        if depth < 3 and self.random.random() < 0.2:
            many = [self.value(depth + 1) for _ in range(self.random.randrange(4))]
            return many if self.random.random() < 0.5 else {str(self.text())[:30]: v for v in many}
        if self.random.random() < 0.05:
            return self.nested()
        numbers: list[Any] = [None, True, 0, -1, 0.5, 10**400, -(2**70), float("nan"), float("inf"), 3, [], {}]
        return self.random.choice([*numbers, self.text()])

    def nested(self) -> Any:
        """Lists or tables within one another, up to deeper than Python's own recursion goes."""
        made: Any = "x"
        for _ in range(self.random.choice((3, 9, 100, 900, 20_000))):
            made = [made] if self.random.random() < 0.9 else {"a": made}
        return made

    def some(self, known: dict[str, Any]) -> dict[str, Any]:
        """Known entries of which some are gone, some hold anything."""
        changed = {k: (self.value() if self.random.random() < 0.25 else v) for k, v in known.items()}
        return {k: v for k, v in changed.items() if self.random.random() > 0.1}


def _text_of(value: Any, write: Callable[[Any], str]) -> str:
    """A value as text; what is nested too deeply to be written by Python is written by hand."""
    try:
        return write(value)
    except RecursionError:
        return "[" * 20_000 + "]" * 20_000


def annotation(hostile: Hostile, _: Path) -> None:
    """An opt-in or a request: key-value pairs on a container."""
    keys = ["Recipe", "Project", *(f"{s}.{k}" for s, k in KEYS), hostile.text()]
    pairs = [(hostile.random.choice(keys), hostile.text()) for _ in range(hostile.random.randrange(1, 6))]
    build_recipe(parse_recipe_pairs([("Recipe", "n"), ("Project", "FileAnnotation:12"), *pairs], {"n2": RECIPE}))


def answer(hostile: Hostile, _: Path) -> None:
    """The watcher's own answers, as a group's members edited them."""
    texts = {k: _text_of(v, str) for k, v in hostile.some(dict(PAIRS)).items()}
    notes = [watching.KeyValueAnnotation(n, "Dataset:1", "alice", tuple(texts.items())) for n in range(2)]
    kept, watching._find_annotations = watching._find_annotations, lambda *_, **__: notes  # type: ignore[assignment]
    try:
        watching.list_open_requests(None)  # type: ignore[arg-type]
    finally:
        watching._find_annotations = kept


def ledger(hostile: Hostile, _: Path) -> None:
    """Pairs under the ledger's namespace; its callers take KeyError and ValueError for somebody else's pairs."""
    texts = {k: _text_of(v, str) for k, v in hostile.some(dict(PAIRS)).items()}
    try:
        parse_record(texts.items())
    except (KeyError, ValueError):
        raise InputError("foreign pairs") from None


def form(hostile: Hostile, _: Path) -> None:
    """The script's form, filled in by a client of its own."""
    parse_form(hostile.some(FORM | {"IDs": [3], "Data_Type": "Plate", "Classifier": "FileAnnotation:12"}))


def recipe_file(hostile: Hostile, folder: Path) -> None:
    """A recipe's file."""
    path = _written(hostile, folder)
    load_recipe(path, {})


def settings_file(hostile: Hostile, folder: Path) -> None:
    """A watcher's settings and a batch system's jobs."""
    path = _written(hostile, folder)
    hostile.random.choice((load_settings, load_jobqueue_settings))(path)


def _written(hostile: Hostile, folder: Path) -> Path:
    path = folder / "hostile.toml"
    content = hostile.document().encode("utf-8", "surrogatepass")
    path.write_bytes(
        content[: hostile.random.randrange(len(content) + 1)] if hostile.random.random() < 0.2 else content
    )
    return path


def folder_ledger(hostile: Hostile, folder: Path) -> None:
    """A ledger.json in a folder of results."""
    facts: Any = hostile.some(dict(RECORD)) if hostile.random.random() < 0.8 else hostile.value()
    text = _text_of(facts, json.dumps) if hostile.random.random() < 0.9 else hostile.text()
    (folder / "ledger.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    read_record(folder)
    is_being_written(folder, "x")


def table(hostile: Hostile, folder: Path) -> None:
    """A Parquet table of an earlier run, damaged or foreign."""
    path = folder / "t.parquet"
    write_parquet(path, Table((Column("Image", "long", np.arange(3)), Column("A_um", "double", np.arange(3.0)))))
    content = bytearray(path.read_bytes())
    for _ in range(hostile.random.randrange(1, 5)):
        content[hostile.random.randrange(len(content))] = hostile.random.randrange(256)
    path.write_bytes(
        bytes(content[: hostile.random.randrange(len(content))] if hostile.random.random() < 0.3 else content)
    )
    read_parquet(path)


def name(hostile: Hostile, _: Path) -> None:
    """Names of objects, targets, shares, sizes and mounts."""
    before, read = hostile.random.choice(NAMES)
    read(hostile.random.choice((before, "")) + hostile.text())


NAMES: tuple[tuple[str, Callable[[str], object]], ...] = (
    ("Image:", parse_key), ("Dataset:1,", lambda t: parse_targets([t])), ("1/", parse_shard), ("1", parse_size),
    ("/OMERO=", parse_mount),
    ("", lambda t: Recipe(name=t, classifier=ClassifierSettings(project=t)).called_after(t).title),
)  # fmt: skip
DOORS: tuple[Callable[[Hostile, Path], None], ...] = (
    annotation, answer, ledger, form, recipe_file, settings_file, folder_ledger, table, name,
)  # fmt: skip
RECIPE = Recipe(classifier=ClassifierSettings(project="FileAnnotation:12"))
FORM = {p.name(): p.prototype.val for p in form_parameters([]) if p.useDefault}


def faults(count: int, seed: int) -> Iterator[tuple[str, int, str]]:
    """Door, seed and what happened, of each input that ended otherwise than it should."""
    with tempfile.TemporaryDirectory() as place:
        for number in range(count):
            door = DOORS[number % len(DOORS)]
            folder = Path(place) / str(number)
            folder.mkdir()
            begin = time.process_time()  # not of the wall: the machine may be busy
            try:
                door(Hostile(seed + number), folder)
            except PixclfError as error:
                str(error).encode("utf-8", "replace")
            except Exception as fault:  # noqa: BLE001 - what is looked for
                yield door.__name__, seed + number, f"{type(fault).__name__}: {fault}"[:200]
            if time.process_time() - begin > SECONDS:
                yield door.__name__, seed + number, f"took {time.process_time() - begin:.1f} s"


def main() -> int:
    """Run it as a program."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--count", type=int, default=10_000)
    arguments.add_argument("--seed", type=int, default=0)
    given = arguments.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    found = collections.Counter()
    for door, seed, what in faults(given.count, given.seed):
        found[door] += 1
        print(f"{door} --seed {seed}: {what!r}")
    print(f"{given.count} inputs at {len(DOORS)} doors: {sum(found.values())} faults {dict(found) or ''}".rstrip())
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
