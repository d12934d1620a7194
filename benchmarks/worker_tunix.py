"""Tunix' GRPO step: tunix.rl.grpo.GRPOLearner with its vanilla rollout engine, in JAX.

Configuration: float32, the rollout shares the trainer's weights on one mesh (nothing is copied), all samples in one
rollout batch, the cache exactly as long as prompt and budget, no rematerialisation, beta 0 and so no reference pass,
one update a rollout and so no pass for old log-probabilities, no metrics backend. The sampler's seed changes with every
step (left alone, the engine draws with the same key each time). Tunix' sequence packing stays off: its packed rows hold
one row per batch without a kernel for segments on CPU. Training is in `MICRO_BATCHES` parts.

Generation: `RLCluster.generate`, tokenisation and decoding to text included, since the engine takes and gives text.
Training: `RLCluster.update_actor` until the new weights are there. Whole step: from one rollout's start to the next's.
"""

from __future__ import annotations

import os
import time
from importlib import metadata

import jax
import numpy as np
import optax
import workload
from flax import nnx
from transformers import PreTrainedTokenizerFast
from tunix.models.qwen2 import model as qwen2
from tunix.models.qwen2 import params as qwen2_params
from tunix.rl import rl_cluster as clusters
from tunix.rl.grpo.grpo_learner import GRPOConfig, GRPOLearner
from tunix.rl.rollout.base_rollout import RolloutConfig

MICRO_BATCHES = int(os.environ.get("TUNIX_MICRO_BATCHES", "1"))
AXES = ("fsdp", "tp")  # the names that Tunix' Qwen 2 is sharded by


def load_policy(model: workload.Model, path, mesh):
    """Tunix' Qwen 2 with the shared weights."""
    config = qwen2.ModelConfig(
        num_layers=model.layers, vocab_size=model.vocab, embed_dim=model.width, hidden_dim=model.ffn,
        num_heads=model.heads, head_dim=model.head_dim, num_kv_heads=model.kv_heads, rope_theta=model.rope_theta,
        norm_eps=model.norm_eps, use_tied_embedding=True)
    return qwen2_params.create_model_from_safe_tensors(str(path), config, mesh)


def share_of_even_ids(prompts, completions, **kwargs) -> list[float]:
    """Tunix' form of workload.reward: it gives a reward function text, whose words are the ids."""
    return [workload.reward(workload.ids_of(text)) for text in completions]


def make_learner(args, model: workload.Model, load: workload.Load, path):
    """(learner, cluster) of a load."""
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:1]).reshape(1, 1), AXES)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path / "tokenizer.json"), eos_token="<end>",
                                        pad_token="<pad>")
    adam = optax.adamw(workload.LEARNING_RATE, **workload.ADAM)
    rollout = RolloutConfig(
        max_tokens_to_generate=load.max_new_tokens, max_prompt_length=workload.PROMPT_TOKENS,
        kv_cache_size=workload.PROMPT_TOKENS + load.max_new_tokens, temperature=1.0, top_p=1.0, top_k=None,
        eos_tokens=list(workload.stop_ids(model, load)))
    training = clusters.RLTrainingConfig(
        actor_optimizer=optax.chain(optax.clip_by_global_norm(workload.CLIP_NORM), adam),
        mini_batch_size=workload.PROMPTS, train_micro_batch_size=workload.PROMPTS // MICRO_BATCHES,
        rollout_micro_batch_size=workload.PROMPTS, compute_logps_micro_batch_size=workload.PROMPTS,
        eval_every_n_steps=1_000_000, max_steps=workload.WARMUP + args.steps + 1)
    roles = (clusters.Role.ACTOR, clusters.Role.REFERENCE, clusters.Role.ROLLOUT)
    cluster = clusters.RLCluster(
        actor=load_policy(model, path, mesh), tokenizer=tokenizer, cluster_config=clusters.ClusterConfig(
            role_to_mesh={role: mesh for role in roles}, rollout_engine="vanilla", training_config=training,
            rollout_config=rollout))
    config = GRPOConfig(num_generations=workload.GROUP, num_iterations=1, beta=0.0, epsilon=0.2)
    return GRPOLearner(cluster, config, share_of_even_ids), cluster


def watch(cluster, seed: int) -> list[workload.Step]:
    """Wraps the cluster's generation and update; the list grows by a Step at each rollout."""
    steps, began = [], []
    generate, update = cluster.generate, cluster.update_actor

    def close(now: float) -> None:
        if steps:
            steps[-1].step_seconds = now - began[-1]

    def timed_generate(*args, **kwargs):
        close(time.perf_counter())
        began.append(time.perf_counter())
        steps.append(workload.Step())
        cluster.cluster_config.rollout_config.seed = 1000 * seed + len(steps)
        with workload.clock(steps[-1], "generate_seconds"):
            out = generate(*args, **kwargs)
        workload.check_prompts((out.left_padded_prompt_tokens != workload.PAD).sum(axis=1).tolist())
        steps[-1].count([len(ids) for ids in out.tokens])
        return out

    def timed_update(*args, **kwargs):
        with workload.clock(steps[-1], "train_seconds"):
            update(*args, **kwargs)
            jax.block_until_ready(nnx.state(cluster.actor_trainer.model))
        close(time.perf_counter())

    cluster.generate, cluster.update_actor = timed_generate, timed_update
    return steps


def main() -> None:
    """Runs the steps and prints the worker's line."""
    args = workload.arguments()
    jax.config.update("jax_compilation_cache_dir", str(args.folder / "xla-cache"))
    model, load = workload.MODELS[args.model], workload.LOADS[args.load]
    learner, cluster = make_learner(args, model, load, workload.checkpoint(args.model, args.folder))
    steps = watch(cluster, args.seed)
    batch = {"prompts": np.array([workload.words(ids) for ids in workload.prompts(model)])}
    learner.train([batch] * (workload.WARMUP + args.steps + 1))
    parameters = sum(x.size for x in jax.tree.leaves(nnx.state(cluster.actor_trainer.model, nnx.Param)))
    versions = {name: metadata.version(name) for name in ("google-tunix", "jax", "flax")}
    workload.emit("tunix", args, steps[:-1], versions=versions, parameters=parameters, threads=workload.threads())


if __name__ == "__main__":
    main()
