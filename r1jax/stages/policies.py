"""Models that answer questions: an artifact of a store, the shipped base, a Hugging Face folder, or an endpoint."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from r1jax.core import keys
from r1jax.core.errors import ConfigError
from r1jax.core.mesh import make_mesh, memory_bytes
from r1jax.core.records import Completion, Problem
from r1jax.core.settings import MeshConfig
from r1jax.eval.suites import PAPER_TOKENS
from r1jax.models import spec, weights
from r1jax.models.checkpoint_config import read_config
from r1jax.models.config import ModelConfig
from r1jax.rewards import learned
from r1jax.sampler.decode import check_context
from r1jax.sampler.responses import respond
from r1jax.sampler.sampling import Sampling
from r1jax.stages import embedded, imported
from r1jax.stages.evaluate import Decoding, OnGroup
from r1jax.stages.model_sources import is_hub_name, open_source
from r1jax.stages.weights_of import load_weights, store_of
from r1jax.store import Artifact, Store
from r1jax.store.evaluations import folder_name
from r1jax.text import chat
from r1jax.text import tokenizer as tokenizers
from r1jax.text.prompts import Prompter, Template, digests, prompter, template

SLOTS = 64
BLOCKS, BLOCK_BYTES = 64, 1 << 16  # what of a large file goes into its digest
BLOCK_TOKENS = 2**27  # tokens of a block of samples, whose arrays are on the host at once


@dataclass(frozen=True)
class Policy:
    """Weights with all that sampling from them needs.

    Attributes:
      name: a folder's name for it. identity: what tells it from any other, as JSON values.
      prompt: turns a question into ids. max_new_tokens: its own token budget. slots: rows decoded together.
      least_prompt: tokens to which prompts are padded at least, so that sets of questions share compiled programs.
    """

    name: str
    identity: dict[str, Any]
    model: ModelConfig
    params: Any
    tokenizer: tokenizers.Tokenizer
    prompt: Prompter
    max_new_tokens: int
    mesh: Any
    slots: int = SLOTS
    least_prompt: int = 0

    @property
    def shared(self) -> bool:
        """See evaluate.Model: the mesh may span processes."""
        return True

    def decoding(self, wanted: Decoding, problems: Sequence[Problem]) -> Decoding:
        """See evaluate.Model."""
        wanted = wanted if wanted.max_new_tokens else replace(wanted, max_new_tokens=self.max_new_tokens)
        check_context(self.model, self._longest(problems), wanted.max_new_tokens)
        return wanted

    def _longest(self, problems: Sequence[Problem]) -> int:
        lengths = [len(self.prompt.ids(self.tokenizer, problem.question)) for problem in problems]
        return max(self.least_prompt, *lengths)

    def answer(self, problems: Sequence[Problem], numbers: Sequence[int], decoding: Decoding,
               on_group: OnGroup) -> None:
        """See evaluate.Model."""
        sampling = Sampling(self.tokenizer.ends, decoding.temperature, decoding.top_p, decoding.top_k)
        longest = self._longest(problems)
        size = max(BLOCK_TOKENS // (decoding.samples * decoding.max_new_tokens), 1)
        with jax.set_mesh(self.mesh):
            for first in range(0, len(numbers), size):
                block = numbers[first:first + size]
                respond(self.model, self.params, self.tokenizer, self.prompt, [problems[i] for i in block],
                        keys.key_for(decoding.seed, 0, "evaluation"), sampling=sampling, samples=decoding.samples,
                        max_new_tokens=decoding.max_new_tokens, mesh=self.mesh, slots=self.slots,
                        max_prompt_tokens=longest, numbers=block,
                        on_group=lambda group, completions, block=block: on_group(block[group], completions))

    def texts(self, question: str, samples: int, temperature: float, max_new_tokens: int | None, seed: int,
              stop: Sequence[str] = ()) -> list[str]:
        """Answers to one question; each ends with the first of the `stop` texts, if one comes."""
        asked = Problem("command-line", "general", question, "")
        with jax.set_mesh(self.mesh):
            responses = respond(self.model, self.params, self.tokenizer, self.prompt, [asked],
                                keys.key_for(seed, 0, "sample"), sampling=Sampling(self.tokenizer.ends, temperature),
                                samples=samples, max_new_tokens=max_new_tokens or self.max_new_tokens, mesh=self.mesh,
                                slots=self.slots, stop=stop)
        return [completion.text for completion in responses.completions]


def load_policy(store_root: str, ref: str, slots: int = SLOTS) -> Policy:
    """An artifact's newest weights, a Hugging Face folder's or hub name's, or the shipped base for "embedded:base".

    Raises:
      R1JaxError: no such store, artifact or folder, weights that cannot be read, or a tokenizer that does not fit.
    """
    if ref.startswith("embedded:"):
        name = ref.partition(":")[2]
        if name not in embedded.NAMES:
            raise ConfigError(f"There is no {ref!r}; the models that are shipped are "
                              f"{', '.join(f'embedded:{known}' for known in embedded.NAMES)}.")
        return _shipped(name, make_mesh(MeshConfig()), slots)
    if (Path(ref).expanduser() / "config.json").is_file():
        return _folder(Path(ref).expanduser(), slots)
    if is_hub_name(ref):
        return _folder(open_source(ref).folder, slots, ref.rpartition("/")[2])
    if Path(ref).is_dir():
        raise ConfigError(f"{ref} is a folder without a config.json, so it is no Hugging Face checkpoint; give such a "
                          "folder, an artifact name@version or an endpoint http://HOST/v1#MODEL.")
    if "/" in ref:
        raise ConfigError(f"There is no folder {ref}; give a checkpoint's folder, a name on the hub such as "
                          "Qwen/Qwen2.5-1.5B, an artifact name@version, or an endpoint http://HOST/v1#MODEL.")
    return artifact_policy(Store(store_root, create=False).get(ref), None, slots)


def reading_mesh(model: ModelConfig):
    """The devices for a model that is sampled from: rows over all of them, where each can hold the weights.

    Where the weights take more than half of a device's memory, they lie over all devices: by experts, or by heads and
    feed-forwards.
    """
    mesh = make_mesh(MeshConfig())
    room = memory_bytes(mesh) / mesh.size
    if mesh.size == 1 or not room or spec.count(model) * jnp.dtype(model.dtype).itemsize <= room / 2:
        return mesh
    return make_mesh(MeshConfig(data=1, tensor=-1) if model.moe is None else MeshConfig(data=1, expert=-1))


def artifact_policy(artifact: Artifact, mesh=None, slots: int = SLOTS) -> Policy:
    """An artifact's newest weights in its compute type, with the prompt and the token budget of its own training.

    mesh: None: `reading_mesh`.

    Raises:
      R1JaxError: it has no weights, they cannot be read, or a tokenizer that does not fit.
    """
    config = artifact.config()
    if "embedded" in config:
        return _shipped(artifact.name, mesh or make_mesh(MeshConfig()), slots)
    model = replace(embedded.artifact_model(config["model"]), mtp=0)
    if "imported" in config:
        return _imported(artifact, model, mesh, slots)
    mesh = mesh or reading_mesh(model)
    budget = _own_budget(artifact.ref, config)
    tokenizer, named = _own_tokenizer(artifact, model), config["data"]["prompt"]
    _check_template(artifact, digests(named, tokenizer))
    identity = _of_artifact(artifact) | {"prompt": named, "dtype": model.dtype} | digests(named, tokenizer)
    params = load_weights(store_of(artifact), artifact, mesh, model, model.dtype)
    return Policy(artifact.ref.replace("@", "-"), identity, model, params, tokenizer, prompter(named, tokenizer),
                  budget, mesh, slots)


def _check_template(artifact: Artifact, found: Mapping[str, str]) -> None:
    """Refuses a checkpoint's chat template that is no longer the one with which an artifact was trained."""
    trained = artifact.lineage()["digests"].get("chat_template")
    if found and trained not in (None, found["chat_template"]):
        raise ConfigError(f"{artifact.ref} was trained with a chat template of digest {trained}, and the one beside "
                          f"its tokenizer {artifact.config()['tokenizer']!r} has {found['chat_template']}; put the "
                          "former back.")


