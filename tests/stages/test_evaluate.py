"""Evaluations: figures by hand, stopped and gone on with, limited, refused, and answered by real weights."""

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import pytest

from r1jax.core.errors import ConfigError, DataError, StoreError
from r1jax.core.records import TIMEOUT, Completion, Problem, Verdict
from r1jax.eval import results
from r1jax.eval.compare import compare
from r1jax.eval.suites import SUITES
from r1jax.stages import evaluate as evaluation
from r1jax.stages import policies
from r1jax.stages.evaluate import Decoding, Wanted, evaluate, questions
from r1jax.stages.policies import load_policy
from r1jax.store import Store

GOLDEN = Path(__file__).parent.parent / "models" / "golden"
STEM = SUITES["stem"]
SAMPLES = 4


@dataclass
class Fake:
    """Answers the gold letter in as many samples as the problem's number, modulo one more than there are samples."""

    stop_after: int | None = None
    silent: frozenset = frozenset()
    name: str = "fake"
    shared: bool = True
    identity: dict[str, Any] = field(default_factory=lambda: {"fake": 1})
    asked: list[int] = field(default_factory=list)

    def decoding(self, wanted: Decoding, problems) -> Decoding:
        return wanted if wanted.max_new_tokens else replace(wanted, max_new_tokens=16)

    def answer(self, problems, numbers, decoding, on_group):
        for number in numbers:
            problem = problems[number]
            if self.stop_after is not None and len(self.asked) == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(number)
            if number in self.silent:
                continue
            wrong = "A" if problem.answer != "A" else "B"
            letters = [problem.answer if sample < number % (decoding.samples + 1) else wrong
                       for sample in range(decoding.samples)]
            on_group(number, [Completion(f"<think> so </think> <answer> {letter} </answer>", "", (1,) * (sample + 1),
                                        sample + 1, False) for sample, letter in enumerate(letters)])


def run(root, model=None, suite=STEM, **changes):
    return evaluate(model or Fake(), suite, "world", str(root), Wanted(**({"samples": SAMPLES, "limit": 10} | changes)))


def test_figures_by_hand(tmp_path):
    """Ten problems with 0, 1, 2, 3, 4, 0, 1, 2, 3, 4 of four samples right; the majority is right in 3 and 4, and
    half of the time in 2, where two letters tie."""
    found = run(tmp_path)
    assert found["pass@1"] == pytest.approx(0.5)
    assert found["cons@4"] == pytest.approx((0 + 0 + 0.5 + 1 + 1) / 5)
    assert found["pass@4"] == pytest.approx(0.8)
    assert found["length"] == 2.5 and found["truncated"] == 0
    assert found["partial"] == "10 of 58 problems" and found["unfinished"] is None


def test_every_sample_is_kept_with_its_grade_and_reason(tmp_path):
    rows = results.load(run(tmp_path)["folder"]).rows
    assert sum(map(len, rows.values())) == 40
    problems, _ = questions(STEM, "world", 10)
    third = rows[problems[2].id]
    assert [(row["correct"], row["kind"]) for row in third] == [(True, "right")] * 2 + [(False, "wrong")] * 2
    assert third[0]["answer"] == problems[2].answer and third[0]["group"] != third[2]["group"]
    assert third[0]["text"] == f"<think> so </think> <answer> {problems[2].answer} </answer>"


def test_a_stopped_evaluation_goes_on_and_repeats_nothing(tmp_path):
    first = Fake(stop_after=6)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a", first)
    second = Fake()
    found = run(tmp_path / "a", second)
    assert sorted(first.asked + second.asked) == list(range(10))
    whole = run(tmp_path / "b")
    assert {k: v for k, v in found.items() if k != "folder"} == {k: v for k, v in whole.items() if k != "folder"}
    third = Fake()
    run(tmp_path / "a", third)
    assert third.asked == []


def test_a_line_that_a_kill_cut_costs_its_problem_only(tmp_path):
    folder = run(tmp_path)["folder"]
    file = next(p for p in (tmp_path / "evaluations").rglob("samples-00000.jsonl"))
    data = file.read_bytes()
    last = json.loads(data.splitlines()[-1])["problem"]
    file.write_bytes(data[:-20])
    again = Fake()
    assert run(tmp_path, again)["pass@1"] == pytest.approx(0.5)
    problems, _ = questions(STEM, "world", 10)
    assert [problems[i].id for i in again.asked] == [last] and results.load(folder).finished


def test_problems_without_an_answer_are_asked_again(tmp_path):
    found = run(tmp_path, Fake(silent=frozenset((3, 7))))
    assert found["unfinished"] == "32 of 40 samples" and found["problems"] == 8
    again = Fake()
    run(tmp_path, again)
    assert again.asked == [3, 7]


