"""The trained tiny base that ships inside the package, and how it enters a store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import jax

from r1jax.core.errors import DataError
from r1jax.models import config, weights
from r1jax.store import Store
from r1jax.text.tokenizer import ASSETS

REF = "base@embedded"
PATH = ASSETS / "base.safetensors"


def model() -> config.ModelConfig:
    """The shipped base's architecture, as recorded beside its weights."""
    fields = json.loads(weights.metadata(PATH)["model"])
    return config.ModelConfig(**{name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()})


def record() -> dict:
    """What the shipped base scored when it was made, and how it was made."""
    return json.loads(weights.metadata(PATH)["record"])


def params() -> dict:
    """The shipped base's weights, as numpy arrays."""
    return weights.load(model(), PATH)


def adopt_base(store: Store, refs: Iterable[str]) -> None:
    """Puts the shipped base into a store as the finished artifact base@embedded, where it is asked for."""
    if REF not in set(refs) or ((found := store.find(REF)) is not None and found.finished):
        return
    if not PATH.exists():
        raise DataError("The embedded base is missing from this installation; install the package again, or build the "
                        "base with: r1jax run experiments/base.py:tiny")
    digest = hashlib.sha256(PATH.read_bytes()).hexdigest()[:16]
    with store.begin("base", "embedded", fingerprint=digest, config={"embedded": record()},
                     digests={"weights": digest}) as artifact:
        tree = jax.tree.map(jax.numpy.asarray, params())
        artifact.save(record()["step"], {"params": tree})
        artifact.wait()
        artifact.finish(record()["figures"])
