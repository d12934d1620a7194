"""Loading experiment files, overrides, and what the fingerprint sees."""

import dataclasses
import functools
import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from r1jax.core.config import Experiment, fingerprint, identity, load, to_dict
from r1jax.core.errors import ConfigError
from r1jax.core.override import override
from r1jax.core.settings import ChatConfig, EvalConfig, LoRA, MeshConfig, OptimConfig, PretrainConfig, RLConfig

FILE = '''
"""An experiment."""
from r1jax.core.config import Experiment
from r1jax.core.settings import PretrainConfig

SCALES = ("tiny", "small")


def stage(experiment):
    """Does nothing."""


def get_config(scale):
    """The experiment at a scale."""
    steps = {"tiny": 3, "small": 30}[scale]
    return Experiment(name="toy", scale=scale, stage=stage, model=None,
                      pretrain=PretrainConfig(steps=steps, rows=2, row_length=8))
'''


@dataclass(frozen=True)
class Pair:
    """A record that checks itself, as models do."""

    heads: int = 4
    kv_heads: int = 2
    note: str | None = None
    inner: Any = None

    def __post_init__(self):
        if self.heads % self.kv_heads:
            raise ConfigError("heads is not a multiple of kv_heads.")


def stage(experiment):
    """A stage with a name."""


def clip(low):
    """A function that returns a closure, as the surrogates do."""

    def surrogate(ratio):
        return max(ratio, low)

    return surrogate


def weigh(factor, x):
    """For functools.partial."""
    return factor * x