def test_another_model_or_other_settings_under_the_same_name_are_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(StoreError, match=r'identity \{"fake": 1\} -> \{"fake": 2\}.*--name NEW'):
        run(tmp_path, Fake(identity={"fake": 2}))
    folder = run(tmp_path, temperature=0.5, seed=3)["folder"]  # other settings have a folder of their own
    assert folder.endswith("stem-limit10-k4-t0.5-seed3")


def test_a_grader_that_fails_stops_the_evaluation(tmp_path, monkeypatch):
    def broken(*_):
        raise DataError("no sandbox here")

    monkeypatch.setattr(evaluation.accuracy, "verdicts", broken)
    with pytest.raises(DataError, match="no sandbox here"):
        run(tmp_path)


def test_a_quick_look_compares_with_the_whole(tmp_path):
    whole, part = (results.load(run(tmp_path, limit=limit)["folder"]) for limit in (None, 10))
    found = compare(part, whole)
    assert found["common"] == 10 and found["only_b"] == 48


def test_a_store_that_holds_evaluations_only_is_a_store(tmp_path):
    run(tmp_path / "new")
    assert Store(tmp_path / "new", create=False).artifacts() == []


def test_a_limit_takes_the_same_part_each_time_and_says_how_much_it_is(tmp_path, monkeypatch):
    every = [Problem(f"math/{i}", "math", f"{i}?", str(i)) for i in range(50)]
    monkeypatch.setattr(evaluation.sources, "load", lambda source: (list(every), {}))
    some, whole = questions(SUITES["gsm8k"], "gsm8k:test", 8)
    assert len(some) == 8 and whole == every and some != every[:8]
    assert questions(SUITES["gsm8k"], "gsm8k:test", 4)[0] == some[:4]
    assert questions(SUITES["gsm8k"], "gsm8k:test", 50) == (every, every)


def test_questions_of_ones_own_are_kept_for_a_judge_and_no_figure_is_made_up(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "Write a line."}\n{"prompt": "Who are you?"}\n{"prompt": "Write a line."}\n')
    found = evaluate(Fake(), SUITES["general"], str(file), str(tmp_path / "store"), Wanted())
    assert found["problems_asked"] == 2 and found["pass@1"] is None and found["samples_ungraded"] == 2
    rows = [row for rows in results.load(found["folder"]).rows.values() for row in rows]
    assert {row["question"] for row in rows} == {"Write a line.", "Who are you?"}
    file.write_text('{"text": "Write a line."}\n')
    with pytest.raises(DataError, match="column question, instruction or prompt"):
        evaluate(Fake(), SUITES["general"], str(file), str(tmp_path / "store"), Wanted(name="other"))


def test_programs_have_no_majority(tmp_path):
    found = run(tmp_path, suite=SUITES["code"])
    assert found["cons@4"] is None and found["pass@1"] > 0
    evaluation = results.load(found["folder"])
    assert compare(evaluation, evaluation)["cons@k"] is None


def test_few_questions_are_not_asked_twice():
    problems, whole = questions(SUITES["general"], "world")
    assert len({problem.id for problem in problems}) == len(problems) and whole == problems


class Longest:
    """A reward model that likes the longest, or the shortest."""

    def __init__(self, sign):
        self.sign, self.identity = sign, {"sign": sign}

    def __call__(self, problems, completions):
        return [self.sign * float(completion.length) for completion in completions]


def test_each_reward_model_scores_for_itself_and_what_was_drawn_is_not_drawn_again(tmp_path):
    run(tmp_path)
    last, first = Fake(), Fake()
    found = run(tmp_path, last, score=Longest(1))
    assert found["best_of_n"]["4"]["value"] == pytest.approx(2 / 10)  # the last sample: right where all are
    found = run(tmp_path, first, score=Longest(-1))
    assert found["best_of_n"]["4"]["value"] == pytest.approx(8 / 10)  # the first: wrong where none is right
    assert last.asked == first.asked == [] and found["pass@1"] == pytest.approx(0.5)
    fresh = Fake()
    assert run(tmp_path / "b", fresh, score=Longest(1))["best_of_n"]["4"]["value"] == pytest.approx(2 / 10)
    assert len(fresh.asked) == 10


def test_what_a_busy_machine_left_open_is_graded_again_and_not_drawn(tmp_path, monkeypatch):
    grade, slow = evaluation.accuracy.verdicts, [True]

    def late(problems, completions):
        found = grade(problems, completions)
        return [Verdict(None, TIMEOUT)] + found[1:] if slow[0] else found

    monkeypatch.setattr(evaluation.accuracy, "verdicts", late)
    assert run(tmp_path)["samples_ungraded"] == 10
    slow[0], again = False, Fake()
    found = run(tmp_path, again)
    assert found["samples_ungraded"] == 0 and found["pass@1"] == pytest.approx(0.5) and again.asked == []


