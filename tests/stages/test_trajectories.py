"""From samples to records: what is graded by whom, what is left out and how often, what is chosen."""

from collections import Counter
from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import Problem
from r1jax.core.settings import ChatConfig, CollectConfig, DataConfig, FilterConfig
from r1jax.data import record_files
from r1jax.data.world.wording import TINY
from r1jax.rewards import readability
from r1jax.stages import rejection, trajectories
from r1jax.stages.policies import load_policy
from r1jax.stages.trajectories import Sampled
from tests.stages import collected
from tests.stages.collected import COLLECT, Clerk, adds_up, colour_of, experiment, put_policy, said, silent, solved

OPEN = replace(COLLECT, judged=("open",))


def test_judged_domains_go_to_the_judge_and_the_others_to_their_rule():
    clerk, counts = Clerk(), {}
    sums, colour = collected.sum_of(4), colour_of(1)
    rows = [*said(colour, "so \\boxed{red 1} .", "<think> hm . </think> <answer> blue </answer>"),
            *said(sums, solved(4), solved(5), "<answer> 4 + </answer>", "no idea"),
            *said(replace(colour, answer=""), "<answer> red </answer>"), *said(colour, "<think> I am not done")]
    kept = trajectories.right(rows, OPEN, clerk, TINY, counts)
    assert kept == [rows[0], rows[2]]
    assert clerk.seen == ["check : what is 1 ? reference red 1 answer so \\boxed{red 1} .",
                          "check : what is 1 ? reference red 1 answer blue"]
    assert counts == {"open": {"asked": 4, "judged wrong": 1, "unreadable gold": 1, "no answer": 1},
                      "countdown": {"asked": 4, "wrong": 1, "unreadable answer": 1, "no answer": 1}}


def test_what_was_cut_off_is_graded_by_nobody():
    clerk, counts = Clerk(), {}
    rows = said(colour_of(1), "<answer> red 1 </answer>", "<answer> red 1 </answer>", truncated=(0,))
    assert trajectories.right(rows, OPEN, clerk, TINY, counts) == rows[1:]
    assert len(clerk.seen) == 1 and counts == {"open": {"asked": 2, "cut off": 1}}


@pytest.mark.parametrize(("reply", "reason"), [
    ("perhaps", "malformed reply"), ("", "malformed reply"), (silent(), "no reply"), ("incorrect", "judged wrong")])
def test_a_judge_without_a_verdict_leaves_the_sample_out_and_says_so(reply, reason):
    counts = {}
    rows = [*said(colour_of(1), "red 1"), *said(colour_of(2), "red 2")]
    clerk = Clerk(lambda text: reply if "what is 1 ?" in text else None)
    assert trajectories.right(rows, OPEN, clerk, TINY, counts) == rows[1:]
    assert counts == {"open": {"asked": 2, reason: 1}}


def test_a_judge_that_talks_nonsense_stops_the_run():
    rows = [row for number in range(32) for row in said(colour_of(number), f"red {number}")]
    clerk = Clerk(lambda text: "the sea" if int(text.split()[4]) < 16 else None)
    assert len(trajectories.right(rows, OPEN, clerk, TINY, {})) == 16  # half of them
    clerk = Clerk(lambda text: "the sea" if int(text.split()[4]) < 17 else None)
    with pytest.raises(DataError, match="17 of 32 replies .* asked for a verdict on an answer, cannot be read"):
        trajectories.right(rows, OPEN, clerk, TINY, {})


def test_unchecked_domains_keep_what_is_wrong_but_not_what_was_cut_off():
    counts = {}
    rows = [*said(colour_of(1), "blue", "red", truncated=(1,)), *said(collected.sum_of(4), solved(5))]
    assert trajectories.right(rows, replace(COLLECT, unchecked=("open",)), None, None, counts) == rows[:1]
    assert counts == {"open": {"asked": 2, "cut off": 1}, "countdown": {"asked": 1, "wrong": 1}}


def test_a_domain_without_a_rule_is_counted_as_that():
    counts = {}
    assert trajectories.right(said(colour_of(1), "red 1"), COLLECT, None, None, counts) == []
    assert counts == {"open": {"asked": 1, "no rule": 1}}


LONG = "first I add three , then I take four away , and so at last there are nine left over here ."
FAULTY = {
    "unreadable form": "so 5", "empty thought": "<think> </think> so 5", "code block in the thought":
    "<think> I write\n```\nx\n```\n </think> so 5", "endless loop": f"<think> {'no wait . ' * 30}</think> so 5",
    "repetition": f"<think> {LONG} {LONG} yes {LONG.upper()} </think> so 5",
    "wrong language": "<think> 我 想 先 加 三 再 减 四 这样 就 得到 九 </think> so 5",
    "mixed languages": "<think> first I add three , 然后 减 四 , then there are nine left </think> so 5",
    "long paragraph": f"<think> {' '.join(f'then {i} is more than {i - 1}' for i in range(9))} </think> so 5",
    "wrong equation": "<think> first 3 * 5 = 16 , so it is more than ten , and I am done with it </think> so 16",
}


