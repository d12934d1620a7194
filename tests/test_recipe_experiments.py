"""The recipe's experiment files at small and paper scale: the paper's values and mixtures, and shapes."""

import dataclasses
import functools
import itertools
import json
from pathlib import Path
from runpy import run_path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractMesh, AxisType

from r1jax.core import mesh as meshes
from r1jax.core.config import load
from r1jax.core.errors import ConfigError
from r1jax.core.recipe import load_any
from r1jax.core.types import Batch
from r1jax.losses.corrections import truncated_weight
from r1jax.losses.policy import r1
from r1jax.models import presets, spec
from r1jax.stages import objective, routing, sft
from r1jax.stages.context import Context
from r1jax.stages.cost import Lengths, cost
from r1jax.stages.run import CHECKS
from r1jax.text import tokenizer
from r1jax.text.prompts import template
from r1jax.train import optim
from r1jax.train.step import init_state, make_step

FOLDER = Path(__file__).resolve().parent.parent / "experiments"
ENDPOINT = "chat.endpoint=http://localhost:8000/v1#deepseek-v3"
NAMES = {"r1_zero": "r1-zero", "cold_start_data": "cold-start-data", "cold_start": "dev1", "reasoning_rl": "dev2",
         "rejection_data": "reasoning-data", "general_data": "general-data", "rejection_sft": "dev3",
         "preferences": "preference-data", "safety_labels": "safety-data", "reward_models": "helpful-rm",
         "safety_model": "safety-rm", "final_rl": "r1", "distill_qwen": "distill-qwen",
         "distill_llama": "distill-llama"}
QWEN_ZERO = "ablations/small_model_rl"
ASKING = ("cold_start_data", "rejection_data", "general_data", "preferences", "safety_labels")
STUDENTS = [("distill_qwen", size) for size in ("1.5b", "7b", "14b", "32b")] + [
    ("distill_llama", size) for size in ("8b", "70b")]


@functools.cache
def of(name, scale="paper"):
    return load(f"{FOLDER / name}.py:{scale}", [ENDPOINT] if name in ASKING else [])


def abstract_mesh(config):
    """The experiment's mesh over as few devices as it allows."""
    sizes = [max(getattr(config, axis), 1) for axis in meshes.AXES]
    return AbstractMesh(tuple(sizes), meshes.AXES, axis_types=(AxisType.Auto,) * len(sizes))


def context_of(experiment):
    return Context(abstract_mesh(experiment.mesh), tokenizer.load("builtin:tiny"), None, {})


