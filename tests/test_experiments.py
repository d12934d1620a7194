"""The experiment files: every scale loads, the paper's values are there, and each scale's code path holds together."""

import dataclasses
import functools
import json
import math
from pathlib import Path
from runpy import run_path

import jax
import jax.numpy as jnp
import pytest
import tokenizers
from jax.sharding import AbstractMesh, AxisType

from r1jax.core import mesh as meshes
from r1jax.core.config import Experiment, fingerprint, load, to_dict
from r1jax.core.errors import DataError
from r1jax.core.records import Completion, Problem
from r1jax.core.settings import ADDED, EvalConfig
from r1jax.core.types import Batch
from r1jax.losses.corrections import truncated_weight
from r1jax.losses.policy import grpo
from r1jax.models import incremental, spec
from r1jax.rewards import combine
from r1jax.sampler import decode
from r1jax.sampler.sampling import Sampling
from r1jax.stages import objective, problems, rl, routing
from r1jax.stages.context import Context
from r1jax.stages.run import run_experiment
from r1jax.store import Store
from r1jax.text import tokenizer
from r1jax.text.prompts import template
from r1jax.train import optim
from r1jax.train.step import init_state, make_step, state_shardings

FOLDER = Path(__file__).resolve().parent.parent / "experiments"
R1_ZERO, BASE = FOLDER / "r1_zero.py", FOLDER / "base.py"
LENGTH_BUDGET = FOLDER / "ablations" / "length_budget.py"
RECIPES = {"recipe.py", "claims.py", "rejection_filters.py"}
FILES = sorted(p for p in FOLDER.rglob("*.py") if not p.name.startswith("_") and p.name not in RECIPES)


EVERY = [(path, scale) for path in FILES for scale in run_path(str(path))["SCALES"]]
paper = functools.cache(lambda: load(f"{R1_ZERO}:paper"))


def test_the_files_are_the_known_ones():
    assert {R1_ZERO, BASE, LENGTH_BUDGET} <= set(FILES)


@pytest.mark.parametrize(("path", "scale"), EVERY, ids=[f"{path.stem}:{scale}" for path, scale in EVERY])
def test_every_file_loads_at_every_scale(path, scale):
    experiment = load(f"{path}:{scale}")
    assert isinstance(experiment, Experiment) and experiment.scale == scale
    assert callable(experiment.stage) and len(fingerprint(experiment)) == 16
    assert fingerprint(experiment) == fingerprint(load(f"{path}:{scale}"))
    assert template(experiment.data.prompt)
    if experiment.rl:
        assert experiment.parents[0][0] == "weights"
        assert experiment.rl.steps % experiment.rl.minibatches == 0


def test_a_field_added_later_changes_no_fingerprint_until_it_is_set():
    tiny, names = load(f"{R1_ZERO}:tiny"), ("mixture", "pass_rate", "pass_rates")
    assert not set(names) & set(to_dict(tiny)["data"]) and "source" in to_dict(tiny)["data"]
    before = dataclasses.make_dataclass("Model", [("width", int, 4)], frozen=True)
    added = dataclasses.field(default=2, metadata=ADDED)
    after = dataclasses.make_dataclass("Model", [("width", int, 4), ("depth", int, added)], frozen=True)
    marks = [fingerprint(dataclasses.replace(tiny, model=model)) for model in (before(), after(), after(depth=3))]
    assert marks[0] == marks[1] != marks[2]
    changed = [dataclasses.replace(tiny, data=dataclasses.replace(tiny.data, **{name: value})) for name, value in zip(
        names, ((("gsm8k", 1.0),), (0.1, 0.9), "rates.jsonl"), strict=True)]
    assert len({fingerprint(experiment) for experiment in (tiny, *changed)}) == 4


def test_names_are_the_papers():
    assert [load(f"{path}:tiny").name for path in (BASE, R1_ZERO, LENGTH_BUDGET)] == [
        "base", "r1-zero", "length-budget"]


# The paper's values: DeepSeek-R1, version 2, section 2.1.


