"""r1jax's GRPO step, of the parts that r1jax/stages/rl.py runs: rollout, advantages, packing, one update.

Configuration: float32, 64 slots, the loss of stages/rl.py with beta 0 and the sampler's log-probabilities as the old
ones (no pass for them, as in the peers), packed rows, no rematerialisation, rewards scored while the engine decodes.

Generation: `r1jax.sampler.rollout.rollout`. Training: packing, transfer and update until the new weights are there.
Whole step: both, and the advantages between them. The line also has the machine's matrix rate and the operations
of each phase (r1jax/models/flops.py).
"""

from __future__ import annotations

import dataclasses
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
import workload

from r1jax import __version__
from r1jax.core.cache import enable_compilation_cache
from r1jax.core.config import Experiment
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig, OptimConfig, RLConfig
from r1jax.losses.policy import grpo
from r1jax.models import flops, spec
from r1jax.models.config import ModelConfig
from r1jax.sampler.batcher import Slots
from r1jax.sampler.rollout import rollout
from r1jax.sampler.sampling import Sampling
from r1jax.stages import objective, rl
from r1jax.stages.context import Context, put_batch, put_whole, start_state
from r1jax.train import batches, optim
from r1jax.train.step import make_step

SAMPLES = workload.PROMPTS * workload.GROUP
ROWS = int(os.environ.get("R1JAX_ROWS", "4"))  # packed rows a micro-batch
LOSS = dataclasses.replace(grpo, beta=0.0)


def model_config(model: workload.Model) -> ModelConfig:
    """r1jax's configuration of an architecture."""
    return ModelConfig(vocab=model.vocab, layers=model.layers, width=model.width, heads=model.heads,
                       kv_heads=model.kv_heads, head_dim=model.head_dim, ffn=model.ffn, rope_theta=model.rope_theta,
                       norm_eps=model.norm_eps, qkv_bias=True, tie_embeddings=True, max_length=model.max_length)


def load_params(cfg: ModelConfig, path) -> dict:
    """The shared weights by r1jax's names: layers stacked, heads apart, inputs before outputs."""
    file = safetensors.numpy.load_file(path / "model.safetensors")
    shapes = {"q": (cfg.heads, cfg.head_dim), "k": (cfg.kv_heads, cfg.head_dim), "v": (cfg.kv_heads, cfg.head_dim)}

    def stacked(name, shape=None):
        every = [file[f"model.layers.{i}.{name}"] for i in range(cfg.layers)]
        return np.stack([x if shape is None else x.T.reshape(shape) for x in every])

    layers = {"attn_norm": stacked("input_layernorm.weight"), "mlp_norm": stacked("post_attention_layernorm.weight"),
              "o": stacked("self_attn.o_proj.weight", (cfg.heads, cfg.head_dim, cfg.width)),
              "gate": stacked("mlp.gate_proj.weight", (cfg.width, cfg.ffn)),
              "up": stacked("mlp.up_proj.weight", (cfg.width, cfg.ffn)),
              "down": stacked("mlp.down_proj.weight", (cfg.ffn, cfg.width))}
    for name, shape in shapes.items():
        layers[name] = stacked(f"self_attn.{name}_proj.weight", (cfg.width, *shape))
        layers[f"{name}_bias"] = stacked(f"self_attn.{name}_proj.bias", shape)
    return jax.tree.map(jnp.asarray, {"embed": file["model.embed_tokens.weight"], "layers": layers,
                                      "final_norm": file["model.norm.weight"]})


def matrix_rate(size: int = 2048, times: int = 11) -> float:
    """Operations a second of a float32 product of two square matrices; the median of `times`."""
    multiply = jax.jit(jnp.matmul)
    a, b = (jax.random.normal(jax.random.key(i), (size, size), jnp.float32) for i in range(2))
    multiply(a, b).block_until_ready()
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        multiply(a, b).block_until_ready()
        seconds.append(time.perf_counter() - began)
    return 2 * size**3 / float(np.median(seconds))


def make_experiment(args, cfg: ModelConfig, load: workload.Load) -> Experiment:
    """The settings of an RL stage that hold for this load."""
    return Experiment(
        name="benchmark", scale="tiny", stage=rl.run, model=cfg, seed=args.seed,
        optim=OptimConfig(learning_rate=workload.LEARNING_RATE, b1=workload.ADAM["b1"], b2=workload.ADAM["b2"],
                          clip_norm=workload.CLIP_NORM),
        rl=RLConfig(steps=workload.WARMUP + args.steps, questions=workload.PROMPTS, group_size=workload.GROUP,
                    minibatches=1, loss=LOSS, rewards=(), max_new_tokens=((0, load.max_new_tokens),),
                    max_prompt_tokens=workload.PROMPT_TOKENS, old_logp="sampler", slots=SAMPLES,
                    row_length=workload.PROMPT_TOKENS + load.max_new_tokens, rows_per_micro_batch=ROWS))


