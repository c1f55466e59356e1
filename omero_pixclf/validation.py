"""Content of settings and other files: what a model does not accept, as text; JSON whose every fault is one kind."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # slow to import, and those who read JSON need none of it
    from pydantic import BaseModel, ValidationError

__all__ = ["complaints", "parse_json"]

_LONGEST = 40  # letters of a value that are repeated in a message


def parse_json(text: str) -> Any:
    """The value of a JSON text that may be hostile.

    Raises
    ------
    ValueError
        For all that is wrong, also nesting so deep that Python's parser gives up.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def complaints(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """One line for each thing that is wrong: where, what was expected and what was found.

    Examples
    --------
    >>> from pydantic import BaseModel, ValidationError
    >>> class Model(BaseModel, extra="forbid"):
    ...     threshold: float = 0.5
    >>> try:
    ...     Model(treshold=0.6)
    ... except ValidationError as error:
    ...     print(complaints(error, Model, "nuclei.toml"))
    nuclei.toml: treshold: no such key; did you mean 'threshold'?
    """
    return "\n".join(f"{where}: {_line(entry, model)}" for entry in error.errors())


def _line(entry: Any, model: type[BaseModel]) -> str:
    place = [part for part in entry["loc"] if part not in ("tuple", "list")]
    key = ".".join(map(str, place))
    if entry["type"] == "extra_forbidden":
        return f"{key}: no such key; {_instead(str(place[-1]), _keys(model, place[:-1]))}"
    said = entry["msg"].removeprefix("Value error, ").replace("Input should be", "expected", 1)
    shown = repr(entry["input"])
    found = f", found {shown}" if said.startswith("expected") and len(shown) <= _LONGEST else ""
    return f"{key}: {said}{found}" if key else said


def _instead(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"


def _keys(model: type[BaseModel], place: Sequence[Any]) -> list[str]:
    """The keys that a model knows at a place within it."""
    for part in place:
        field = model.model_fields.get(str(part))
        if field is not None:
            model = next(_models(field.annotation), model)
    return list(model.model_fields)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)