def experiment(**changes) -> Experiment:
    rl = RLConfig(steps=10, questions=4, group_size=8, minibatches=2, loss=Pair(), rewards=(("accuracy", 1.0),),
                  max_new_tokens=((0, 64),), max_prompt_tokens=32)
    values = {"name": "toy", "scale": "tiny", "stage": stage, "model": Pair(), "rl": rl} | changes
    return Experiment(**values)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with experiments/toy.py in it."""
    (tmp_path / "experiments" / "ablations").mkdir(parents=True)
    (tmp_path / "experiments" / "toy.py").write_text(FILE)
    (tmp_path / "experiments" / "ablations" / "other.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("spec", "scale", "steps"), [
    ("experiments/toy.py", "tiny", 3),
    ("experiments/toy.py:tiny", "tiny", 3),
    ("experiments/toy.py:small", "small", 30),
])
def test_load_takes_the_scale_after_the_colon(folder, spec, scale, steps):
    loaded = load(spec)
    assert (loaded.scale, loaded.pretrain.steps) == (scale, steps)


def test_load_applies_overrides(folder):
    assert load("experiments/toy.py:small", ["pretrain.steps=7", "seed=2"]).pretrain.steps == 7


def test_missing_file_names_the_nearest_and_all(folder):
    sentence = r"Did you mean experiments/toy\.py\?.*ablations/other\.py, experiments/toy\.py"
    with pytest.raises(ConfigError, match=sentence):
        load("experiments/tyo.py:tiny")


def test_missing_file_is_looked_for_in_the_folder_it_names(folder, monkeypatch):
    monkeypatch.chdir(folder / "experiments" / "ablations")
    with pytest.raises(ConfigError, match=r"Did you mean \.\./\.\./experiments/toy\.py\?"):
        load("../../experiments/tyo.py")


def test_missing_file_without_any_experiments(tmp_path, monkeypatch):
    (tmp_path / "unrelated.py").write_text("")
    monkeypatch.chdir(tmp_path)
    for spec in ("experiments/toy.py", "toy.py", "toy"):
        with pytest.raises(ConfigError, match=r"nor any in experiments/; run from the repository's root\.$"):
            load(spec)


def test_unknown_scale_names_the_scales(folder):
    with pytest.raises(ConfigError, match=r"no scale 'huge'; choose one of tiny, small\."):
        load("experiments/toy.py:huge")


@pytest.mark.parametrize(("text", "message"), [
    ("SCALES = ('tiny',)\n", "has no get_config"),
    ("def get_config(scale):\n    return 1\n", "has no SCALES"),
    ("SCALES = ('tiny',)\ndef get_config(scale):\n    return 1\n", "returned a int, not an Experiment"),
    ("SCALES = (\n", r"not valid Python: .*\(line 1\)"),
])
def test_files_that_are_no_experiments(folder, text, message):
    (folder / "experiments" / "bad.py").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load("experiments/bad.py")


@pytest.mark.parametrize(("assignment", "read", "expected"), [
    ("rl.steps=50", lambda e: e.rl.steps, 50),
    ("optim.learning_rate=3e-4", lambda e: e.optim.learning_rate, 0.0003),
    ("optim.learning_rate=1", lambda e: e.optim.learning_rate, 1.0),
    ("optim.name=muon", lambda e: e.optim.name, "muon"),
    ("data.prompt='r1'", lambda e: e.data.prompt, "r1"),
    ("tokenizer=007", lambda e: e.tokenizer, "007"),
    ("tokenizer=none", lambda e: e.tokenizer, "none"),
    ("evaluation.max_new_tokens=None", lambda e: e.evaluation.max_new_tokens, None),
    ("evaluation.max_new_tokens=64", lambda e: e.evaluation.max_new_tokens, 64),
    ("rl.max_new_tokens=((0, 64), (20, 128))", lambda e: e.rl.max_new_tokens, ((0, 64), (20, 128))),
    ("rl.rewards=[('accuracy', 1), ('format', 0.5)]", lambda e: e.rl.rewards, (("accuracy", 1.0), ("format", 0.5))),
    ("rl.loss.heads=6", lambda e: e.rl.loss.heads, 6),
    ("model.note=x", lambda e: e.model.note, "x"),
    ("model.note=None", lambda e: e.model.note, None),
])
def test_override_reads_values_by_their_annotation(assignment, read, expected):
    value = read(override(experiment(), assignment))
    assert value == expected and type(value) is type(expected)


def test_a_switch_is_begun_changed_and_ended_by_overrides():
    plain = replace(experiment(), name="other")
    begun = override(plain, "lora.rank=16", "lora.targets=('q', 'v')")
    assert begun == replace(plain, lora=LoRA(rank=16, alpha=32.0, targets=("q", "v")))
    assert override(begun, "lora.alpha=8").lora == LoRA(rank=16, alpha=8.0, targets=("q", "v"))
    assert override(begun, "lora=none") == override(plain, "lora=None") == plain
    assert "lora" not in to_dict(plain) and fingerprint(begun) != fingerprint(plain)


@pytest.mark.parametrize(("assignment", "message"), [
    ("lora=16", r"lora is a section; set one of its fields: rank, alpha, targets"),
    ("lora.alpha=16", r"lora is None in this experiment; to begin it, set lora\.rank too"),
    ("lora.ranks=16", r"no field lora\.ranks; did you mean lora\.rank\? Section lora has rank, alpha, targets"),
    ("lora.rank.x=16", r"no field lora\.rank\.x"),
    ("lora.rank=many", r"lora\.rank takes a whole number such as 50, not 'many'"),
    ("lora.rank=0", r"lora\.rank=0 leaves nothing to train"),
    ("rl.stepz=1", r"no field rl\.stepz; did you mean rl\.steps\? Section rl has steps, questions"),
    ("optm.learning_rate=1", r"did you mean optim\.learning_rate\? The experiment has name, scale"),
    ("learning_rate=1", r"no field learning_rate; did you mean optim\.learning_rate\?"),
    ("rl.steps=many", r"rl\.steps takes a whole number such as 50, not 'many'"),
    ("rl.steps=1.5", r"rl\.steps takes a whole number"),
    ("rl.steps=true", r"rl\.steps takes a whole number"),
    ("optim.learning_rate=nan", r"takes a finite number such as 0\.001, not 'nan'"),
    ("optim.learning_rate=1e999", r"takes a finite number"),
    ("rl.max_new_tokens=64", r"a tuple such as \(\(50, 50\),\), not '64'"),
    ("rl.max_new_tokens=((0, 64, 1),)", r"takes a tuple"),
    ("evaluation.max_new_tokens=x", r"takes a whole number such as 50 or None, not 'x'"),
    ("pretrain.steps=5", r"pretrain is None in this experiment, so pretrain\.steps cannot be set"),
    ("seed.x=5", r"seed is the value 0, not a section, so seed\.x cannot be set"),
    ("rl=5", r"rl is a section; set one of its fields: steps, questions"),
    ("rl.loss.inner=5", r"rl\.loss\.inner takes a value that only the experiment file can give"),
    ("scale=paper", r"scale cannot be set: choose the scale after the file's name"),
    ("rl.steps", r"--set rl\.steps is not an assignment"),
    ("=5", r"is not an assignment"),
    ("model.kv_heads=3", r"heads is not a multiple of kv_heads"),
])
def test_override_refuses_in_a_sentence(assignment, message):
    with pytest.raises(ConfigError, match=message):
        override(experiment(), assignment)


def test_overrides_that_must_agree_are_applied_together():
    changed = override(experiment(), "model.heads=9", "model.kv_heads=3")
    assert (changed.model.heads, changed.model.kv_heads) == (9, 3)


def test_the_later_of_two_overrides_counts_and_the_original_stays():
    original = experiment()
    assert override(original, "rl.steps=1", "rl.steps=2").rl.steps == 2
    assert original.rl.steps == 10


def test_to_dict_is_json_with_named_functions():
    encoded = to_dict(experiment(model=Pair(inner=clip(0.2))))
    assert json.loads(json.dumps(encoded)) == encoded
    assert encoded["stage"] == f"{__name__}.stage"
    assert encoded["optim"]["learning_rate"] == 0.001
    assert encoded["rl"]["max_new_tokens"] == [[0, 64]]
    assert encoded["model"]["inner"]["low"] == 0.2


@pytest.mark.parametrize("changes", [
    {"seed": 1}, {"optim": OptimConfig(learning_rate=2e-3)}, {"scale": "small"}, {"tokenizer": "other.model"},
    {"pretrain": PretrainConfig(steps=1, rows=1, row_length=1)}, {"stage": clip},
    {"model": Pair(inner=clip(0.2))}, {"parents": (("weights", "base@tiny"),)}])
def test_fingerprint_changes_with_the_configuration(changes):
    assert fingerprint(experiment(**changes)) != fingerprint(experiment())


def test_fingerprint_sees_what_closures_and_partials_hold():
    def of(inner):
        return fingerprint(experiment(model=Pair(inner=inner)))

    assert of(clip(0.2)) == of(clip(0.2)) != of(clip(0.3))
    assert of(functools.partial(weigh, 1.0)) == of(functools.partial(weigh, 1.0)) != of(functools.partial(weigh, 2.0))
    assert of(functools.partial(weigh, factor=1.0)) != of(functools.partial(weigh, factor=2.0))


def test_the_time_that_evaluations_may_take_is_no_part_of_a_run():
    rare = experiment(evaluation=EvalConfig(max_time_share=0.1))
    assert fingerprint(rare) == fingerprint(experiment()) != fingerprint(experiment(evaluation=EvalConfig(every=3)))


def chatting(endpoint="http://one:8000/v1#large", **changes):
    return experiment(chat=ChatConfig(endpoint, **changes))


@pytest.mark.parametrize(("chat", "same"), [
    (chatting("http://other/v1#large"), True), (chatting("https://one:9000/api/v1#large"), True),
    (chatting(concurrency=256), True), (chatting(key_variable="OTHER_KEY"), True),
    (chatting("http://one:8000/v1#small"), False), (chatting("http://one:8000/v1#org/large"), False),
    (chatting("http://one:8000/v1#large#2"), False), (chatting(wording="tiny"), False), (chatting(""), False),
    (experiment(), False),
])
def test_where_a_chat_model_is_served_is_no_part_of_a_run_and_its_name_is(chat, same):
    assert (fingerprint(chat) == fingerprint(chatting())) is same


def test_identity_of_a_configuration():
    """What is left out of chat stands at its default, as artifacts without an endpoint were made with it."""
    config = to_dict(chatting(concurrency=256, key_variable="OTHER_KEY"))
    assert identity(config)["chat"] == {"type": "ChatConfig", "endpoint": "#large", "wording": "paper",
                                        "concurrency": 16, "key_variable": "OPENAI_API_KEY"}
    assert config["chat"]["endpoint"] == "http://one:8000/v1#large" and config["chat"]["concurrency"] == 256
    usual = to_dict(chatting(""))
    assert identity(usual)["chat"] == usual["chat"] and "mesh" in usual
    evaluation = usual["evaluation"] | {"max_time_share": 0.25}
    assert identity(usual) == {name: value for name, value in usual.items() if name != "mesh"} | {
        "evaluation": evaluation}


def test_fingerprint_ignores_the_mesh_and_covers_parents_and_digests():
    plain = fingerprint(experiment())
    assert fingerprint(experiment(mesh=MeshConfig(data=2, fsdp=4))) == plain
    assert fingerprint(experiment(), parents={"weights": "aa"}) != plain
    as_digest = fingerprint(experiment(), digests={"tokenizer": "aa"})
    assert as_digest not in (plain, fingerprint(experiment(), parents={"tokenizer": "aa"}))
    assert len(plain) == 16 and int(plain, 16) >= 0


def test_fingerprint_is_the_same_in_another_process(folder):
    import subprocess
    import sys

    code = "from r1jax.core.config import *; print(fingerprint(load('experiments/toy.py')))"
    root = __file__.rsplit("/tests/", 1)[0]
    outputs = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                              env={"PYTHONPATH": root, "PYTHONHASHSEED": seed}).stdout for seed in ("1", "2")}
    assert outputs == {fingerprint(load("experiments/toy.py")) + "\n"}


def test_fingerprint_of_an_infinite_value_and_refusal_of_a_lambda():
    endless = experiment(optim=dataclasses.replace(OptimConfig(), clip_norm=float("inf")))
    assert to_dict(endless)["optim"]["clip_norm"] == "inf" and fingerprint(endless)
    with pytest.raises(ConfigError, match=r"experiment\.model\.inner is <function .*lambda.*no stable name"):
        fingerprint(experiment(model=Pair(inner=lambda x: x)))