def _own_budget(ref: str, config: Mapping[str, Any]) -> int:
    """Tokens of a response in the model's own training."""
    if config.get("rl"):
        return config["rl"]["max_new_tokens"][-1][1]
    rows = config.get("sft") or config.get("pretrain")
    if rows is None:
        raise ConfigError(f"{ref} is no model that answers questions: it is made by neither pre-training, fine-tuning "
                          "nor reinforcement.")
    return config["evaluation"].get("max_new_tokens") or rows["row_length"] - embedded.PROMPT_ROOM


def _folder(folder: Path, slots: int, name: str = "") -> Policy:
    """A checkpoint in a folder; `name` is that of its results, by default the folder's."""
    mesh = reading_mesh(replace(read_config(folder, _compute_dtype()).config, mtp=0))
    found = weights.load(folder, mesh, dtype=_compute_dtype())
    identity = {"folder": str(folder.resolve()), "files": _files_digest(folder)}
    return _foreign(folder, found.config, found.params, identity,
                    folder_name(name or folder.resolve().name, "folder"), mesh, slots)


def _imported(artifact: Artifact, model: ModelConfig, mesh, slots: int) -> Policy:
    """A checkpoint that was imported, as a folder's."""
    model = replace(model, dtype=_compute_dtype())
    mesh = mesh or reading_mesh(model)
    params = load_weights(store_of(artifact), artifact, mesh, model, model.dtype)
    return _foreign(imported.own_folder(artifact), model, params, _of_artifact(artifact),
                    artifact.ref.replace("@", "-"), mesh, slots)


