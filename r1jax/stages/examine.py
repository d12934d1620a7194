"""Looking at what a run made: held-out evaluation of an artifact, and its answers to one question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax

from r1jax.core import keys
from r1jax.core.config import EvalConfig, MeshConfig
from r1jax.core.errors import ConfigError
from r1jax.core.mesh import make_mesh
from r1jax.core.records import Problem
from r1jax.data.world.corpus import world_problems
from r1jax.eval import suite as suites
from r1jax.models import spec
from r1jax.models.config import ModelConfig
from r1jax.sampler.responses import respond
from r1jax.sampler.sampling import Sampling
from r1jax.stages import embedded
from r1jax.stages.problems import HELD_OUT_SEED
from r1jax.store import Store
from r1jax.text import tokenizer as tokenizers

EMBEDDED = "embedded:base"
SUITES = ("countdown", "arithmetic", "logic", "stem")  # programs and general requests have no grader yet
SLOTS = 64


@dataclass(frozen=True)
class Policy:
    """A model with all that sampling from it needs."""

    model: ModelConfig
    params: Any
    tokenizer: tokenizers.Tokenizer
    prompt: str
    max_new_tokens: int
    mesh: Any


def load_policy(store_root: str, ref: str) -> Policy:
    """An artifact's newest weights, or the shipped base for "embedded:base".

    Raises:
      R1JaxError: no such store or artifact, or a tokenizer that does not fit.
    """
    mesh = make_mesh(MeshConfig())
    if ref == EMBEDDED:
        model, tokenizer, prompt, budget = embedded.model(), "builtin:tiny", "tiny", embedded.record()["max_new_tokens"]
        params = jax.device_put(embedded.params(), spec.shardings(model, mesh))
    else:
        artifact = Store(store_root, create=False).get(ref)
        config = artifact.config()
        if "embedded" in config:
            return load_policy(store_root, EMBEDDED)
        model = embedded.artifact_model(config["model"])
        tokenizer, prompt = config["tokenizer"], config["data"]["prompt"]
        budget = (config["rl"]["max_new_tokens"][-1][1] if config.get("rl")
                  else config["pretrain"]["row_length"] - embedded.PROMPT_ROOM)
        params = artifact.load_params(spec.abstract(model, mesh))
    loaded = tokenizers.load(tokenizer)
    tokenizers.check_fits(loaded, model.vocab, tokenizer)
    return Policy(model, params, loaded, prompt, budget, mesh)


def evaluate_artifact(store_root: str, ref: str, suite: str, samples: int, temperature: float, top_p: float, top_k: int,
                      limit: int, max_new_tokens: int | None) -> dict[str, Any]:
    """pass@1, cons@k and what the responses look like, on held-out problems of the tiny world.

    Args:
      ref: "name@version" or "embedded:base". suite: one of SUITES. samples: k. limit: number of problems.
      max_new_tokens: token budget; None takes the artifact's own.
    """
    if suite not in SUITES:
        raise ConfigError(f"The suite {suite!r} is unknown; the suites are {', '.join(SUITES)}.")
    policy = load_policy(store_root, ref)
    problems = world_problems(HELD_OUT_SEED, limit, split="held_out", shares={suite: 1.0},
                              languages={"en": 0.5, "zh": 0.5}, unique=suite == "countdown")
    config = EvalConfig(problems=limit, samples=samples, temperature=temperature, top_p=top_p, top_k=top_k)
    with jax.set_mesh(policy.mesh):
        found, _ = suites.evaluate(policy.model, policy.params, policy.tokenizer, policy.prompt, problems, config,
                                   keys.key_for(0, 0, "evaluation"), mesh=policy.mesh, slots=SLOTS,
                                   max_new_tokens=max_new_tokens or policy.max_new_tokens, suite=suite)
    head = {"artifact": ref, "problems": limit, "samples": samples, "temperature": temperature, "top_p": top_p,
            "top_k": top_k}
    return head | {name.removeprefix(f"eval/{suite}/"): value for name, value in found.items()}


def sample_text(store_root: str, ref: str, question: str, samples: int, temperature: float, max_new_tokens: int | None,
                seed: int, stop: Sequence[str] = ()) -> list[str]:
    """An artifact's answers to one question, as text; each ends with the first of the `stop` texts, if one comes."""
    policy = load_policy(store_root, ref)
    asked = Problem("command-line", "general", question, "")
    with jax.set_mesh(policy.mesh):
        responses = respond(policy.model, policy.params, policy.tokenizer, policy.prompt, [asked],
                            keys.key_for(seed, 0, "sample"), sampling=Sampling(policy.tokenizer.eos, temperature),
                            samples=samples, max_new_tokens=max_new_tokens or policy.max_new_tokens, mesh=policy.mesh,
                            slots=SLOTS, stop=stop)
    return [completion.text for completion in responses.completions]
