"""The experiment files of reward models and of their data: the paper's values, and shapes at scales not run here."""

import functools
import itertools
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType

from r1jax.core import mesh as meshes
from r1jax.core.config import load
from r1jax.models import spec
from r1jax.stages import preferences, reward_data, reward_model, routing
from r1jax.stages.context import Context
from r1jax.text import tokenizer
from r1jax.train import optim
from r1jax.train.step import init_state, make_step

FOLDER = Path(__file__).resolve().parent.parent / "experiments"
MODELS, DATA = ("reward_models", "safety_model"), ("preferences", "safety_labels")
SCALES = ("tiny", "small", "paper")
ENDPOINT = "chat.endpoint=http://localhost:8000/v1#deepseek-v3"
of = functools.cache(lambda name, scale: load(f"{FOLDER / name}.py:{scale}",
                                              [ENDPOINT] if name in DATA and scale != "tiny" else []))


def abstract_mesh(config):
    """The experiment's mesh over as few devices as it allows."""
    sizes = [max(getattr(config, axis), 1) for axis in meshes.AXES]
    return AbstractMesh(tuple(sizes), meshes.AXES, axis_types=(AxisType.Auto,) * len(sizes))


def test_names_and_parents_are_those_of_the_graph():
    assert [of(name, "tiny").name for name in (*DATA, *MODELS)] == ["preference-data", "safety-data", "helpful-rm",
                                                                   "safety-rm"]
    for scale, (made, read) in itertools.product(SCALES, zip(DATA, MODELS, strict=True)):
        assert of(read, scale).parents == (("weights", "dev3"), ("data", of(made, scale).name))
        assert of(made, scale).parents[0] == ("policy", "dev3")


@pytest.mark.parametrize(("value", "published"), [
    (lambda e: e.optim.learning_rate, 6e-6),
    (lambda e: e.reward_model.batch, 256),
    (lambda e: e.reward_model.epochs, 1),
    (lambda e: e.reward_model.row_length, 8192),
    (lambda e: e.model.heads_out, ("reward",)),
])
@pytest.mark.parametrize("name", MODELS)
def test_the_papers_values_of_both_models(name, value, published):
    assert value(of(name, "paper")) == published


@pytest.mark.parametrize("scale", SCALES)
def test_the_helpful_model_compares_summaries_and_the_safety_model_labels_whole_responses(scale):
    helpful, safety = (of(name, scale).reward_model for name in MODELS)
    assert (helpful.kind, helpful.part, helpful.sets) == ("pairs", "summary", ("helpful",))
    assert (safety.kind, safety.part, safety.sets) == ("labels", "response", ("harmless",))


def test_the_papers_values_of_the_data():
    pairs, labels = (of(name, "paper") for name in DATA)
    assert (pairs.pairs.votes, pairs.pairs.least_difference, pairs.pairs.labels) == (4, 1.0, "preferences")
    assert pairs.collect.targets == (("general", 66_000),)
    assert pairs.collect.questions * pairs.collect.keep == 3 * 66_000  # votes that tie and repeated pairs take some
    assert labels.pairs.labels == "safety" and labels.collect.questions == 106_000
    longest = labels.collect.max_prompt_tokens + labels.collect.max_new_tokens
    assert longest == of("safety_model", "paper").reward_model.row_length


@pytest.mark.parametrize(("name", "scale"), [*itertools.product((*MODELS, *DATA), SCALES)])
def test_settings_pass_the_stages_own_check(name, scale):
    experiment = of(name, scale)
    context = Context(abstract_mesh(experiment.mesh), tokenizer.load("builtin:tiny"), None, {})
    (reward_model if name in MODELS else preferences).check(experiment, context)


@pytest.mark.parametrize(("name", "scale"), [*itertools.product(MODELS, ("small", "paper"))])
def test_shapes_of_an_update(name, scale):
    experiment = of(name, scale)
    config, mesh = experiment.reward_model, abstract_mesh(experiment.mesh)
    optimizer = optim.make(experiment.optim, 1)
    state = jax.eval_shape(lambda p: init_state(p, optimizer), spec.abstract(experiment.model, mesh))
    rows = jax.ShapeDtypeStruct((2, config.rows_per_micro_batch, config.row_length), jnp.int32)
    ends = jax.ShapeDtypeStruct((2, len(reward_data.FIELDS[config.kind]), config.batch), jnp.int32)
    labels = jax.ShapeDtypeStruct((2, config.batch), jnp.float32)
    batch = reward_data.JudgedBatch(rows, rows, rows, ends, labels, labels)
    with jax.sharding.use_abstract_mesh(mesh):
        step = make_step(reward_model.make_loss(experiment), optimizer, None, routing.after_update(experiment.model))
        after, metrics = jax.eval_shape(step, state, batch, jax.ShapeDtypeStruct((), jnp.int32))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert after.params["reward_head"].shape == (experiment.model.width,)
    assert {"train/loss", "train/accuracy", "train/grad_norm"} <= set(metrics)