def test_all_faults_are_here():
    assert set(FAULTY) == set(readability.FAULTS)


@pytest.mark.parametrize("reason", FAULTY)
def test_every_fault_of_a_text_is_counted_by_its_name(reason):
    filters, counts = FilterConfig(language=0.8, paragraph=30, equations=True), {}
    good = "<think> I add . </think> so 5"
    rows = said(collected.sum_of(4), good, FAULTY[reason], good)
    assert trajectories.readable(rows, filters, "summary", counts) == [rows[0], rows[2]]
    assert counts == {"countdown": {reason: 1}}


def test_a_simple_question_needs_no_thought_where_its_domain_says_so():
    rows = said(collected.sum_of(4), "so 5", "<think> I add . </think> so 5", "<think> so 5", "so 5 </answer>")
    counts = {}
    assert trajectories.readable(rows, FilterConfig(), "summary", counts, {"countdown"}) == rows[:2]
    assert trajectories.readable(rows, FilterConfig(), "summary", counts, {"open"}) == rows[1:2]
    assert counts == {"countdown": {"unreadable form": 2 + 3}}


def test_the_question_says_which_language_is_right():
    counts = {}
    chinese = said(collected.sum_of(4, "zh"), FAULTY["wrong language"], "<think> I add three , then four . </think> 5")
    assert trajectories.readable(chinese, FilterConfig(), "summary", counts) == chinese[:1]
    assert counts == {"countdown": {"wrong language": 1}}


def test_at_most_so_many_of_a_problem_are_chosen_and_no_text_twice():
    one, two = collected.sum_of(1), collected.sum_of(2)
    rows = [*said(one, "a", "b", "a", "c", "a"), *said(two, "a", "a")]
    found = []
    for seed in range(64):
        counts = {}
        kept = trajectories.chosen(rows, 2, np.random.default_rng(seed), counts)
        assert counts == {"countdown": {"not needed": 4}}
        assert kept == trajectories.chosen(rows, 2, np.random.default_rng(seed), {})
        assert [id(row) for row in kept] == [id(row) for row in rows if row in kept and any(row is k for k in kept)]
        assert kept[2] is rows[5]  # of equal texts the first
        found.append("".join(row.text for row in kept[:2]))
    assert set(found) == {"ab", "ac", "bc"} and min(Counter(found).values()) >= 10


def test_a_part_chooses_by_its_seed_and_number():
    rows = said(collected.sum_of(1), *(str(i) for i in range(40)))
    base = experiment(rejection.run)

    def drawn(seed, part):
        return trajectories.chosen(rows, 5, trajectories.rng_of(replace(base, seed=seed), part), {})

    assert drawn(0, 1) == drawn(0, 1)
    assert len({tuple(row.text for row in drawn(seed, part)) for seed in (0, 1) for part in (0, 1, 2)}) == 6


KINDS = (*FAULTY.values(), "",
         *(f"<think> I add . </think> so \\boxed{{{answer}}} ." for answer in ("4 + 1", "5 + 1", "red 4")))


@given(st.lists(st.tuples(st.sampled_from(("countdown", "open", "general")), st.sampled_from((4, 5)),
                          st.sampled_from(KINDS), st.booleans()), max_size=24), st.integers(1, 3))
def test_what_was_asked_is_what_was_kept_and_removed(drawn, keep):
    rows = []
    for domain, number, text, cut in drawn:
        problem = collected.sum_of(number) if domain == "countdown" else replace(colour_of(number), domain=domain)
        rows.append(Sampled(problem, text, "hand", cut))
    counts = {}
    clerk = Clerk(lambda text: "hm" if "what is 5" in text else None)
    kept = trajectories.right(rows, OPEN, clerk, TINY, counts)
    kept = trajectories.readable(kept, FilterConfig(), "summary", counts)
    kept = trajectories.chosen(kept, keep, np.random.default_rng(0), counts)
    part = trajectories.part_of(kept, "reasoning", counts)
    assert part.counts is counts and adds_up(counts)
    assert sum(row["asked"] for row in counts.values()) == len(rows)
    assert sum(row["kept"] for row in counts.values()) == len(part.rows) == len(kept)
    assert all(n <= keep for n in Counter(row["problem"] for row in part.rows).values())


def test_a_record_has_all_that_fine_tuning_reads_and_survives_a_file(tmp_path):
    meta = {"options": ("金", "e\u0301"), "kind": "x"}
    problem = Problem("stem/1", "stem", "什么 是 金 ? \U0001f600", "A", "zh", meta)
    row = Sampled(problem, "<think> 我 想 </think> \\boxed{A} \x00\u2028", "dev2@tiny")
    part = trajectories.part_of([row], "reasoning", {}, ["<think> before"])
    assert part.rows == [{
        "problem": "stem/1", "domain": "stem", "language": "zh", "question": "什么 是 金 ? \U0001f600",
        "response": "<think> 我 想 </think> \\boxed{A} \x00\u2028", "answer": "A", "source": "dev2@tiny",
        "kind": "reasoning", "meta": meta | {"before": "<think> before"}}]
    record_files.write_all(tmp_path / "records", part.rows)
    read, = record_files.Records(tmp_path / "records")
    assert read == part.rows[0] | {"meta": part.rows[0]["meta"] | {"options": ["金", "e\u0301"]}}
    assert problem.meta == {"options": ("金", "e\u0301"), "kind": "x"}  # as it was
    assert "before" not in trajectories.part_of([row], "reasoning", {}).rows[0]["meta"]


