"""Which questions a run trains on: mixtures by share, epochs, filters, and files that are read once."""

import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from r1jax.core import keys
from r1jax.core.config import Experiment, load
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.settings import CollectConfig, DataConfig, EvalConfig, LastPart
from r1jax.data import procedural, sources
from r1jax.data.world.corpus import world_problems
from r1jax.stages import evaluation, problems
from r1jax.stages.context import Context
from r1jax.text.prompts import prompt_ids

R1_ZERO = str(Path(__file__).parents[2] / "experiments/r1_zero.py")


class Words:
    """A tokenizer of words."""

    bos = 0

    def encode(self, text):
        return [1] * len(text.split())


CONTEXT = Context(None, Words(), None, {})


def experiment(data, questions=8, seed=0, held=20):
    base = load(f"{R1_ZERO}:small")
    return replace(base, seed=seed, data=replace(data, prompt="r1_zero"), evaluation=EvalConfig(problems=held),
                   rl=replace(base.rl, questions=questions, max_prompt_tokens=200))


@pytest.fixture
def sets(tmp_path):
    """Three small sets in their published layouts, as sources by name."""
    def write(name, rows):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / name

    gsm8k = write("gsm8k.jsonl", [{"question": f"Sum {i}?", "answer": f"so\n#### {i}"} for i in range(60)])
    math = write("math.jsonl", [{"problem": f"Root {i}?", "solution": f"\\boxed{{{i}}}"} for i in range(30)])
    rated = write("big.jsonl", [{"problem": f"第 {i} 题？" if i % 2 else f"Task {i}?", "answer": str(i),
                                 "llama8b_solve_rate": i / 80} for i in range(81)])
    return {"gsm8k": f"gsm8k={gsm8k}", "math": f"math={math}", "big_math": f"big_math={rated}"}


def sides(run):
    """(training, held out) of the run's one source."""
    return problems._sides(run.data, run.data.source)


def warnings(monkeypatch):
    """A list that fills with what is warned of."""
    said = []
    monkeypatch.setattr(problems.log, "warn", said.append)
    return said


def ids(found):
    return [p.id for p in found]


def test_a_named_set_is_a_source(sets):
    run = experiment(DataConfig(source=sets["gsm8k"]))
    draw, kept = problems.training(run, CONTEXT), set(ids(problems.held_out(run, CONTEXT)))
    pool, held = sides(run)
    assert len(pool) + len(held) == 60 and {p.domain for p in pool} == {"math"} and kept <= set(ids(held))
    drawn = [name for rollout in range(len(pool)) for name in ids(draw(rollout))]
    assert Counter(drawn) == dict.fromkeys(ids(pool), 8)
    for start in range(0, len(drawn), len(pool)):
        assert len(set(drawn[start:start + len(pool)])) == len(pool)
    assert not kept & set(drawn)


def test_a_mixture_keeps_its_shares_and_each_sets_epochs(sets):
    mixture = ((sets["gsm8k"], 5.0), (sets["math"], 2.5), (sets["big_math"], 0.5))
    run = experiment(DataConfig(mixture=mixture))
    draw = problems.training(run, CONTEXT)
    pools = {name: problems._sides(run.data, source)[0] for name, source in sets.items()}
    drawn = [draw(rollout) for rollout in range(64)]
    assert all(len(rollout) == 8 for rollout in drawn)
    per_rollout = [Counter(p.id.split("/")[0] for p in rollout) for rollout in drawn]
    exact = {"gsm8k": 5.0, "math": 2.5, "big_math": 0.5}  # of 8
    assert all(abs(count[name] - share) < 1 for count in per_rollout for name, share in exact.items())
    total = sum(per_rollout, Counter())
    assert all(abs(total[name] - 64 * share) <= 16 for name, share in exact.items())  # 4 standard deviations of 4
    for name, pool in pools.items():
        taken = [p.id for rollout in drawn for p in rollout if p.id.startswith(f"{name}/")]
        for start in range(0, len(taken) - len(pool) + 1, len(pool)):
            assert sorted(taken[start:start + len(pool)]) == sorted(ids(pool))


