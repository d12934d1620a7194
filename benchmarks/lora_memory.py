"""What an update holds in memory, by the compiler's own account; nothing is run and no weights are needed.

    python benchmarks/lora_memory.py --model qwen2_5_1_5b --tokens 1024

Compared: all weights; adapters whose product is added to the weights within the loss (`merge`); and adapters as they
are trained here, which are never added (models/lora.py). One row of tokens, adamw, float32: on a CPU the
compiler keeps float32 copies of bfloat16 matrices, which an accelerator does not.
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp

from r1jax.core.settings import LoRA, OptimConfig
from r1jax.core.types import Batch
from r1jax.losses.lm import next_token_loss
from r1jax.models import lora, presets, spec
from r1jax.stages.context import logp_fn
from r1jax.train import optim
from r1jax.train.step import init_state, make_step

WAYS = ("all weights", "merged in the loss", "adapters")


def compiled(way: str, model: str, rank: int, tokens: int):
    """The compiler's account of an update."""
    cfg, settings, optimizer = getattr(presets, model)(dtype="float32"), LoRA(rank), optim.make(OptimConfig(), 1)
    logp = logp_fn(cfg, 1.0)

    def whole(params, batch):
        return next_token_loss(logp(params, batch)[0], batch.weights)

    loss, tree, frozen = whole, spec.specs(cfg), ()
    if way != "all weights":
        joined = lora.attach if way == "adapters" else lora.merge
        loss, tree = lambda params, batch, base: whole(joined(base, params, settings), batch), lora.specs(cfg, settings)
        frozen = (jax.eval_shape(lambda p: lora.freeze(cfg, p), spec.abstract(cfg)),)
    state = jax.eval_shape(lambda p: init_state(p, optimizer), spec.tree_abstract(tree))
    ids, weights = (jax.ShapeDtypeStruct((1, 1, tokens), kind) for kind in (jnp.int32, jnp.float32))
    step = make_step(loss, optimizer)
    return step.lower(state, Batch(ids, ids, ids, ids, weights), jax.ShapeDtypeStruct((), jnp.int32),
                      *frozen).compile().memory_analysis()


def main() -> None:
    """Prints one line a way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="qwen2_5_1_5b", help="a function of r1jax/models/presets.py")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=1024)
    options = parser.parse_args()
    for way in WAYS:
        found = compiled(way, options.model, options.rank, options.tokens)
        print(f"{way:20} weights and state {found.argument_size_in_bytes / 1e9:6.2f} GB   "
              f"temporaries {found.temp_size_in_bytes / 1e9:6.2f} GB", flush=True)


if __name__ == "__main__":
    main()