@pytest.mark.parametrize(("value", "published"), [
    (lambda e: e.optim.learning_rate, 3e-6),
    (lambda e: e.rl.loss.beta, 0.001),
    (lambda e: e.rl.temperature, 1.0),
    (lambda e: e.rl.group_size, 16),
    (lambda e: e.rl.questions * e.rl.group_size, 8192),  # outputs of a rollout
    (lambda e: e.rl.minibatches, 16),
    (lambda e: e.rl.questions * e.rl.group_size // e.rl.minibatches, 512),  # batch
    (lambda e: e.rl.questions // e.rl.minibatches, 32),  # unique questions a step
    (lambda e: e.rl.max_new_tokens[0], (0, 32_768)),
    (lambda e: [budget for _, budget in e.rl.max_new_tokens], [32_768, 65_536]),
    (lambda e: e.rl.reference_every, 400),
    (lambda e: e.rl.steps, 10_400),
    (lambda e: e.rl.rewards, (("accuracy", 1.0), ("format", 1.0))),  # the same weight, equation 4
    (lambda e: e.optim.name, "adamw"),
])
def test_the_papers_values(value, published):
    assert value(paper()) == published


def test_the_budget_rises_at_the_end_of_the_rollout_that_holds_step_8200():
    schedule, minibatches = paper().rl.max_new_tokens, paper().rl.minibatches
    rise = schedule[1][0]
    assert rise % minibatches == 0 and rise - minibatches < 8200 <= rise
    assert [rl.budget_at(schedule, step) for step in (0, 8191, 8192, 8208, 10_399)] == [
        32_768, 32_768, 32_768, 65_536, 65_536]


def test_the_objective_is_grpo_as_printed():
    loss = paper().rl.loss
    assert dataclasses.replace(loss, correction=None) == grpo
    assert loss.correction.func is truncated_weight and loss.correction.keywords == {"cap": 2.0}  # for bfloat16
    names = [getattr(f, "func", f).__name__ for f in (loss.advantage, loss.surrogate, loss.aggregate, loss.kl)]
    assert names == ["group_norm", "clipped_ratio", "sequence_mean", "k3"]


def test_the_template_is_table_1():
    assert template(paper().data.prompt).render("What is 1 + 1?") == (
        "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
        "The assistant first thinks about the reasoning process in the mind and then provides the user with the "
        "answer. The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, "
        "respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. "
        "User: What is 1 + 1?. Assistant:")


def test_the_length_budget_rises_in_the_middle_of_the_run():
    longer, base = load(f"{LENGTH_BUDGET}:tiny"), load(f"{R1_ZERO}:tiny")
    (start, small), (rise, large) = longer.rl.max_new_tokens
    assert start == 0 and 0 < rise < longer.rl.steps and rise % longer.rl.minibatches == 0
    assert large == base.rl.max_new_tokens[-1][1] and small <= large / 2
    assert (longer.model, longer.parents, longer.rl.rewards) == (base.model, base.parents, base.rl.rewards)


@pytest.mark.parametrize(("assignment", "value"), [
    ("seed=7", lambda e: e.seed == 7),
    ("model.layers=5", lambda e: e.model.layers == 5),
    ("data.source=gsm8k_train.jsonl", lambda e: e.data.source == "gsm8k_train.jsonl"),
    ("data.domains=(('stem', 1),)", lambda e: e.data.domains == (("stem", 1.0),)),
    ("optim.learning_rate=1e-4", lambda e: e.optim.learning_rate == 1e-4),
    ("evaluation.max_new_tokens=64", lambda e: e.evaluation.max_new_tokens == 64),
    ("mesh.tensor=2", lambda e: e.mesh.tensor == 2),
    ("rl.max_new_tokens=((0, 64), (80, 128))", lambda e: e.rl.max_new_tokens == ((0, 64), (80, 128))),
    ("tokenizer=Qwen2.5-0.5B/tokenizer.json", lambda e: e.tokenizer == "Qwen2.5-0.5B/tokenizer.json"),
    ("parents=(('weights', 'base@mine'),)", lambda e: e.parents == (("weights", "base@mine"),)),
])
def test_every_section_can_be_set(assignment, value):
    assert value(load(f"{R1_ZERO}:small", [assignment])) and not value(load(f"{R1_ZERO}:small"))


# Shapes at paper scale, on a mesh of devices that nobody has.


def abstract_mesh(config):
    """The experiment's mesh over as few devices as it allows."""
    sizes = [max(getattr(config, axis), 1) for axis in meshes.AXES]
    return AbstractMesh(tuple(sizes), meshes.AXES, axis_types=(AxisType.Auto,) * len(sizes))


def split(leaf):
    """Into how many parts an array is cut."""
    return math.prod(leaf.shape) // math.prod(leaf.sharding.shard_shape(leaf.shape))


def device_bytes(tree):
    return sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_shapes_of_parameters_update_and_decode(scale):
    experiment = load(f"{R1_ZERO}:{scale}")
    cfg, settings, mesh = experiment.model, experiment.rl, abstract_mesh(experiment.mesh)
    params = spec.abstract(cfg, mesh)
    assert spec.count(cfg) == {"small": 1_543_714_304, "paper": 671_026_419_200}[scale]  # of the published weights
    optimizer = optim.make(experiment.optim, settings.steps)
    state = jax.eval_shape(lambda p: init_state(p, optimizer), params)
    shape = (4, settings.rows_per_micro_batch, settings.row_length)
    integers, floats = (jax.ShapeDtypeStruct(shape, kind) for kind in (jnp.int32, jnp.float32))
    batch = Batch(integers, integers, integers, integers, floats, floats, floats, floats, floats)
    step = make_step(objective.make_loss(experiment), optimizer, None, routing.after_update(cfg))
    unroll = incremental.unrolls(cfg)
    prepared = jax.eval_shape(lambda p: incremental.prepare(cfg, p, unroll), params)
    rows = jax.eval_shape(lambda: decode.empty_state(cfg, settings.slots, settings.row_length, unroll))
    key = jax.eval_shape(lambda: jax.random.key(0))
    with jax.sharding.use_abstract_mesh(mesh):
        after, metrics = jax.eval_shape(step, state, batch, jax.ShapeDtypeStruct((), jnp.int32))
        decoded, _ = jax.eval_shape(functools.partial(decode.decode_round, cfg, Sampling(0)), prepared, key, rows,
                                    jax.ShapeDtypeStruct((), jnp.int32))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert {"train/loss", "train/kl", "train/entropy", "train/clip_fraction", "mismatch/max_abs"} <= set(metrics)
    assert all(value.shape == () for value in metrics.values())
    assert jax.tree.map(lambda x: x.shape, decoded) == jax.tree.map(lambda x: x.shape, rows)


def test_the_papers_state_fits_its_devices():
    experiment = paper()
    mesh = abstract_mesh(experiment.mesh)
    assert mesh.size == 512
    params = spec.abstract(experiment.model, mesh)
    whole = [math.prod(x.shape) for x in jax.tree.leaves(params) if split(x) == 1]
    assert sum(whole) < 2e-4 * spec.count(experiment.model)  # norms and little else lie whole on every device
    assert all(split(x) == 512 for x in jax.tree.leaves(params) if math.prod(x.shape) > 1_000_000_000)
    state = jax.eval_shape(lambda p: init_state(p, optim.make(experiment.optim, 1)), params)
    where = state_shardings(state, spec.shardings(experiment.model, mesh), mesh)
    placed = jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), state, where)
    # masters and Adam's two moments in float32, twelve bytes a parameter over 512 devices; but over 64 only are 58
    # routers of 7168 x 256, and 61 matrices that project down to 1536 and to 512 + 64 numbers
    routers, down = 58 * 7168 * 256, 61 * 7168 * (1536 + 576)
    held = (671_026_419_200 - routers - down) / 512 + (routers + down) / 64
    assert device_bytes(placed) == pytest.approx(12 * held, rel=0.002)
    # with the gradient, and the reference beside them: of the 95 GB of a TPU v5p
    state, reference = 16 * held, 4 * held
    latents = 512 // 64 * 67_600 * 61 * (512 + 64) * 2  # of 8 rows on each device: one latent serves the heads of all
    inputs = 61 * 67_584 * 7168 * 2  # of every layer, kept for the gradient of one row
    said = " ".join((FOLDER / "r1_zero.py").read_text().split())
    for sentence, size in (("two moments) takes {:.1f}", state), ("the reference {:.1f}", reference),
                           ("as long as they may be take {:.0f}", latents), ("67,584 tokens {:.0f}", inputs)):
        assert sentence.format(size / 1e9) in said
    assert state + reference + max(latents, inputs) < 95e9