def pack(experiment: Experiment, prompts, out, rewards: np.ndarray, budget: int):
    """The batch of one update, the number of its micro-batches and its padding share, as stages/rl.py makes them."""
    valid = np.ones(SAMPLES, bool)
    grouped = jnp.asarray(rewards.reshape(workload.PROMPTS, workload.GROUP))
    advantage = np.asarray(LOSS.advantage(grouped, jnp.ones_like(grouped, bool))).reshape(-1)
    weights = np.asarray(LOSS.aggregate(jnp.asarray(out.lengths), jnp.asarray(valid), max_new_tokens=budget))
    packed = batches.policy(
        [prompts[i // workload.GROUP] for i in range(SAMPLES)], [out.tokens[i, :n] for i, n in enumerate(out.lengths)],
        advantage=advantage, weights=weights, sampler_logp=[out.sampler_logp[i, :n] for i, n in enumerate(out.lengths)],
        row_length=experiment.rl.row_length)
    return batches.stack(packed, experiment.rl.rows_per_micro_batch, rl.smallest_stack(experiment, SAMPLES))


def main() -> None:
    """Runs the steps and prints the worker's line."""
    args = workload.arguments()
    enable_compilation_cache(args.folder / "xla-cache")
    model, load = workload.MODELS[args.model], workload.LOADS[args.load]
    cfg = model_config(model)
    experiment, sampling = make_experiment(args, cfg, load), Sampling(workload.stop_ids(model, load))
    context = Context(make_mesh(MeshConfig()), tokenizer=None, store=None, parents={})
    optimizer = optim.make(experiment.optim, experiment.rl.steps)
    params = load_params(cfg, workload.checkpoint(args.model, args.folder))
    state, _, where = start_state(experiment, context, optimizer, params)
    step_fn = make_step(objective.make_loss(experiment), optimizer, where)
    prompts, key = workload.prompts(model), jax.random.key(args.seed)
    engine = Slots(cfg, sampling, state.params, key, mesh=context.mesh, slots=SAMPLES,
                   max_prompt_tokens=workload.PROMPT_TOKENS, max_new_tokens=load.max_new_tokens)
    for prompt in prompts:
        engine.submit(prompt, workload.GROUP)
    engine.warm_up()
    steps, phases, rewards = [], [], np.zeros(SAMPLES, np.float32)

    def score(request, ids, finished) -> None:
        rewards[request] = workload.reward(ids.tolist())

    for index in range(experiment.rl.steps):
        step = workload.Step()
        steps.append(step)
        with workload.clock(step, "step_seconds"):
            with workload.clock(step, "generate_seconds"):
                out, report = rollout(cfg, sampling, state.params, prompts, jax.random.fold_in(key, index),
                                      samples=workload.GROUP, max_new_tokens=load.max_new_tokens, mesh=context.mesh,
                                      slots=SAMPLES, max_prompt_tokens=workload.PROMPT_TOKENS, on_finished=score)
            with workload.clock(step, "train_seconds"):
                batch, count, padding = pack(experiment, prompts, out, rewards, load.max_new_tokens)
                batch, count = put_batch(context.mesh, batch), put_whole(context.mesh, np.int32(count))
                state, _ = rl.update(step_fn, state, batch, count, padding)
                jax.block_until_ready(state.params)
        step.count(out.lengths)
        phases.append({"prefill_seconds": report.prefill_seconds, "decode_seconds": report.decode_seconds,
                       "host_seconds": report.host_seconds, "occupancy": report.occupancy, "compiled": report.compiled,
                       "padding": padding,
                       "generation_flops": flops.generation(cfg, workload.PROMPT_TOKENS, out.lengths.tolist(),
                                                            workload.GROUP),
                       "training_flops": flops.training(cfg, workload.PROMPT_TOKENS, out.lengths.tolist())})
    workload.emit("r1jax", args, steps, versions={"r1jax": __version__, "jax": jax.__version__},
                  parameters=spec.count(cfg), threads=workload.threads(), matrix_rate=matrix_rate(),
                  phases=phases[workload.WARMUP:])


if __name__ == "__main__":
    main()
