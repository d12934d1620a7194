"""The trained tiny models that ship inside the package, and how they enter a store: NAME@embedded.

The base that every stage starts from, the chat model that plays DeepSeek-V3's part, and the students' bases.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax

from r1jax.core.errors import DataError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig
from r1jax.models import config, own_file
from r1jax.store import Store
from r1jax.text.tokenizer import ASSETS

REF = "base@embedded"
PROMPT_ROOM = 32  # of a packed row, kept for the prompt when the base is examined
# what a base must show before it ships: thinking longer pays, and there is much to learn
GATE = (("eval/gate/arithmetic", "at least", 0.98), ("eval/gate/wrong_accepted", "at most", 0.02),
        ("eval/gate/pass@1", "at most", 0.30))
PATH = ASSETS / "base.safetensors"
NAMES = ("base", "chat", "student-qwen", "student-llama")


def path(name: str = "base") -> Path:
    """The file of a shipped model."""
    return PATH if name == "base" else PATH.with_name(f"{name}.safetensors")


def model(name: str = "base") -> config.ModelConfig:
    """A shipped model's architecture, as recorded beside its weights."""
    return artifact_model(json.loads(own_file.metadata(path(name))["model"]))


def record(name: str = "base") -> dict:
    """What a shipped model scored when it was made, and how it was made."""
    return json.loads(own_file.metadata(path(name))["record"])


def params(name: str = "base") -> dict:
    """A shipped model's weights, as numpy arrays."""
    return own_file.load(model(name), path(name))


def gate_complaints(figures: Mapping[str, float]) -> list[str]:
    """What of the gate's figures is not good enough to start reinforcement from; empty where all is."""
    return [f"{name} is {figures.get(name)}, {word} {limit} is needed" for name, word, limit in GATE
            if name not in figures or (figures[name] < limit if word == "at least" else figures[name] > limit)]


def ship(store_root: str, ref: str = "base@tiny") -> None:
    """Writes a trained model of a store over the shipped one of its name, with what was measured of it.

        python -c "from r1jax.stages.embedded import ship; ship('store')"

    Raises:
      DataError: it is not finished, none of NAMES, or a base that fails the gate.
    """
    from r1jax.stages.weights_of import load_weights  # which reads what is shipped

    store = Store(store_root, create=False)
    artifact = store.get(ref)
    if artifact.name not in NAMES:
        raise DataError(f"{ref} is none of the models that are shipped: {', '.join(NAMES)}.")
    figures = artifact.summary()
    failed = gate_complaints(figures or {}) if artifact.name == "base" else [] if figures else ["it is not finished"]
    if failed:
        raise DataError(f"{ref} is not fit to ship: {'; '.join(failed)}.")
    settings = artifact.config()
    cfg = artifact_model(settings["model"])
    loaded = load_weights(store, artifact, make_mesh(MeshConfig()))
    kept = {"step": artifact.final_step(), "figures": figures, "fingerprint": artifact.fingerprint,
            "tokenizer": artifact.lineage()["digests"]["tokenizer"],
            "problems": settings["evaluation"]["problems"], "samples": settings["evaluation"]["samples"],
            "max_new_tokens": settings["evaluation"].get("max_new_tokens")
            or settings["pretrain"]["row_length"] - PROMPT_ROOM,
            "command": f"r1jax run experiments/{artifact.name.replace('-', '_')}.py:tiny"}
    about = {"model": json.dumps(dataclasses.asdict(cfg)), "record": json.dumps(kept)}
    own_file.save(jax.device_get(loaded), path(artifact.name), about)


def artifact_model(config_row: Mapping[str, Any]) -> config.ModelConfig:
    """The architecture written in an artifact's configuration."""
    records = {"yarn": config.YaRN, "mla": config.MLA, "moe": config.MoE}

    def read(name: str, value: Any) -> Any:
        if name in records and value is not None:
            return records[name](**{field: v for field, v in value.items() if field != "type"})
        return tuple(value) if isinstance(value, list) else value

    return config.ModelConfig(**{name: read(name, value) for name, value in config_row.items() if name != "type"})


def adopt(store: Store, refs: Iterable[str]) -> None:
    """Puts shipped models into a store as finished artifacts NAME@embedded, where they are asked for.

    Raises:
      StoreError: the store holds the model of another release of this package.
      DataError: there is no such model, or the package was installed without it.
    """
    for ref in dict.fromkeys(refs):
        name, _, version = ref.partition("@")
        if version == "embedded":
            _adopt(store, name)


def _adopt(store: Store, name: str) -> None:
    if name not in NAMES:
        raise DataError(f"{name}@embedded is not shipped; the models that are: {', '.join(NAMES)}.")
    file = path(name)
    if not file.exists():
        raise DataError(f"The embedded {name} is missing from this installation; install the package again, or build "
                        f"it with: r1jax run experiments/{name.replace('-', '_')}.py:tiny")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    about = record(name)
    with store.begin(name, "embedded", fingerprint=digest, config={"embedded": about},
                     digests={"weights": digest, "tokenizer": about["tokenizer"]}) as artifact:
        if artifact.finished:
            return
        artifact.save(about["step"], {"params": jax.tree.map(jax.numpy.asarray, params(name))})
        artifact.wait()
        artifact.finish(about["figures"])