def test_no_more_questions_are_asked_than_wanted(monkeypatch):
    collected.ask(monkeypatch, [colour_of(n) for n in range(9)])
    collect = replace(COLLECT, questions=5, questions_per_file=2)
    draw = trajectories.draw(experiment(rejection.run, collect), None)
    assert trajectories.parts(experiment(rejection.run, collect)) == 3
    assert [[p.id for p in draw(part)] for part in range(3)] == [["open/0", "open/1"], ["open/2", "open/3"], ["open/4"]]


@pytest.mark.parametrize(("change", "sentence"), [
    ({"questions": 0}, "collect.questions=0 must be at least 1"), ({"samples": 0}, "collect.samples=0 must be"),
    ({"keep": -1}, "collect.keep=-1 must be"), ({"questions_per_file": 0}, "collect.questions_per_file=0"),
    ({"max_new_tokens": 0}, "collect.max_new_tokens=0"), ({"slots": 0}, "collect.slots=0"),
    ({"filters": FilterConfig(language=2.0)}, "filters.language is 2.0"),
    ({"decontaminate": ("chess",)}, "The suite 'chess' is unknown"),
    ({"decontaminate": ("countdown",)}, "collect.decontaminate names countdown"),
])
def test_settings_that_mean_nothing_are_refused_before_anything_is_sampled(change, sentence):
    with pytest.raises(ConfigError, match=sentence):
        trajectories.check(experiment(rejection.run, replace(COLLECT, **change)), None)


def test_an_experiment_without_a_collection_or_with_domains_that_have_no_question():
    with pytest.raises(ConfigError, match="records collects responses: give the experiment file collect=Coll"):
        trajectories.check(experiment(rejection.run, None), None)
    with pytest.raises(ConfigError, match="asks for chess, of which the tiny world has no questions; its domains are "
                                          "countdown, arithmetic, .*open"):
        trajectories.check(experiment(rejection.run, domains=("countdown", "chess")), None)
    trajectories.check(experiment(rejection.run, data=DataConfig(source="own.jsonl", domains=(("chess", 1.0),))), None)


@pytest.mark.parametrize(("change", "domains", "sentence"), [
    ({}, ("countdown", "open"), "There is no rule for answers of open, so that none would be kept; name it"),
    ({"judged": ("opne",)}, ("countdown",), "names opne, of which data.domains asks nothing; it asks countdown"),
    ({"unchecked": ("open",)}, ("countdown",), "names open, of which"),
    ({"simple": ("arithmetic",)}, ("countdown",), "or collect.simple names arithmetic, of which data.domains asks"),
    ({"judged": ("open",), "unchecked": ("open",)}, ("open",), "open cannot be in both"),
])
def test_domains_that_nothing_would_grade(change, domains, sentence):
    with pytest.raises(ConfigError, match=sentence):
        trajectories.check_graded(experiment(rejection.run, replace(COLLECT, **change), domains=domains))


def test_domains_that_something_grades():
    for change in ({"judged": ("open",)}, {"unchecked": ("open",)}):
        trajectories.check_graded(experiment(rejection.run, replace(COLLECT, **change)))
    files = DataConfig(mixture=(("open=own.jsonl", 1.0),))
    trajectories.check_graded(experiment(rejection.run, OPEN, data=files, chat=ChatConfig()))


def test_samples_of_a_problem_are_side_by_side_and_a_function_of_the_key(tmp_path, micro, policy):
    put_policy(tmp_path / "store", "r1-zero", micro(), policy)
    loaded = load_policy(str(tmp_path / "store"), "r1-zero@micro", slots=8)
    problems = [collected.sum_of(n) for n in (3, 4)]
    config = CollectConfig(questions=2, samples=3, max_new_tokens=10, max_prompt_tokens=44)
    rows = trajectories.sample(loaded, loaded.mesh, problems, 3, jax.random.key(0), config, "r1-zero@micro")
    assert [row.problem.id for row in rows] == [p.id for p in problems for _ in range(3)]
    assert {row.source for row in rows} == {"r1-zero@micro"} and any("<think>" in row.text for row in rows)
    assert rows == trajectories.sample(loaded, loaded.mesh, problems, 3, jax.random.key(0), config, "r1-zero@micro")
    assert rows != trajectories.sample(loaded, loaded.mesh, problems, 3, jax.random.key(1), config, "r1-zero@micro")
    with pytest.raises(ConfigError, match="prompt"):  # longer than the room for it
        trajectories.sample(loaded, loaded.mesh, problems, 1, jax.random.key(0), replace(config, max_prompt_tokens=2),
                            "r1-zero@micro")