def test_no_source_of_a_mixture_has_what_another_has_or_holds_out(tmp_path, sets):
    copy = tmp_path / "copy.jsonl"
    copy.write_text("".join(json.dumps({"problem": f" SUM  {i}?", "answer": str(i)}) + "\n" for i in range(60, -1, -1))
                    + json.dumps({"problem": "Other?", "answer": "1"}) + "\n")
    run = experiment(DataConfig(mixture=((sets["gsm8k"], 1.0), (f"big_math={copy}", 1.0))))
    (_, first), (_, second) = problems._pools(run.data, [name for name, _ in run.data.mixture])
    asked = [p.question.lower().split()[-1] for p in (*first, *second)]
    assert len(set(asked)) == len(asked) and len(second) <= 2  # Sum 60? and Other?, where they are not held out
    held = {p.question.lower().split()[-1] for name, _ in run.data.mixture for p in problems._sides(run.data, name)[1]}
    assert not held & set(asked)


def test_a_source_that_the_others_contain_is_named(tmp_path, sets):
    again = tmp_path / "again.jsonl"
    again.write_text("".join(json.dumps({"problem": f"SUM {i}?", "answer": str(i)}) + "\n" for i in range(60)))
    run = experiment(DataConfig(mixture=((sets["gsm8k"], 1.0), (sets["math"], 1.0), (f"big_math={again}", 1.0))))
    with pytest.raises(DataError) as refused:
        problems.training(run, CONTEXT)
    assert str(refused.value) == (f"data.mixture leaves nothing of big_math={again} to train on: all its questions are "
                                  f"also in {sets['gsm8k']}; leave one of them out.")


def test_fewer_held_out_questions_than_asked_are_warned_of(sets, monkeypatch):
    said = warnings(monkeypatch)
    run = experiment(DataConfig(mixture=((sets["gsm8k"], 1.0), (sets["math"], 3.0))), held=40)
    there = {name: len(problems._sides(run.data, sets[name])[1]) for name in ("gsm8k", "math")}
    assert there["gsm8k"] < 10 and there["math"] < 30
    assert len(problems.held_out(run, CONTEXT)) == sum(there.values())
    assert said == [f"The evaluation has {sum(there.values())} questions and not evaluation.problems=40: "
                    f"{sets['gsm8k']} holds out {there['gsm8k']} of the 10 that it is asked for, "
                    f"{sets['math']} holds out {there['math']} of the 30 that it is asked for."]
    said.clear()
    assert len(problems.held_out(replace(run, evaluation=EvalConfig(problems=2)), CONTEXT)) == 2 and not said


def test_questions_too_long_are_counted(sets, monkeypatch):
    said = warnings(monkeypatch)
    run = experiment(DataConfig(source=sets["big_math"], languages=(("en", 1.0), ("zh", 1.0))))
    words = {p.id: len(prompt_ids(Words(), "r1_zero", p.question)) for p in sides(run)[0]}
    assert len(set(words.values())) == 2  # "Task 2?" and "第 1 题？"
    shorter = replace(run, rl=replace(run.rl, max_prompt_tokens=min(words.values()), questions=1))
    drawn = problems.training(shorter, CONTEXT)
    left = sum(size == min(words.values()) for size in words.values())
    assert len({drawn(i)[0].id for i in range(left)}) == left < len(words)
    assert said == [f"{len(words) - left} of {len(words)} questions of {sets['big_math']} have prompts of more than "
                    f"{min(words.values())} tokens (rl.max_prompt_tokens) and are left out."]


def test_an_evaluation_is_named_by_its_questions_domains(sets, monkeypatch):
    path = Path(sets["gsm8k"].partition("=")[2]).with_name("taco.jsonl")
    packed = json.dumps({"inputs": ["1"], "outputs": ["2"]})
    path.write_text("".join(json.dumps({"question": f"Q {i}", "input_output": packed}) + "\n" for i in range(40)))
    names = []
    monkeypatch.setattr(evaluation.suite, "evaluate", lambda *_, suite, **__: names.append(suite) or ({}, []))
    taco, context = f"taco={path}", replace(CONTEXT, mesh=None)
    for mixture in (((taco, 1.0), (sets["gsm8k"], 1.0), (sets["math"], 1.0)), ((sets["math"], 1.0),)):
        run = experiment(DataConfig(mixture=mixture), held=3)
        evaluation.Evaluator(run, SimpleNamespace(write_samples=lambda *_: None), context)(None, 0)
    assert names == ["code+math", "math"]


