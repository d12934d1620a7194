"""DeepSeek-V3 in every experiment file of the teacher's graph: 671.03 billion parameters, and the programs of an engine
(weights as decoding reads them, prefill, insertion, a round, a longer cache) by shape evaluation on abstract meshes.

Updates by shape evaluation: test_experiments.py, test_recipe_experiments.py, test_reward_experiments.py.
"""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType

from r1jax.core import mesh as meshes
from r1jax.core.config import load
from r1jax.models import incremental, spec
from r1jax.models.presets import deepseek_v3
from r1jax.sampler import decode
from r1jax.sampler.programs import programs
from r1jax.sampler.sampling import Sampling
from r1jax.stages import examination

FOLDER = Path(__file__).resolve().parent.parent / "experiments"
POLICIES = ("r1_zero", "cold_start_data", "cold_start", "reasoning_rl", "rejection_data", "rejection_sft",
            "preferences", "safety_labels", "final_rl")
HEADS, NO_MODEL = ("reward_models", "safety_model"), ("general_data",)  # general data come from an endpoint alone


def paper(name):
    return load(f"{FOLDER / name}.py:paper")


def abstract_mesh(config):
    """The experiment's mesh over as few devices as it allows."""
    sizes = [max(getattr(config, axis), 1) for axis in meshes.AXES]
    return AbstractMesh(tuple(sizes), meshes.AXES, axis_types=(AxisType.Auto,) * len(sizes))


def test_the_files_are_those_of_the_graph_that_have_the_teacher():
    of_the_recipe = {name for name in (path.stem for path in FOLDER.glob("*.py")) if name not in (
        "recipe", "base", "chat", "chat_data", "student_qwen", "student_llama", "distill_qwen", "distill_llama")}
    assert of_the_recipe == {*POLICIES, *HEADS, *NO_MODEL}


@pytest.mark.parametrize("name", [*POLICIES, *HEADS, *NO_MODEL])
def test_the_model_is_deepseek_v3_declared_in_seconds(name):
    experiment = paper(name)
    heads = ("reward",) if name in HEADS else ()
    assert experiment.model == deepseek_v3(heads_out=heads) and experiment.tokenizer == "base/tokenizer.json"
    mesh, began = abstract_mesh(experiment.mesh), time.perf_counter()
    tree = spec.abstract(experiment.model, mesh)
    assert time.perf_counter() - began < 10
    parameters = sum(x.size for x in jax.tree.leaves(tree))
    assert parameters == spec.count(experiment.model) == 671_026_419_200 + 7168 * len(heads)
    if name in NO_MODEL:
        return
    assert mesh.size == 512
    experts, width = mesh.shape["expert"], mesh.shape["tensor"]
    assert tree["layers"]["gate"].sharding.shard_shape((58, 256, 7168, 2048)) == (58, 256 // experts, 7168,
                                                                                 2048 // width)
    assert tree["layers"]["o"].sharding.shard_shape((58, 128, 128, 7168)) == (58, 128 // width, 128, 7168 // experts)


def sizes(experiment):
    """(rows decoded together, prompts prefilled together, tokens of the longest prompt, of the longest response)."""
    if experiment.rl:
        rl = experiment.rl
        return rl.slots, rl.slots // rl.group_size, rl.max_prompt_tokens, max(n for _, n in rl.max_new_tokens)
    if experiment.collect:
        config = experiment.collect
        return config.slots, config.slots // config.samples, config.max_prompt_tokens, config.max_new_tokens
    config = experiment.evaluation
    return examination.SLOTS, examination.SLOTS // config.samples, 2048, config.max_new_tokens


@pytest.mark.parametrize("name", [*POLICIES, "distill_qwen", "distill_llama", "ablations/small_model_rl"])
def test_shapes_of_prefill_and_decode(name):
    experiment = paper(name)
    cfg, mesh = experiment.model, abstract_mesh(experiment.mesh)
    rows, prompts, asked, answered = sizes(experiment)
    assert rows % meshes.batch_shards(mesh) == 0
    engine = programs(cfg, Sampling(0), mesh, incremental.unrolls(cfg))
    integers, longest = (lambda *shape: jax.ShapeDtypeStruct(shape, jnp.int32)), asked + answered + decode.ROUND
    params = spec.abstract(cfg, mesh)
    with jax.sharding.use_abstract_mesh(mesh):
        prepared = jax.eval_shape(engine.prepare, params)
        held = jax.eval_shape(engine.prefill, params, integers(prompts, asked), integers(prompts))
        state = jax.eval_shape(lambda: engine.empty(rows, asked + decode.ROUND))
        state = jax.eval_shape(engine.insert, state, held, integers(6, rows))
        state = jax.eval_shape(lambda s, r: engine.resize(s, r, longest), state, integers(rows))
        key = jax.eval_shape(lambda: jax.random.key(0))
        after, sampled = jax.eval_shape(engine.run, prepared, key, state, integers())
    heads, keys, values = (1, 64, 512) if cfg.mla else (8, 128, 128)
    assert held.k.shape == (cfg.layers, prompts, heads, keys, asked)
    assert after.kv.k.shape == (cfg.layers, rows, heads, keys, longest)
    assert (after.kv.v.shape, after.kv.v.dtype) == ((cfg.layers, rows, heads, longest, values), jnp.bfloat16)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert sampled.tokens.shape == sampled.logp.shape == (rows, decode.ROUND)