def test_tests_options_and_directives_are_part_of_an_evaluations_identity(tmp_path, monkeypatch):
    def of(problem, suite=SUITES["livecodebench"]):
        monkeypatch.setattr(evaluation.sources, "load", lambda source: ([problem], {}))
        return evaluate(Fake(), suite, "x", str(tmp_path), Wanted(samples=1))

    problem = Problem("code/1", "code", "Print 1.", "", meta={"tests": [["", "1"]]})
    of(problem)
    with pytest.raises(StoreError, match="other settings: digest"):
        of(replace(problem, meta={"tests": [["", "2"]]}))
    with pytest.raises(StoreError, match="other settings: digest"):
        of(problem, replace(SUITES["livecodebench"], ask=lambda problem: problem.question))


def test_more_of_the_tiny_world_than_usual_has_a_folder_of_its_own(tmp_path):
    assert run(tmp_path, limit=None)["folder"].endswith("/stem-k4")
    assert run(tmp_path, limit=80)["folder"].endswith("/stem-limit80-k4")


def test_weights_answer_the_same_whether_or_not_they_were_interrupted(tmp_path, monkeypatch):
    """The shipped base on Countdown; the second run has only half of the problems left to ask."""
    policy = load_policy(str(tmp_path), "embedded:base", slots=8)
    suite = SUITES["countdown"]
    whole = run(tmp_path / "a", policy, suite, limit=4, max_new_tokens=24)
    kept, count = evaluation.EvaluationFolder.write, []

    def twice(self, rows):
        if len(count) == 2:
            raise KeyboardInterrupt
        count.append(1)
        return kept(self, rows)

    monkeypatch.setattr(evaluation.EvaluationFolder, "write", twice)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", policy, suite, limit=4, max_new_tokens=24)
    monkeypatch.setattr(evaluation.EvaluationFolder, "write", kept)
    resumed = run(tmp_path / "b", policy, suite, limit=4, max_new_tokens=24)
    texts = [{(problem, row["sample"]): row["text"] for problem, rows in results.load(found["folder"]).rows.items()
              for row in rows} for found in (whole, resumed)]
    assert texts[0] == texts[1] and len(texts[0]) == 16
    assert whole["pass@1"] == resumed["pass@1"]


def test_the_engine_is_given_the_sampling_that_was_asked_for(tmp_path, monkeypatch):
    """Blocks of two problems; what respond is given, and that each group keeps its problem's number."""
    policy, calls = load_policy(str(tmp_path), "embedded:base", slots=8), []

    def respond(cfg, params, tokenizer, prompt, problems, key, *, on_group, **named):
        calls.append((named, key, [problem.question for problem in problems]))
        for group in reversed(range(len(problems))):
            on_group(group, [Completion(problems[group].question, "", (), 1, False)] * named["samples"])

    monkeypatch.setattr(policies, "respond", respond)
    monkeypatch.setattr(policies, "BLOCK_TOKENS", 2 * 3 * 24)
    problems, _ = questions(SUITES["countdown"], "world", 5)
    got = {}
    policy.answer(problems, [0, 1, 2, 4], Decoding(3, 0.6, 0.95, 7, 24, 5), lambda n, c: got.update({n: c[0].text}))
    assert got == {n: problems[n].question for n in (0, 1, 2, 4)}
    assert [call[2] for call in calls] == [[problems[0].question, problems[1].question],
                                           [problems[2].question, problems[4].question]]
    assert [call[0]["numbers"] for call in calls] == [[0, 1], [2, 4]]
    sampling = calls[0][0]["sampling"]
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.6, 0.95, 7)
    assert (calls[0][0]["samples"], calls[0][0]["max_new_tokens"], calls[0][0]["slots"]) == (3, 24, 8)
    assert len({call[0]["max_prompt_tokens"] for call in calls}) == 1
    policy.answer(problems, [0], Decoding(3, 0.6, 0.95, 7, 24, 6), lambda n, c: None)
    assert not (jax.random.key_data(calls[-1][1]) == jax.random.key_data(calls[0][1])).all()  # the seed


def test_a_prompt_that_does_not_fit_leaves_nothing_behind(tmp_path):
    policy = load_policy(str(tmp_path), "embedded:base")
    with pytest.raises(ConfigError, match="exceed the model's context of 512; lower the token budget"):
        run(tmp_path / "new", policy, SUITES["countdown"], max_new_tokens=600)
    assert not (tmp_path / "new").exists()


def test_weights_that_change_are_another_model(tmp_path):
    folder = tmp_path / "qwen"
    shutil.copytree(GOLDEN / "qwen2", folder)
    before = policies._files_digest(folder)
    file = next(folder.glob("*.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert policies._files_digest(folder) != before
    assert len(load_policy(str(tmp_path), "embedded:base").identity["weights"]) == 16