@pytest.mark.parametrize("name", ["r1_zero", "reasoning_rl", "final_rl", "ablations/small_model_rl"])
def test_what_a_run_needs_at_paper_scale_fits_a_pod_of_v5p(name):
    experiment = load(f"{FOLDER / name}.py:paper")
    mesh = abstract_mesh(experiment.mesh)
    needed = rl.memory_needed(experiment, mesh)
    assert mesh.size == 512 and sum(needed.values()) < 512 * 95e9
    twice = dataclasses.replace(experiment, rl=dataclasses.replace(experiment.rl, slots=2 * experiment.rl.slots))
    if experiment.model.mla:  # every device of the eight that share a layer has the latents whole
        assert sum(rl.memory_needed(twice, mesh).values()) > 512 * 95e9


@pytest.mark.parametrize("scale", ["small", "paper"])
def test_settings_pass_the_stages_own_check(scale):
    experiment = load(f"{R1_ZERO}:{scale}")
    rl.check(experiment, Context(abstract_mesh(experiment.mesh), tokenizer.load("builtin:tiny"), None, {}))
    longest = experiment.rl.max_prompt_tokens + experiment.rl.max_new_tokens[-1][1]
    assert longest <= experiment.rl.row_length <= experiment.model.max_length


# The small scale's code path: Qwen's form, a tokenizer.json, mathematics from a file, graded by number.

WORDS = [f"{n}" for n in range(40)] + ["What", "is", "plus", "?", "User", "Assistant", ":", ".", "<think>",
                                       "</think>", "<answer>", "</answer>"]