def test_a_rollouts_questions_depend_on_seed_and_number_alone(sets):
    mixture = ((sets["gsm8k"], 0.6), (sets["math"], 0.4))
    run = experiment(DataConfig(mixture=mixture))
    forwards, backwards = problems.training(run, CONTEXT), problems.training(run, CONTEXT)
    last = ids(backwards(9))
    assert last == [ids(forwards(r)) for r in range(10)][9] and ids(backwards(3)) == ids(forwards(3))
    assert ids(problems.training(replace(run, seed=1), CONTEXT)(3)) != ids(forwards(3))


def test_a_mixtures_evaluation_has_each_sources_share(sets):
    run = experiment(DataConfig(mixture=((sets["gsm8k"], 2.0), (sets["math"], 1.0))), held=3)
    kept = problems.held_out(run, CONTEXT)
    assert Counter(p.id.split("/")[0] for p in kept) == {"gsm8k": 2, "math": 1}
    assert ids(problems.held_out(replace(run, seed=5), CONTEXT)) == ids(kept)


def test_languages_and_pass_rates_filter(sets, tmp_path):
    def pool(**settings):
        run = experiment(DataConfig(source=sets["big_math"], **settings))
        return [p for side in sides(run) for p in side]

    assert len(pool()) == 81
    assert {p.language for p in pool(languages=(("zh", 1.0), ("en", 0.0)))} == {"zh"}
    rates = [p.meta["pass_rate"] for p in pool(pass_rate=(0.25, 0.75))]
    assert sorted(rates) == [i / 80 for i in range(20, 61)]
    measured = tmp_path / "rates.jsonl"
    rated = sorted(pool(), key=lambda p: p.id)[:60]
    measured.write_text("".join(json.dumps({"problem": p.id, "pass_rate": 0.5}) + "\n" for p in rated))
    assert len(pool(pass_rate=(0.25, 0.75), pass_rates=str(measured))) == 60
    with pytest.raises(DataError, match="has 0 problems of 81 after data.languages and data.pass_rate"):
        pool(languages=(("en", 0.0),))
    with pytest.raises(ConfigError, match="data.languages asks for de, but questions of files and sets are told apart"):
        pool(languages=(("en", 1.0), ("de", 1.0)))
    assert len(pool(languages=(("en", 1.0), ("de", 0.0)))) == 41


def test_a_files_questions_have_their_scripts_language(tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [{"prompt": f"第 {i} 题" if i % 2 else f"Task {i}", "solution": "1"} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = DataConfig(source=str(path), domains=(("math", 1.0),), question_field="prompt", answer_field="solution")
    found = [p for side in sides(experiment(data)) for p in side]
    assert Counter(p.language for p in found) == {"zh": 20, "en": 20}


def test_the_digest_is_of_the_problems(sets, tmp_path):
    def digest(**settings):
        return problems.digests(experiment(DataConfig(**settings)))["data"]

    single, both = digest(source=sets["gsm8k"]), digest(mixture=((sets["gsm8k"], 1.0), (sets["math"], 1.0)))
    assert len(single) == 16 and single != both == digest(mixture=((sets["math"], 1.0), (sets["gsm8k"], 1.0)))
    assert digest(source=sets["big_math"]) != digest(source=sets["big_math"], pass_rate=(0.1, 0.9))
    assert problems.digests(experiment(DataConfig())) == {}
    copy = tmp_path / "copy.jsonl"
    copy.write_text(Path(sets["gsm8k"].partition("=")[2]).read_text())
    assert digest(source=f"gsm8k={copy}") == single


def collecting(run):
    return replace(run, rl=None, collect=CollectConfig(questions=8, samples=1, max_new_tokens=8))


def test_a_data_stage_asks_all_that_no_rule_grades_and_nothing_that_is_held_out(sets, tmp_path, monkeypatch):
    said = warnings(monkeypatch)
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps({"question": f"Why {i}?", "answer": f"so {i}"}) + "\n" for i in range(60)))
    for source, domain in ((f"helpful={path}", "math"), (f"open={path}", "math"), (str(path), "general")):
        run = experiment(DataConfig(source=source, domains=((domain, 1.0),)))
        assert len(sides(run)[0]) < 60 == len(sides(run)[0]) + len(sides(run)[1])
        draw = problems.training(collecting(run), CONTEXT, 60)
        assert sorted(p.question for p in draw(0)) == sorted(f"Why {i}?" for i in range(60))
        assert problems.digests(collecting(run)) == problems.digests(run)
    run = experiment(DataConfig(mixture=((sets["gsm8k"], 1.0), (f"open={path}", 1.0))))
    draw, held = problems.training(collecting(run), CONTEXT, 120), problems._sides(run.data, sets["gsm8k"])[1]
    asked = Counter(p.id for p in draw(0))
    assert held and not set(asked) & set(ids(held))  # the fine-tuned models are evaluated on these
    assert len(asked) == 120 - len(held) and sum(name.startswith("open/") for name in asked) == 60
    assert not said


