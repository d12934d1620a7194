"""Command-line overrides of an experiment: ``rl.steps=50``, checked against the records' types."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Sequence
from typing import Any

from r1jax.core.errors import ConfigError

_IDENTITY = {
    "scale": "choose the scale after the file's name, as in experiments/r1_zero.py:tiny",
    "name": "use --version to keep several runs of one experiment apart",
    "stage": "choose another experiment file",
}


def override(experiment: Any, *assignments: str) -> Any:
    """A copy of a frozen record with fields of it, or of records within it, replaced.

    All assignments are applied together, so that fields that must agree can change in one go; of
    two to the same field the later one counts.

    Args:
      experiment: an Experiment (or any frozen dataclass).
      assignments: ``path.to.field=value``; tuples in Python's notation, ``None``, ``true``, ``false``.

    Raises:
      ConfigError: an unknown field (the nearest is named), a section that is None and no SWITCH of
        core/settings.py, a value of the wrong type, or one that the record itself refuses.
    """
    changes: dict[tuple[str, ...], str] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not path.strip():
            raise ConfigError(f"--set {assignment} is not an assignment; write it as section.field=value.")
        changes[tuple(path.strip().split("."))] = text.strip()
    return _apply(experiment, changes, (), experiment) if changes else experiment


def split_models(assignments: Sequence[str], names: Sequence[str] = ()) -> tuple[dict[str, str], list[str]]:
    """(artifact's name, or "" -> checkpoint; the other assignments): ``model=Qwen/Qwen2.5-1.5B`` names a checkpoint.

    A whole model is no field that a text could be: stages/pointing.py puts the checkpoint in its place.

    Args:
      names: artifacts of a recipe, of which ``dev2.model=NAME`` changes one.

    Raises:
      ConfigError: it names none.
    """
    found, rest = {}, []
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        *owner, field = path.strip().split(".")
        if not equals or field != "model" or not (not owner or (len(owner) == 1 and owner[0] in names)):
            rest.append(assignment)
            continue
        if not text.strip():
            raise ConfigError(f"--set {assignment} names no checkpoint; give a folder, a name on the hub or an "
                              "artifact name@version.")
        found["".join(owner)] = text.strip()
    return found, rest


def _apply(record: Any, changes: dict[tuple[str, ...], str], at: tuple[str, ...], root: Any) -> Any:
    """Replaces fields of ``record``, which lies at path ``at`` of ``root``."""
    hints = typing.get_type_hints(type(record))
    names = [f.name for f in dataclasses.fields(record)]
    switches = {f.name for f in dataclasses.fields(record) if f.metadata.get("switch")}
    grouped: dict[str, dict[tuple[str, ...], str]] = {}
    for path, text in changes.items():
        if path[0] not in names:
            raise ConfigError(_unknown(at, path, names, root))
        grouped.setdefault(path[0], {})[path[1:]] = text
    values = {}
    for name, inner in grouped.items():
        here, current = (*at, name), getattr(record, name)
        if name in switches and inner.get((), "").lower() == "none":
            values[name] = None
            continue
        kind = _section(hints[name]) if current is None and name in switches else type(current)
        if dataclasses.is_dataclass(kind):
            if () in inner:
                fields = ", ".join(f.name for f in dataclasses.fields(kind))
                raise ConfigError(f"{'.'.join(here)} is a section; set one of its fields: {fields}.")
            values[name] = _begin(kind, inner, here, root) if current is None else _apply(current, inner, here, root)
            continue
        deeper = next((path for path in inner if path), None)
        if deeper is not None:
            state = "None in this experiment" if current is None else f"the value {current!r}, not a section"
            raise ConfigError(f"{'.'.join(here)} is {state}, so {'.'.join((*here, *deeper))} cannot be set.")
        values[name] = _parse(inner[()], hints[name], here)
    return dataclasses.replace(record, **values)


def _section(hint: Any) -> type:
    """The record of a field annotated ``Record | None``."""
    return next(option for option in _alternatives(hint) if dataclasses.is_dataclass(option))


def _begin(kind: type, changes: dict[tuple[str, ...], str], at: tuple[str, ...], root: Any) -> Any:
    """A section that the experiment does not have, from the fields that are given; the others are at their defaults."""
    hints, fields = typing.get_type_hints(kind), dataclasses.fields(kind)
    for path in changes:
        if path[1:] or path[0] not in hints:
            raise ConfigError(_unknown(at, path, [f.name for f in fields], root))
    given = {path[0]: _parse(text, hints[path[0]], (*at, *path)) for path, text in changes.items()}
    needed = [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in given]
    if needed:
        raise ConfigError(f"{'.'.join(at)} is None in this experiment; to begin it, set {'.'.join((*at, needed[0]))} "
                          "too.")
    return kind(**given)


def _unknown(at: tuple[str, ...], path: tuple[str, ...], names: list[str], root: Any) -> str:
    """The sentence for a field that does not exist: the nearest one and the ones that do."""
    wanted, everywhere = ".".join((*at, *path)), list(_leaves(root))
    same_leaf = [leaf for leaf in everywhere if leaf.split(".")[-1] == path[-1]]
    sibling = difflib.get_close_matches(path[0], names, n=1)
    if sibling:
        nearest = [".".join((*at, sibling[0], *path[1:]))]
    else:
        nearest = difflib.get_close_matches(wanted, same_leaf or everywhere, n=1, cutoff=0.0)
    place = f"Section {'.'.join(at)}" if at else "The experiment"
    return f"There is no field {wanted}; did you mean {nearest[0]}? {place} has {', '.join(names)}."


def _leaves(record: Any, prefix: str = ""):
    """Dotted paths of all fields of a record and of the records within it."""
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{prefix}{field.name}.")
        else:
            yield prefix + field.name


def _parse(text: str, hint: Any, at: tuple[str, ...]) -> Any:
    """The value that ``text`` means for a field annotated ``hint``."""
    path = ".".join(at)
    if path in _IDENTITY:
        raise ConfigError(f"{path} cannot be set: {_IDENTITY[path]}.")
    try:
        value = ast.literal_eval({"true": "True", "false": "False", "none": "None"}.get(text.lower(), text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        value = text
    options = _alternatives(hint)
    if str in options and not isinstance(value, str) and not (value is None and type(None) in options):
        value = text  # a text field takes 007 or 1e3 as it is written
    try:
        return _coerce(value, hint)
    except ValueError:
        raise ConfigError(f"{path} takes {_describe(hint)}, not {text!r}.") from None


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the one type."""
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    return typing.get_args(hint) if union else (hint,)


def _coerce(value: Any, hint: Any) -> Any:
    """``value`` as an instance of ``hint``; integers become floats where floats are wanted.

    Raises:
      ValueError: it is not one.
    """
    for option in _alternatives(hint):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if option is type(None) and value is None:
            return None
        if option is float and number and math.isfinite(value):
            return float(value)
        if option in (int, str, bool) and type(value) is option:
            return value
        if typing.get_origin(option) is tuple and isinstance(value, (tuple, list)):
            return _coerce_tuple(value, typing.get_args(option))
    raise ValueError(value)


def _coerce_tuple(value: Any, hints: tuple[Any, ...]) -> tuple[Any, ...]:
    """A tuple with every item coerced; ``(X, ...)`` is any number of X."""
    if len(hints) == 2 and hints[1] is ...:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise ValueError(value)
    return tuple(_coerce(item, hint) for item, hint in zip(value, hints, strict=True))


def _describe(hint: Any) -> str:
    """A type in words, with an example."""
    words = {int: "a whole number such as 50", float: "a finite number such as 0.001", str: "text",
             bool: "true or false", type(None): "None"}
    parts = []
    for option in _alternatives(hint):
        if typing.get_origin(option) is tuple:
            parts.append(f"a tuple such as {_example(option)}")
        else:
            parts.append(words.get(option, "a value that only the experiment file can give"))
    return " or ".join(parts)


def _example(hint: Any) -> str:
    """A literal of a tuple type."""
    if typing.get_origin(hint) is not tuple:
        return {int: "50", float: "0.5", str: "'name'", bool: "True"}.get(hint, "None")
    texts = [_example(item) for item in typing.get_args(hint) if item is not ...]
    return f"({', '.join(texts)},)" if len(texts) == 1 else f"({', '.join(texts)})"
