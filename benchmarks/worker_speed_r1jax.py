"""r1jax's prefill, decoding and training of an architecture with random weights, on the first device.

Prefill: `transformer.extend` into an empty cache, and the logits of each row's last token. Decoding: the rollout
engine (`sampler/rollout.py`) with as many slots as rows, temperature 1; its decoding time with what the host adds,
prefill apart. Training: a step of `train/step.py` with AdamW, float32 masters, the loss of pre-training (with the
balance loss and the moving bias of experts); everything compiled before, weights donated.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import speed_load
from flax import traverse_util
from speed_load import Load

from r1jax import __version__
from r1jax.core.cache import enable_compilation_cache
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig, OptimConfig
from r1jax.core.types import Batch
from r1jax.models import spec, transformer
from r1jax.models.checkpoint_config import read_config
from r1jax.models.config import ModelConfig
from r1jax.models.families import kept_dtype
from r1jax.sampler.rollout import rollout
from r1jax.sampler.sampling import Sampling
from r1jax.stages import routing
from r1jax.train import optim
from r1jax.train.step import init_state, make_step


def parameters(cfg: ModelConfig, dtype: str):
    """Random weights, mostly of `dtype`, made on the device without a float32 copy of all of them."""
    def make(key):
        flat = traverse_util.flatten_dict(spec.init(cfg, key), sep="/")
        return traverse_util.unflatten_dict({name: x.astype(kept_dtype(name, dtype)) for name, x in flat.items()},
                                            sep="/")

    return jax.jit(make)(jax.random.key(0))


def prefill(cfg: ModelConfig, load: Load) -> list[float]:
    """Seconds of each repeat."""
    params = parameters(cfg, load.dtype)
    tokens = jnp.asarray(speed_load.token_rows(load.rows, load.prompt_tokens, cfg.vocab), jnp.int32)
    lengths = jnp.full((load.rows,), load.prompt_tokens, jnp.int32)

    @jax.jit
    def encode(params, tokens, lengths):
        hidden, cache = transformer.extend(cfg, params, tokens, lengths,
                                           transformer.empty_cache(cfg, load.rows, load.prompt_tokens))
        return transformer.logits(params, hidden[:, -1]), cache

    def once():
        jax.block_until_ready(encode(params, tokens, lengths))

    return [speed_load.seconds(once) for _ in range(load.repeats + 1)][1:]


def decode(cfg: ModelConfig, load: Load) -> list[float]:
    """Seconds of each repeat, without prefill."""
    params, found = parameters(cfg, load.dtype), []
    prompts = speed_load.token_rows(load.rows, load.prompt_tokens, cfg.vocab)
    mesh, sampling = make_mesh(MeshConfig(data=1), jax.devices()[:1]), Sampling((cfg.vocab,))  # no id ends a row
    for index in range(load.repeats + 1):
        _, report = rollout(cfg, sampling, params, prompts, jax.random.key(index), samples=1,
                            max_new_tokens=load.new_tokens, mesh=mesh, slots=load.rows)
        found.append(report.decode_seconds + report.host_seconds)
    return found[1:]


def train(cfg: ModelConfig, load: Load) -> list[float]:
    """Seconds of each repeat."""
    rows = np.asarray(speed_load.token_rows(load.train_rows, load.train_tokens, cfg.vocab), np.int32)[None]
    weights = np.full(rows.shape, 1 / (load.train_rows * (load.train_tokens - 1)), np.float32)
    weights[..., -1] = 0.0
    positions = np.broadcast_to(np.arange(load.train_tokens, dtype=np.int32), rows.shape)
    targets = np.concatenate([rows[..., 1:], np.zeros_like(rows[..., :1])], axis=-1)
    batch = jax.device_put(Batch(rows, targets, positions, np.ones_like(rows), weights))
    optimizer = optim.make(OptimConfig(learning_rate=speed_load.LEARNING_RATE, clip_norm=speed_load.CLIP_NORM), 10)
    step = make_step(lambda params, one: routing.supervised_loss(cfg, params, one), optimizer,
                     after_update=routing.after_update(cfg))
    state, count, found = init_state(parameters(cfg, "float32"), optimizer), np.int32(1), []
    for _ in range(load.repeats + 1):
        def once():
            nonlocal state
            state, _ = step(state, batch, count)
            jax.block_until_ready(state)

        found.append(speed_load.seconds(once))
    return found[1:]


def main() -> None:
    """Measures one phase and prints the worker's line."""
    folder, load, phase = speed_load.arguments()
    enable_compilation_cache(Path(folder) / "xla-cache")
    cfg = dataclasses.replace(read_config(folder, load.dtype).config, remat="full" if load.remat else "none")
    measured = {"prefill": prefill, "decode": decode, "train": train}[phase](cfg, load)
    device = jax.devices()[0]
    peak = (device.memory_stats() or {}).get("peak_bytes_in_use")
    speed_load.emit("r1jax", measured, versions={"r1jax": __version__, "jax": jax.__version__},
                    device=device.device_kind, parameters=spec.count(cfg), peak_bytes=peak)


if __name__ == "__main__":
    main()