def test_a_single_question_is_enough_for_a_data_stage(tmp_path):
    path = tmp_path / "one.jsonl"
    path.write_text(json.dumps({"question": "Why?"}) + "\n")
    run = experiment(DataConfig(source=f"helpful={path}"))
    assert [p.question for p in problems.training(collecting(run), CONTEXT, 2)(0)] == ["Why?", "Why?"]
    with pytest.raises(DataError, match="has 1 problems of 1 .* too few to train on and to hold some out"):
        problems.training(run, CONTEXT)


def test_other_tests_of_the_same_questions_are_other_problems(tmp_path):
    def digest(output):
        packed = json.dumps({"inputs": ["1"], "outputs": [output]})
        path = tmp_path / f"{output}.jsonl"
        path.write_text("".join(json.dumps({"question": f"Q {i}", "input_output": packed}) + "\n" for i in range(40)))
        run = experiment(DataConfig(source=f"taco={path}"))
        return problems.digests(run), sorted(p.id for side in sides(run) for p in side)

    (first, names), (second, same), (third, _) = digest("2"), digest("3"), digest("2")
    assert names == same and first == third != second


def test_logics_digest_makes_no_puzzle(sets, monkeypatch):
    pytest.importorskip("reasoning_gym")
    monkeypatch.setattr(procedural, "puzzle", None)

    def digest(*names):
        return problems.digests(experiment(DataConfig(mixture=tuple((name, 1.0) for name in names))))

    marks = [digest(sets["gsm8k"], name) for name in ("logic", "logic:20")] + [digest("logic")]
    assert len({mark["data"] for mark in marks}) == 3 and digest("logic:15000") == digest("logic")


def test_a_file_is_read_once_until_it_changes(sets, monkeypatch):
    read = []
    original = sources.load
    monkeypatch.setattr(problems.sources, "load", lambda source: read.append(source) or original(source))
    run = experiment(DataConfig(source=sets["gsm8k"]))
    problems.digests(run), problems.training(run, CONTEXT), problems.held_out(run, CONTEXT)
    assert len(read) == 1
    path = sets["gsm8k"].partition("=")[2]
    text = open(path).read()
    with open(path, "a") as file:
        file.write(json.dumps({"question": "New?", "answer": "#### 1"}) + "\n")
    assert sum(map(len, sides(run))) == 61 and len(read) == 2
    with open(path, "w") as file:
        file.write(text.replace("Sum 0?", "Sum X?"))
    os.utime(path, ns=(1, 1))
    assert "Sum X?" in {p.question for side in sides(run) for p in side} and len(read) == 3


def test_the_world_is_drawn_as_before():
    data = DataConfig(domains=(("countdown", 1.0),))
    run = experiment(data, questions=4)
    expected = world_problems(problems.HELD_OUT_SEED, 20, split="held_out", shares={"countdown": 1.0},
                              languages={"en": 0.5, "zh": 0.5})
    assert problems.held_out(run, CONTEXT) == expected
    assert len(problems.training(run, CONTEXT)(0)) == 4


def with_last_part(run, tries=1, **questions):
    """Six rollouts of which the last two are the last part."""
    part = LastPart(8, (("rule", 1.0),), **questions)
    return replace(run, rl=replace(run.rl, steps=24, minibatches=4, dynamic_sampling=tries, last_part=part))