EVERY = [*itertools.product(NAMES, ("small", "paper")), *STUDENTS, (QWEN_ZERO, "paper")]


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_every_stage_passes_its_own_check(name, scale, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("long_chains.jsonl").write_text("".join(
        json.dumps({"question": f"{n} + 1?", "response": f"<think> {n} </think> {n + 1}"}) + "\n" for n in range(2)))
    experiment = of(name, scale)
    CHECKS[experiment.stage](experiment, context_of(experiment))
    assert (experiment.name, experiment.scale) == (NAMES.get(name, "zero-qwen"), scale)
    longest = experiment.model.max_length
    if experiment.collect:
        shown = experiment.collect.few_shot + 1
        assert shown * (experiment.collect.max_new_tokens + (experiment.collect.max_prompt_tokens or 0)) <= longest
    if experiment.sft:
        assert experiment.evaluation.max_new_tokens <= experiment.sft.row_length <= longest


@pytest.mark.parametrize(("name", "scale"), [*itertools.product(ASKING, ("small", "paper"))])
def test_a_chat_model_is_asked_for_where_one_is_needed(name, scale):
    experiment = load(f"{FOLDER / name}.py:{scale}")
    assert experiment.chat.endpoint == ""
    with pytest.raises(ConfigError, match=r"needs one chat model and has none: set chat.endpoint=http://HOST/v1#MODEL"):
        CHECKS[experiment.stage](experiment, context_of(experiment))
    assert f"--set {ENDPOINT}" in (FOLDER / f"{name}.py").read_text()


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_everything_from_dev1_on_speaks_r1s_form(name, scale):
    experiment = of(name, scale)
    assert experiment.data.prompt == ("r1_zero" if name in ("r1_zero", "cold_start_data", QWEN_ZERO) else "r1")
    assert template(experiment.data.prompt).suffix == ""


# The paper's values: arXiv 2501.12948v2; the section stands with each row.

RL = [
    (lambda e: e.optim.learning_rate, 3e-6, "3.2.1"),
    (lambda e: e.rl.loss.beta, 0.001, "3.2.1"),
    (lambda e: e.rl.loss.surrogate.keywords, {"low": 10.0, "high": 10.0}, "3.2.1"),
    (lambda e: e.rl.group_size, 16, "3.2.1"),
    (lambda e: e.rl.questions // e.rl.minibatches, 32, "3.2.1: unique questions a step"),
    (lambda e: e.rl.questions * e.rl.group_size, 8192, "2.1: outputs of a rollout"),
    (lambda e: e.rl.minibatches, 16, "2.1"),
    (lambda e: e.rl.max_new_tokens, ((0, 32_768),), "3.2.1"),
    (lambda e: e.rl.reference_every, 400, "3.2.1"),
]
SFT = [
    (lambda e: e.optim.schedule, "cosine", "B.4.2, B.4.3"),
    (lambda e: e.optim.final_fraction, 0.1, "B.4.2: 5e-5 to 5e-6; B.4.3: to a tenth"),
    (lambda e: e.sft.row_length, 32_768, "B.4.2, B.4.3"),
    (lambda e: 2 <= e.sft.epochs <= 3, True, "B.4.2, B.4.3"),
]
MIXTURE = {"math": 395_285, "code": 211_129, "stem": 10_124, "logic": 10_395, "general": 177_812}  # table 5


def by_row(numbers):
    """Numbers by domain as table 5 has them: of STEM, "stem" are the questions with a rule, "open" those without."""
    found = dict(numbers)
    return found | {"stem": found["stem"] + found.pop("open")}


TABLE = [
    *((name, *row) for name in ("reasoning_rl", "final_rl") for row in RL),
    *((name, *row) for name in ("cold_start", "rejection_sft", "distill_qwen", "distill_llama") for row in SFT),
    ("reasoning_rl", lambda e: e.rl.temperature, 1.0, "3.2.1"),
    ("reasoning_rl", lambda e: {name: w for name, w in e.rl.rewards if w}, {"accuracy": 1.0, "language": 1.0}, "3.2.1"),
    ("reasoning_rl", lambda e: e.rl.last_part, None, "3.2.1"),
    ("reasoning_rl", lambda e: dict(e.data.mixture), {"dapo_math_17k": 26, "taco": 17, "supergpqa": 22, "logic": 15},
     "table 4: thousands of prompts"),
    ("final_rl", lambda e: e.rl.temperature, 0.7, "3.2.2"),
    ("final_rl", lambda e: 0 <= 1700 - e.rl.steps < e.rl.minibatches, True, "3.2.2: 1,700 steps, in whole rollouts"),
    ("final_rl", lambda e: e.rl.last_part.steps, 400, "3.2.2"),
    ("final_rl", lambda e: dict(e.rl.rewards), {"rule": 1.0, "summary": 1.0, "language": 1.0}, "3.2.2"),
    ("final_rl", lambda e: dict(e.rl.last_part.rewards),
     {"rule": 1.0, "preference": 1.0, "summary": 1.0, "language": 1.0}, "equations 8 to 10"),
    ("final_rl", lambda e: {name.partition("=")[0]: share for name, share in e.rl.last_part.mixture},
     {"dapo_math_17k": 26, "taco": 17, "supergpqa": 22, "logic": 15, "helpful": 66, "harmless": 12},
     "table 4 and its text: 66K general prompts, 12,000 for harmlessness"),
    ("cold_start_data", lambda e: e.collect.temperature, 1.0, "B.3.2"),
    ("cold_start_data", lambda e: (e.collect.samples > 1, e.collect.refine), (True, True), "B.3.2: several"),
    ("cold_start_data", lambda e: 2000 <= e.collect.questions * e.collect.keep < 100_000, True, "B.3.2: thousands"),
    ("cold_start", lambda e: (e.optim.learning_rate, e.sft.batch), (5e-5, 128), "B.4.2"),
    ("rejection_sft", lambda e: (e.optim.learning_rate, e.sft.batch), (5e-5, 128), "B.4.2"),
    ("rejection_sft", lambda e: e.sft.epochs, 2, "version 1, section 2.3.3"),
    ("rejection_sft", lambda e: by_row(e.sft.samples), MIXTURE, "table 5"),
    ("rejection_sft", lambda e: sum(n for _, n in e.sft.samples), 804_745, "table 5"),
    ("rejection_data", lambda e: by_row(e.collect.targets), {k: v for k, v in MIXTURE.items() if k != "general"}, "5"),
    ("rejection_data", lambda e: (e.collect.judged, e.chat.endpoint != ""), (("open",), True), "B.3.3: a judge, too"),
    ("rejection_data", lambda e: (e.collect.samples > 1, e.collect.filters.code_blocks), (True, False), "B.3.3"),
    ("rejection_data", lambda e: e.collect.filters.language > 0.5 and e.collect.filters.paragraph > 0, True, "B.3.3"),
    ("general_data", lambda e: dict(e.collect.targets), {"general": 177_812}, "table 5"),
    *((QWEN_ZERO, value, published, "B.4.1, F.1") for value, published in (
        (lambda e: e.optim.learning_rate, 2e-6), (lambda e: e.rl.loss.beta, 0.001), (lambda e: e.rl.group_size, 16),
        (lambda e: e.rl.questions // e.rl.minibatches, 32), (lambda e: e.rl.questions * e.rl.group_size, 8192),
        (lambda e: e.rl.temperature, 1.0), (lambda e: e.rl.max_new_tokens, ((0, 32_768),)),
        (lambda e: e.rl.reference_every, 400), (lambda e: e.rl.steps > 10_000, True),
        (lambda e: {name for name, _ in e.data.mixture}, {"dapo_math_17k", "taco", "supergpqa"}),  # maths, code, STEM
        (lambda e: spec.count(e.model), 32_763_876_352), (lambda e: e.rl.rewards, (("accuracy", 1.0), ("format", 1.0))),
        (lambda e: (e.name, e.parents), ("zero-qwen", (("weights", "qwen2.5-32b@imported"),))))),
]


@pytest.mark.parametrize(("name", "value", "published", "section"), TABLE,
                         ids=[f"{row[0]}-{i}" for i, row in enumerate(TABLE)])
def test_the_papers_values(name, value, published, section):
    assert value(of(name)) == published, section


@pytest.mark.parametrize("name", ["reasoning_rl", "final_rl"])
def test_the_objective_is_the_papers_with_weights_for_bfloat16(name):
    loss = of(name).rl.loss
    assert dataclasses.replace(loss, correction=None) == r1
    assert loss.correction.func is truncated_weight and loss.correction.keywords == {"cap": 2.0}


@pytest.mark.parametrize(("name", "size", "base", "parameters", "learning_rate"), [  # version 2, section B.4.3
    ("distill_qwen", "1.5b", "qwen2.5-math-1.5b", 1_543_714_304, 1e-4),
    ("distill_qwen", "7b", "qwen2.5-math-7b", 7_615_616_512, 8e-5),
    ("distill_qwen", "14b", "qwen2.5-14b", 14_770_033_664, 7e-5),
    ("distill_qwen", "32b", "qwen2.5-32b", 32_763_876_352, 6e-5),
    ("distill_llama", "8b", "llama-3.1-8b", 8_030_261_248, 5e-5),
    ("distill_llama", "70b", "llama-3.3-70b-instruct", 70_553_706_496, 2e-5),
])
def test_the_papers_students(name, size, base, parameters, learning_rate):
    student = of(name, size)
    assert student.parents == (("weights", f"{base}@imported"), ("data", "reasoning-data@paper"),
                               ("data", "general-data@paper"))
    assert spec.count(student.model) == parameters and student.model.max_length == 131_072
    assert (student.optim.learning_rate, student.sft.batch, student.optim.final_fraction) == (learning_rate, 64, 0.1)
    assert student.sft.samples == of("rejection_sft").sft.samples and student.sft.row_length == 32_768
    assert f"    {size.ljust(4)}" in (FOLDER / f"{name}.py").read_text()  # its row of the paper's results


@pytest.mark.parametrize(("name", "size"), [("distill_qwen", "32b"), ("distill_llama", "70b")])
def test_the_recipes_student_is_the_largest_of_its_family(name, size):
    largest, own = of(name, size), of(name)
    assert own == dataclasses.replace(largest, scale="paper", parents=own.parents)
    assert own.parents == (largest.parents[0], ("data", "reasoning-data"), ("data", "general-data"))


def test_questions_are_asked_in_such_numbers_that_the_targets_can_be_met():
    collect, mixture = of("rejection_data").collect, dict(of("rejection_data").data.mixture)
    asked = {"math": mixture["big_math"], "code": mixture["taco"] + mixture["codeforces"],
             "stem": mixture["supergpqa"], "open": mixture["open=open.jsonl"], "logic": mixture["logic"]}
    scale = collect.questions / sum(mixture.values())
    assert all(share * scale * collect.keep > target for (name, share), (other, target) in zip(
        asked.items(), collect.targets, strict=True) if name == other) and [*asked] == [n for n, _ in collect.targets]


def test_the_small_llama_is_the_published_one():
    assert spec.count(of("distill_llama", "small").model) == 1_235_814_400  # Llama-3.2-1B
    assert of("distill_qwen", "small").model == presets.qwen2_5_math_1_5b(max_length=131_072)


# What it takes, as the files say it.


def test_the_graph_at_paper_scale():
    recipe = load_any(f"{FOLDER / 'recipe.py'}:paper", [ENDPOINT])
    files = run_path(str(FOLDER / "recipe.py"))["FILES"]
    assert files["paper"] == files["small"] == tuple(NAMES) and recipe.names == tuple(NAMES.values())
    records, found = {}, {}
    for experiment in recipe.experiments:
        found[experiment.name] = cost(experiment, Lengths(160, 5400), records)
        records[experiment.name] = found[experiment.name].records
    assert not any(row.unknown for row in found.values())
    assert (records["reasoning-data"], records["general-data"], records["cold-start-data"]) == (
        626_933, 177_812, 12_000)
    # version 2, section B.4.3: 804,745 / 64 = 12,574.1 updates an epoch, rounded up, and half as many of 128
    assert (found["distill-qwen"].updates, found["dev3"].updates, found["dev1"].updates) == (2 * 12_575, 2 * 6_288, 188)
    assert found["dev2"].sampled.sequences == 150 * 8192 and found["r1"].sampled.sequences == 106 * 8192
    told = (FOLDER / "recipe.py").read_text()
    assert "1.38e11 tokens and 3.2e22 operations" in told
    assert sum(row.tokens for row in found.values()) == pytest.approx(1.38e11, rel=0.005)
    assert sum(row.flops for row in found.values()) == pytest.approx(3.2e22, rel=0.02)


# Shapes, on meshes of devices that nobody has.


def after_update(experiment, loss, rows, steps=1):
    """(state, state after an update, metrics) by shape evaluation on a batch of four micro-batches."""
    mesh, optimizer = abstract_mesh(experiment.mesh), optim.make(experiment.optim, steps)
    state = jax.eval_shape(lambda p: init_state(p, optimizer), spec.abstract(experiment.model, mesh))
    integers, floats = (jax.ShapeDtypeStruct((4, *rows), kind) for kind in (jnp.int32, jnp.float32))
    batch = Batch(integers, integers, integers, integers, floats, floats, floats, floats, floats)
    with jax.sharding.use_abstract_mesh(mesh):
        after, metrics = jax.eval_shape(make_step(loss, optimizer, None, routing.after_update(experiment.model)), state,
                                        batch, jax.ShapeDtypeStruct((), jnp.int32))
    return state, after, metrics


def shapes(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


@pytest.mark.parametrize(("name", "scale"), [("reasoning_rl", "paper"), ("final_rl", "paper"), ("final_rl", "small"),
                                             (QWEN_ZERO, "paper")])
def test_shapes_of_a_policy_update(name, scale):
    experiment = of(name, scale)
    rl = experiment.rl
    state, after, metrics = after_update(experiment, objective.make_loss(experiment),
                                         (rl.rows_per_micro_batch, rl.row_length), rl.steps)
    assert shapes(after) == shapes(state) and {"train/loss", "train/kl", "train/clip_fraction"} <= set(metrics)


@pytest.mark.parametrize(("name", "scale"), [("cold_start", "paper"), ("rejection_sft", "paper"), *STUDENTS,
                                             ("distill_llama", "small")])
def test_shapes_of_a_fine_tuning_update(name, scale):
    experiment = of(name, scale)
    loss, frozen = sft.objective_of(experiment, context_of(experiment))
    rows = (experiment.sft.rows_per_micro_batch, experiment.sft.row_length)
    state, after, metrics = after_update(experiment, loss, rows)
    assert frozen == () and shapes(after) == shapes(state) and "train/loss" in metrics