def _compute_dtype() -> str:
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def _foreign(folder: Path, model: ModelConfig, params: Any, identity: dict[str, Any], name: str, mesh,
             slots: int) -> Policy:
    """A model with the folder's chat template, or, of a base model without one, the question alone as its prompt."""
    tokenizer = _tokenizer(str(imported.tokenizer_file(folder)), model)
    prompt = chat.ChatTemplate.of(folder) if chat.has_template(folder) else template("plain")
    spoken = "plain" if isinstance(prompt, Template) else f"chat {_digest(prompt.template.encode())}"
    identity = identity | {"dtype": model.dtype, "prompt": spoken}
    budget = min(PAPER_TOKENS, model.max_length // 2)
    return Policy(name, identity, model, params, tokenizer, prompt, budget, mesh, slots)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _files_digest(folder: Path) -> str:
    """A digest of a checkpoint's files: of small ones all, of weights the size and some of each file's blocks."""
    parts = []
    for file in sorted(folder.glob("*.json")) + sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.jinja")):
        size = file.stat().st_size
        with file.open("rb") as data:
            for at in range(0, size, max(size // BLOCKS, BLOCK_BYTES)):
                data.seek(at)
                parts.append(data.read(BLOCK_BYTES))
        parts.append(f"{file.name} {size}".encode())
    return _digest(b"\0".join(hashlib.sha256(part).digest() for part in parts))


def _shipped(name: str, mesh, slots: int) -> Policy:
    model = embedded.model(name)
    params = jax.device_put(embedded.params(name), spec.shardings(model, mesh))
    identity = {"artifact": f"embedded:{name}", "weights": _digest(embedded.path(name).read_bytes()), "prompt": "tiny"}
    return Policy(f"embedded-{name}", identity, model, params, _tokenizer("builtin:tiny", model), template("tiny"),
                  embedded.record(name)["max_new_tokens"], mesh, slots)


def _tokenizer(name: str, model: ModelConfig) -> tokenizers.Tokenizer:
    loaded = tokenizers.load(name)
    tokenizers.check_fits(loaded, model.vocab, name)
    return loaded


def _own_tokenizer(artifact: Artifact, model: ModelConfig) -> tokenizers.Tokenizer:
    """The tokenizer that an artifact names, if it is still the one with which it was trained."""
    name = artifact.config()["tokenizer"]
    loaded = imported.open_tokenizer(name, Store(artifact.path.parent.parent, create=False))
    tokenizers.check_fits(loaded, model.vocab, name)
    tokenizers.check_same(loaded, name, artifact.lineage()["digests"].get("tokenizer"), artifact.ref)
    return loaded


@dataclass(frozen=True)
class RewardModel:
    """See evaluate.Score: an artifact with a reward head."""

    identity: dict[str, Any]
    scorer: learned.Score
    mesh: Any

    def __call__(self, problems: Sequence[Problem], completions: Sequence[Completion]) -> list[float | None]:
        with jax.set_mesh(self.mesh):
            found = self.scorer([(p.question, c.full_text) for p, c in zip(problems, completions, strict=True)])
        return [None if math.isnan(value) else float(value) for value in found]


def load_reward_model(store_root: str, ref: str) -> RewardModel:
    """An artifact of a preference stage.

    Raises:
      ConfigError: it has no reward head. R1JaxError: as `load_policy`.
    """
    artifact = Store(store_root, create=False).get(ref)
    config = artifact.config()
    model = embedded.artifact_model(config["model"])
    if "reward" not in model.heads_out:
        raise ConfigError(f"{artifact.ref} has no reward head; --reward-model takes an artifact of a preference stage.")
    mesh = reading_mesh(model)
    return RewardModel(_of_artifact(artifact), reward_scorer(artifact, mesh), mesh)


def reward_scorer(artifact: Artifact, mesh, **options) -> learned.Score:
    """An artifact's newest weights as a scorer of texts; options are those of `learned.make_scorer`.

    Raises:
      R1JaxError: weights that cannot be read, no reward head, or a tokenizer that does not fit.
    """
    config = artifact.config()
    model = replace(embedded.artifact_model(config["model"]), mtp=0)
    tokenizer = _own_tokenizer(artifact, model)
    params = load_weights(store_of(artifact), artifact, mesh, model, model.dtype)
    return learned.make_scorer(model, params, tokenizer, config["data"]["prompt"], **options)


def _of_artifact(artifact) -> dict[str, Any]:
    return {"artifact": artifact.ref, "fingerprint": artifact.fingerprint,
            "step": artifact.final_step() if artifact.finished else artifact.latest_step()}