@pytest.mark.parametrize("tries", [1, 3])
def test_the_last_part_has_its_own_questions_and_numbers_go_on(tries):
    run = experiment(DataConfig(domains=(("countdown", 1.0),)), questions=6)
    shares = {"stem": 0.5, "general": 0.5}
    plain, changed = problems.training(run, CONTEXT), with_last_part(run, tries, domains=tuple(shares.items()))
    draw = problems.training(changed, CONTEXT)
    first = 4 * tries
    assert [ids(draw(n)) for n in range(first)] == [ids(plain(n)) for n in range(first)]
    languages = dict(run.data.languages)
    for number in (first + 1, first):  # in any order: functions of seed and number
        assert draw(number) == world_problems(keys.host_seed(0, number, "problems"), 6, split="train", shares=shares,
                                              languages=languages)
    assert problems.held_out(changed, CONTEXT) == problems.held_out(run, CONTEXT)
    assert problems.digests(changed) == {}
    same = problems.training(with_last_part(run), CONTEXT)  # other rewards alone
    assert [ids(same(n)) for n in range(6)] == [ids(plain(n)) for n in range(6)]


def test_the_last_parts_sets_hold_nothing_that_the_run_is_evaluated_on(tmp_path, sets):
    copy = tmp_path / "copy.jsonl"
    copy.write_text("".join(json.dumps({"problem": f"SUM {i}?", "answer": str(i)}) + "\n" for i in range(80)))
    run = experiment(DataConfig(mixture=((sets["gsm8k"], 1.0), (sets["math"], 1.0))), questions=40)
    changed = with_last_part(run, mixture=((f"big_math={copy}", 1.0),))
    plain, draw = problems.training(run, CONTEXT), problems.training(changed, CONTEXT)
    assert [ids(draw(n)) for n in range(4)] == [ids(plain(n)) for n in range(4)]
    asked = {p.question.upper() for n in range(4, 8) for p in draw(n)}
    held = {p.question.upper() for p in problems._sides(run.data, sets["gsm8k"])[1]}
    assert held and not held & asked and len(asked) > 50  # of 80, less those of either set that are held out
    assert ids(problems.training(changed, CONTEXT)(5)) == ids(draw(5))
    assert problems.held_out(changed, CONTEXT) == problems.held_out(run, CONTEXT)
    marks = [problems.digests(one)["data"] for one in (run, changed, with_last_part(run))]
    assert marks[0] != marks[1] and marks[0] == marks[2]
    copy.write_text(copy.read_text().replace("SUM 0?", "Sum X?"))
    assert problems.digests(changed)["data"] not in marks


@pytest.mark.parametrize(("mixture", "message"), [
    ((("world", 1.0), ("gsm8k", 1.0)), "cannot hold the tiny world"),
    ((("gsm8k", 1.0), ("gsm8k", 2.0)), "names a source twice"),
    ((("gsm8k", -1.0), ("math", 2.0)), "are no shares"),
    ((("gsm8k", 0.0),), "are no shares"),
])
def test_mixtures_that_are_none(mixture, message):
    with pytest.raises(ConfigError, match=message):
        problems.training(experiment(DataConfig(mixture=mixture)), CONTEXT)


def test_the_experiments_name_sets_that_exist():
    for scale in ("small", "paper"):
        data = load(f"{R1_ZERO}:{scale}").data
        names, shares = problems._shares(data)
        assert all(map(sources.is_named, names)) and all(share > 0 for share in shares)
    sets_of = [sources.SETS[name].domain if name in sources.SETS else name for name in names]
    assert sets_of == ["math", "code", "stem", "logic"]
    assert shares == [26.0, 17.0, 22.0, 15.0]  # thousands of prompts: table 4
    changed = load(f"{R1_ZERO}:paper", ["data.mixture=(('gsm8k', 1),)", "data.pass_rate=(0.1, 0.9)"]).data
    assert changed.mixture == (("gsm8k", 1.0),) and changed.pass_rate == (0.1, 0.9)


def test_examples_that_are_shown_belong_to_what_a_run_is(tmp_path):
    shown = tmp_path / "chains.jsonl"
    shown.write_text('{"question": "a", "response": "b"}\n')

    def marks(**changes):
        collect = CollectConfig(questions=1, samples=1, max_new_tokens=1, examples=str(shown), **changes)
        return problems.digests(Experiment("x", "tiny", None, None, collect=collect))

    first = marks(few_shot=1)
    assert first.keys() == {"examples"} and marks() == {}  # nothing is shown
    shown.write_text('{"question": "a", "response": "c"}\n')
    assert marks(few_shot=1) != first