MICRO = ("model.vocab=64", "model.layers=2", "model.width=16", "model.heads=4", "model.kv_heads=2", "model.head_dim=8",
         "model.ffn=32", "model.dtype=float32", "rl.questions=4", "rl.group_size=4", "rl.minibatches=2", "rl.steps=2",
         "rl.max_new_tokens=((0, 8),)", "rl.max_prompt_tokens=96", "rl.row_length=104", "rl.slots=8",
         "evaluation.problems=2", "evaluation.samples=2", "evaluation.max_new_tokens=8")


@pytest.fixture
def mathematics(tmp_path):
    """A tokenizer.json of words and a file of sums; the overrides that point the small scale at them."""
    vocabulary = {word: i for i, word in enumerate(["<unk>", "<|endoftext|>", *WORDS])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<|endoftext|>"])
    made.save(str(tmp_path / "tokenizer.json"))
    rows = [{"prompt": f"What is {a} plus {b} ?", "solution": str(a + b)} for a in range(6) for b in range(6)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [f"tokenizer={tmp_path / 'tokenizer.json'}", f"data.source={tmp_path / 'sums.jsonl'}",
            "data.question_field=prompt", "data.answer_field=solution", *MICRO]


def test_the_small_scale_runs_on_mathematics_from_a_file(mathematics, tmp_path):
    experiment = load(f"{R1_ZERO}:small", mathematics)
    assert experiment.model.qkv_bias and experiment.mesh.fsdp == -1
    with Store(tmp_path / "store").begin("qwen2.5-1.5b", "imported", fingerprint="random", config={}) as parent:
        parent.save(0, {"params": spec.init(experiment.model, jax.random.key(0))})
        parent.finish()
    artifact = run_experiment(experiment, str(tmp_path / "store"))
    assert artifact.ref == "r1-zero@small" and [r["step"] for r in artifact.metrics()] == [0, 1, 2]
    first = artifact.metrics()[1]
    assert first["mismatch/max_abs"] <= 1e-4 and math.isfinite(first["train/loss"])
    assert {"rollout/accuracy", "rollout/reward/format"} <= set(first)
    rows = artifact.samples(0, "rollouts")
    assert len(rows) == 16 and {row["domain"] for row in rows} == {"math"}
    asked = {row["question"] for row in rows}
    for row in rows:
        words = row["question"].split()
        assert int(words[2]) + int(words[4]) == int(row["answer"])
    assert len(asked) == 4
    assert not asked & {row["question"] for row in artifact.samples(0, "eval")}
    lineage = artifact.lineage()
    assert lineage["parents"][0]["ref"] == "qwen2.5-1.5b@imported"


def test_each_question_of_a_file_comes_once_an_epoch_and_held_out_ones_never(mathematics):
    experiment = load(f"{R1_ZERO}:small", mathematics)
    context = Context(None, tokenizer.load(experiment.tokenizer), None, {})
    kept = {p.id for p in problems.held_out(experiment, context)}
    pool, _ = problems._sides(experiment.data, experiment.data.source)
    draw = problems.training(experiment, context)
    drawn = [p.id for rollout in range(-(-2 * len(pool) // 4)) for p in draw(rollout)]
    epochs = drawn[:len(pool)], drawn[len(pool):2 * len(pool)]
    assert all(sorted(epoch) == sorted(p.id for p in pool) for epoch in epochs) and epochs[0] != epochs[1]
    assert not kept & set(drawn)
    assert [p.id for p in draw(1)] == drawn[4:8]


def test_questions_too_long_for_the_prompt_budget_are_named(mathematics):
    experiment = load(f"{R1_ZERO}:small", [*mathematics, "rl.max_prompt_tokens=5"])
    context = Context(None, tokenizer.load(experiment.tokenizer), None, {})
    with pytest.raises(DataError, match=r"Every prompt of .*sums.jsonl is longer than rl.max_prompt_tokens=5"):
        problems.training(experiment, context)


def test_answers_are_graded_by_number():
    asked = Problem("math/1", "math", "What is 8 plus 10 ?", "18")
    texts = ["<think> 8 plus 10 </think> <answer> 18.0 </answer>", "<think> no </think> <answer> 17 </answer>"]
    scores = combine.score(combine.resolve(paper().rl.rewards), [asked] * 2,
                           [Completion(text, "", [1], 1, False) for text in texts])
    assert scores.total.tolist() == [2.0, 1.0]


def test_evaluation_follows_the_papers_settings():
    assert (paper().evaluation.temperature, paper().evaluation.top_p) == (0.6, 0.95)
    assert paper().evaluation.max_new_tokens == 32_768 and paper().evaluation.samples >= 16
    assert EvalConfig().samples == 16
