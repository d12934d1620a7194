"""The trained tiny base that ships inside the package, and how it enters a store."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping

import jax

from r1jax.core.errors import DataError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import config, spec, weights
from r1jax.store import Store
from r1jax.text.tokenizer import ASSETS

REF = "base@embedded"
PROMPT_ROOM = 32  # of a packed row, kept for the prompt when the base is examined
# what a base must show before it ships: thinking longer pays, and there is much to learn
GATE = (("eval/gate/arithmetic", "at least", 0.98), ("eval/gate/wrong_accepted", "at most", 0.02),
        ("eval/gate/pass@1", "at most", 0.30))
PATH = ASSETS / "base.safetensors"


def model() -> config.ModelConfig:
    """The shipped base's architecture, as recorded beside its weights."""
    return artifact_model(json.loads(weights.metadata(PATH)["model"]))


def record() -> dict:
    """What the shipped base scored when it was made, and how it was made."""
    return json.loads(weights.metadata(PATH)["record"])


def params() -> dict:
    """The shipped base's weights, as numpy arrays."""
    return weights.load(model(), PATH)


def gate_complaints(figures: Mapping[str, float]) -> list[str]:
    """What of the gate's figures is not good enough to start reinforcement from; empty where all is."""
    return [f"{name} is {figures.get(name)}, {word} {limit} is needed" for name, word, limit in GATE
            if name not in figures or (figures[name] < limit if word == "at least" else figures[name] > limit)]


def ship(store_root: str, ref: str = "base@tiny") -> None:
    """Writes a trained base of a store over the shipped one, with what its gate measured.

        python -c "from r1jax.stages.embedded import ship; ship('store')"

    Raises:
      DataError: the base is not finished or fails the gate.
    """
    artifact = Store(store_root, create=False).get(ref)
    figures = artifact.summary() or {}
    failed = gate_complaints(figures)
    if failed:
        raise DataError(f"{ref} is not fit to ship: {'; '.join(failed)}.")
    cfg = artifact_model(artifact.config()["model"])
    loaded = artifact.load_params(spec.abstract(cfg, make_mesh(MeshConfig())))
    settings = artifact.config()["evaluation"]
    kept = {"step": artifact.final_step(), "figures": figures, "fingerprint": artifact.fingerprint,
            "tokenizer": artifact.lineage()["digests"]["tokenizer"],
            "problems": settings["problems"], "samples": settings["samples"],
            "max_new_tokens": artifact.config()["pretrain"]["row_length"] - PROMPT_ROOM,
            "command": "r1jax run experiments/base.py:tiny"}
    about = {"model": json.dumps(dataclasses.asdict(cfg)), "record": json.dumps(kept)}
    weights.save(jax.device_get(loaded), PATH, about)


def artifact_model(config_row: dict) -> config.ModelConfig:
    """The architecture written in an artifact's configuration."""
    return config.ModelConfig(**{name: tuple(v) if isinstance(v, list) else v for name, v in config_row.items()
                                 if name != "type"})


def adopt_base(store: Store, refs: Iterable[str]) -> None:
    """Puts the shipped base into a store as the finished artifact base@embedded, where it is asked for.

    Raises:
      StoreError: the store holds the base of another release of this package.
      DataError: the package was installed without its base.
    """
    if REF not in set(refs):
        return
    if not PATH.exists():
        raise DataError("The embedded base is missing from this installation; install the package again, or build the "
                        "base with: r1jax run experiments/base.py:tiny")
    digest = hashlib.sha256(PATH.read_bytes()).hexdigest()[:16]
    with store.begin("base", "embedded", fingerprint=digest, config={"embedded": record()},
                     digests={"weights": digest, "tokenizer": record()["tokenizer"]}) as artifact:
        if artifact.finished:
            return
        tree = jax.tree.map(jax.numpy.asarray, params())
        artifact.save(record()["step"], {"params": tree})
        artifact.wait()
        artifact.finish(record()["figures"])
