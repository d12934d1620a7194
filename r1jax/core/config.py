"""Experiments as frozen records: one file a stage, `get_config(scale)` returns one of these.

The records are in core/settings.py. Here are `load` (a file at a scale), `to_dict` and `fingerprint` (what a run
is, as JSON and as a hash). `--set` overrides are in core/override.py. No jax is imported here.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import importlib.util
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from r1jax.core.errors import ConfigError
from r1jax.core.override import override
from r1jax.core.settings import (
    ADDED,
    SWITCH,
    ChatConfig,
    CollectConfig,
    DataConfig,
    EvalConfig,
    LoRA,
    MeshConfig,
    OptimConfig,
    PairsConfig,
    PretrainConfig,
    RewardModelConfig,
    RLConfig,
    SFTConfig,
)

ARTIFACT = "artifact:"
"""What a tokenizer's name begins with that is the copy kept by an imported artifact."""


@dataclass(frozen=True)
class Experiment:
    """Everything that decides an artifact; what `identity` and paths leave out apart, all of it is fingerprinted.

    Attributes:
      name: the artifact's name (the paper's). scale: "tiny", "small" or "paper".
      stage: the stage function, ``run(experiment, artifact, context)``.
      parents: (role, ref) rows, roles weights, data, policy, reference, reward, teacher, chat; data and reward may come
        more than once. A ref without a version means the scale's artifact.
      tokenizer: "builtin:tiny", a .model (sentencepiece) or a tokenizer.json path, or "artifact:name@version", that of
        an imported checkpoint.
      lora: adapters that sft, rl and reward_model train in the place of the parent's weights; None: the weights.
    """

    name: str
    scale: str
    stage: Callable[..., Any]
    model: Any
    seed: int = 0
    parents: tuple[tuple[str, str], ...] = ()
    tokenizer: str = "builtin:tiny"
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    evaluation: EvalConfig = field(default_factory=EvalConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    pretrain: PretrainConfig | None = None
    rl: RLConfig | None = None
    chat: ChatConfig | None = field(default=None, metadata=ADDED)
    collect: CollectConfig | None = field(default=None, metadata=ADDED)
    pairs: PairsConfig | None = field(default=None, metadata=ADDED)
    sft: SFTConfig | None = field(default=None, metadata=ADDED)
    reward_model: RewardModelConfig | None = field(default=None, metadata=ADDED)
    lora: LoRA | None = field(default=None, metadata=SWITCH)


def load(spec: str, overrides: Sequence[str] = ()) -> Experiment:
    """The experiment of ``path/to/file.py:scale`` with ``a.b=c`` overrides applied.

    Args:
      spec: path of an experiment file and, after a colon, one of its ``SCALES``; "tiny" if left out.
      overrides: as for `r1jax.core.override.override`.

    Raises:
      ConfigError: no such file, no such scale, not an experiment file, or a bad override.
    """
    experiment, path, scale = made_by(spec)
    if not isinstance(experiment, Experiment):
        raise ConfigError(f"get_config({scale!r}) of {path} returned a {type(experiment).__name__}, not an Experiment.")
    return override(experiment, *overrides)


def made_by(spec: str) -> tuple[Any, Path, str]:
    """(what get_config returned, path, scale) of ``path/to/file.py:scale``.

    Raises:
      ConfigError: no such file, no such scale, or not an experiment file.
    """
    name, colon, scale = str(spec).rpartition(":")
    path, scale = (Path(name), scale) if colon else (Path(scale), "tiny")
    if path.suffix != ".py" or not path.is_file():
        raise ConfigError(_missing_file(path))
    module = _import_file(path)
    for attribute in ("SCALES", "get_config"):
        if not hasattr(module, attribute):
            raise ConfigError(f"{path} has no {attribute}, so it is not an experiment file; experiments/r1_zero.py is "
                              "one.")
    if scale not in module.SCALES:
        raise ConfigError(f"{path} has no scale {scale!r}; choose one of {', '.join(module.SCALES)}.")
    return module.get_config(scale), path, scale


def experiment_files(folder: Path = Path("experiments")) -> list[Path]:
    """Experiment files of a folder and its subfolders, sorted; empty where there is no folder."""
    return sorted(p for p in folder.rglob("*.py") if not p.name.startswith("_"))


def _missing_file(path: Path) -> str:
    """The sentence for an experiment file that is not there: the nearest ones, or where to look."""
    folder = next((parent for parent in path.parents if parent.name == "experiments"), Path("experiments"))
    known = [str(p) for p in experiment_files(folder)]
    if not known:
        return f"There is no experiment file {path}, nor any in {folder}/; run from the repository's root."
    near = difflib.get_close_matches(str(path), known, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"There is no experiment file {path}.{hint} The experiments here are: {', '.join(known)}."


def _import_file(path: Path) -> ModuleType:
    """Runs an experiment file as a module; its name depends on the file's name only."""
    name = f"r1jax_experiment_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up while they are made
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ConfigError(f"{path} is not valid Python: {error.msg} (line {error.lineno}).") from error
    except (NameError, ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} cannot be loaded: {type(error).__name__}: {error}; R1JAX_DEBUG=1 shows "
                          "where.") from error
    return module


def to_dict(experiment: Experiment) -> dict[str, Any]:
    """The experiment as JSON-able values, for experiment.json.

    Records become objects with their type's name, functions their ``module.qualname`` (with the
    values that a closure or a partial holds), tuples lists, non-finite floats strings. A field marked
    ADDED is left out at its default, so that artifacts made before it keep their fingerprint.

    Raises:
      ConfigError: a value has no stable name, such as a lambda.
    """
    return _encode(experiment, "experiment")


def fingerprint(experiment: Experiment, *, parents: Mapping[str, str] | None = None,
                digests: Mapping[str, str] | None = None) -> str:
    """Sixteen hexadecimal digits that identify what a run computes.

    Args:
      experiment: all of it counts that `identity` leaves.
      parents: role -> fingerprint of the parent artifact.
      digests: name -> digest of a data set or tokenizer.
    """
    config = identity(to_dict(experiment))
    whole = {"experiment": config, "parents": dict(parents or {}), "digests": dict(digests or {})}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of `to_dict`'s values decides what a run computes: not its devices, nor where its chat model is served.

    Nor which imported artifact keeps the copy of its tokenizer: the digest is part of the fingerprint.
    Of ``chat.endpoint`` the model's name is left, with its #. ``chat.concurrency`` and ``chat.key_variable`` stand at
    their defaults, ``evaluation.max_time_share`` at the one that it had when fingerprints were first written.
    """
    left = {name: value for name, value in config.items() if name != "mesh"}
    if str(left.get("tokenizer", "")).startswith(ARTIFACT):
        left["tokenizer"] = ARTIFACT
    if left.get("evaluation"):
        left["evaluation"] = {**left["evaluation"], "max_time_share": 0.25}
    if left.get("chat"):
        chat, usual = dict(left["chat"]), ChatConfig()
        _, mark, model = chat["endpoint"].partition("#")
        chat["endpoint"] = mark + model if mark else chat["endpoint"]
        left["chat"] = chat | {"concurrency": usual.concurrency, "key_variable": usual.key_variable}
    return left


def _encode(value: Any, where: str) -> Any:
    """JSON values for `to_dict`; ``where`` is the dotted path named in an error."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, (list, tuple)):
        return [_encode(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {str(key): _encode(item, f"{where}[{key!r}]") for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _encode(getattr(value, f.name), f"{where}.{f.name}") for f in dataclasses.fields(value)
                  if not (f.metadata.get("added") and getattr(value, f.name) == f.default)}
        return {"type": type(value).__qualname__} | fields
    if isinstance(value, functools.partial):
        return {"function": _encode(value.func, where), "args": _encode(value.args, where),
                "keywords": _encode(value.keywords, where)}
    if isinstance(value, FunctionType) and "<lambda>" not in value.__qualname__:
        return _encode_function(value, where)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    raise ConfigError(f"{where} is {value!r}, which has no stable name to record; "
                      "use a number, text, a tuple, a frozen record, a named function or functools.partial.")


def _encode_function(function: FunctionType, where: str) -> Any:
    """A function's name; one made inside another function carries the values that it closes over."""
    name = f"{function.__module__}.{function.__qualname__}"
    if "<locals>" not in name:
        return name
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    held = {variable: cell.cell_contents for variable, cell in cells}
    held |= {"defaults": function.__defaults__, "keyword_defaults": function.__kwdefaults__}
    return {"function": name} | {key: _encode(item, f"{where}.{key}") for key, item in held.items()}
