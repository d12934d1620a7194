"""Rejection sampling: what of many samples becomes data, what the table says, and runs that were interrupted."""

from dataclasses import replace

import pytest

from r1jax.core.errors import ConfigError, DataError
from r1jax.core.settings import FilterConfig
from r1jax.data.record_files import Records
from r1jax.data.record_manifests import manifest_path
from r1jax.stages import chat as chats
from r1jax.stages import collecting, rejection
from r1jax.stages.run import run_experiment
from r1jax.store import Store
from r1jax.store.files import read_json
from tests.stages.collected import (
    COLLECT,
    Clerk,
    adds_up,
    by_hand,
    colour_of,
    experiment,
    files,
    put_parents,
    put_policy,
    silent,
    solved,
    sum_of,
)

JUDGED = replace(COLLECT, samples=5, keep=2, judged=("open",), filters=FilterConfig(language=0.0))
QUESTIONS = [sum_of(4), colour_of(1), sum_of(5, "zh"), colour_of(2), sum_of(6), colour_of(3)]
THOUGHTS = ("I start with the first of the two .", "we take both .", "so be it , then .", "I guess , not knowing .")


def answers(problem, sample):
    """Of five samples: right, right, right (with another thought each), wrong, and one that cannot be read."""
    if problem.domain == "open":
        thought = f"{problem.id} {THOUGHTS[sample % 4]}"
        good = f"<think> {thought} </think> so \\boxed{{{problem.answer}}} ."
        return good if sample < 3 else good.replace("red", "blue") if sample == 3 else f"{good} </think>"
    number = problem.meta["numbers"][0]
    good = solved(number, "summary", f"{number} {THOUGHTS[sample % 4]}")
    return good if sample < 3 else solved(number + 1, "summary") if sample == 3 else "<think> I ..."


@pytest.fixture
def run(tmp_path, monkeypatch, one_device):
    """(judge, store's name, collect, answers, changes) -> the artifact."""
    monkeypatch.setattr(chats, "artifact_policy", lambda artifact, mesh: None)

    def start(judge=None, name="store", collect=JUDGED, answering=answers, questions=QUESTIONS, **changes):
        by_hand(monkeypatch, rejection, answering, questions)
        monkeypatch.setattr(chats, "policy_chat", lambda policy: judge or Clerk())
        put_parents(tmp_path / name, "r1-zero", "chat")
        return run_experiment(experiment(rejection.run, collect, **changes), str(tmp_path / name))

    return start


def test_a_run_by_hand(run, capfd):
    artifact = run()
    assert read_json(artifact.path / "table.json") == {
        "countdown": {"asked": 15, "cut off": 3, "wrong": 3, "not needed": 3, "kept": 6},
        "open": {"asked": 15, "no answer": 3, "judged wrong": 3, "not needed": 3, "kept": 6}}
    assert artifact.summary() == {
        "records": 12.0, "records/countdown": 6.0, "records/open": 6.0, "asked": 30.0, "removed/cut off": 3.0,
        "removed/wrong": 3.0, "removed/not needed": 6.0, "removed/judged wrong": 3.0, "removed/no answer": 3.0}
    rows = list(Records(artifact.path / "records"))
    assert [row["problem"] for row in rows] == [p.id for p in QUESTIONS for _ in range(2)]
    assert {(row["source"], row["kind"]) for row in rows} == {("r1-zero@micro", "reasoning")}
    assert [row["language"] for row in rows[4:6]] == ["zh", "zh"] and rows[2]["answer"] == "red 1"
    assert all(row["response"] in [answers(p, i) for i in range(3)]
               for p in QUESTIONS for row in rows if row["problem"] == p.id)
    assert rejection_lines(capfd.readouterr().err) == ["records@micro: what was asked, removed and kept",
                                                       "kept                  6     6     12"]


def rejection_lines(text):
    return [line for line in text.splitlines() if line.startswith(("records@micro: what", "kept"))]


def test_every_part_counts_what_it_kept_and_adds_up(run):
    artifact = run()
    for part in range(3):
        path = artifact.path / "records" / "raw" / f"{part:05d}.array_record"
        counts = read_json(manifest_path(path))["counts"]
        assert adds_up(counts) and [counts[domain]["kept"] for domain in ("countdown", "open")] == [2, 2]


def test_the_seed_decides_which_right_samples_stay(run):
    def texts(name, **changes):
        return [row["response"] for row in Records(run(name=name, **changes).path / "records")]

    first = texts("a")
    assert first == texts("b")
    assert len({tuple(texts(f"seed{seed}", seed=seed)) for seed in range(4)}) > 2
    assert set(texts("all", collect=replace(JUDGED, keep=3))) == {answers(p, i) for p in QUESTIONS for i in range(3)}


def test_targets_and_questions_that_come_again(run):
    collect = replace(JUDGED, keep=3, targets=(("open", 4),))
    artifact = run(collect=collect, questions=[*QUESTIONS[:4], *QUESTIONS[:2]])  # the last part is the first again
    assert read_json(artifact.path / "table.json") == {
        "countdown": {"asked": 15, "cut off": 3, "wrong": 3, "duplicate": 3, "kept": 6},
        "open": {"asked": 15, "no answer": 3, "judged wrong": 3, "duplicate": 3, "over target": 2, "wanted": 4,
                 "kept": 4}}


def other_answers():
    """As `answers`, with other thoughts whenever a question comes again."""
    asked = {}

    def answer(problem, sample):
        asked[problem.id] = asked.get(problem.id, -1) + 1
        words = ("alpha", "river", "stone", "tiger", "violet", "bread")[asked[problem.id] // 5]
        return answers(problem, sample).replace("<think>", f"<think> {words} {words}s and then some {words} :")

    return answer


@pytest.mark.parametrize(("collect", "kept"), [({}, [6, 2]), ({"keep_in_all": True}, [2, 2])])
def test_how_many_stay_of_a_question_in_three_parts(run, collect, kept):
    questions = [QUESTIONS[0], QUESTIONS[2], QUESTIONS[0], QUESTIONS[4], QUESTIONS[0], sum_of(7)]
    artifact = run(collect=replace(JUDGED, judged=(), **collect), questions=questions, answering=other_answers(),
                   domains=("countdown",))
    problems = [row["problem"] for row in Records(artifact.path / "records")]
    assert [problems.count(problem.id) for problem in questions[:2]] == kept
    table = read_json(artifact.path / "table.json")
    assert adds_up(table) and table["countdown"]["kept"] == kept[0] + 6


def test_the_last_part_asks_what_is_left(run):
    artifact = run(collect=replace(JUDGED, questions=5))
    assert artifact.summary()["asked"] == 25


# Ablations.


def test_without_a_judge_wrong_answers_stay(run):
    collect = replace(JUDGED, judged=(), unchecked=("open",), keep=5)
    artifact = run(lambda requests: pytest.fail("asked"), collect=collect, parents=(("policy", "r1-zero"),), chat=None)
    table = read_json(artifact.path / "table.json")
    assert table["open"] == {"asked": 15, "unreadable form": 3, "kept": 12}
    assert any("blue" in row["response"] for row in Records(artifact.path / "records"))


def test_without_filters_what_has_a_form_stays(run):
    """A response without its own language is kept by filters that allow every language, and left out by the others."""
    def foreign(problem, sample):
        return answers(problem, sample).replace("we take both", "我 们 两 个 都 要")

    collect = replace(JUDGED, keep=5)
    kept = run(collect=collect, answering=foreign, name="all").summary()
    assert kept["records"] == 18
    found = run(collect=replace(collect, filters=FilterConfig()), answering=foreign).summary()
    assert found["records"] + found["removed/wrong language"] + found.get("removed/mixed languages", 0) == 18


# What goes wrong.


def test_a_judge_with_few_faults_leaves_those_samples_out(run):
    def odd(text):
        return "hm" if "what is 2" in text and "blue" not in text else None

    table = read_json(run(Clerk(odd)).path / "table.json")
    assert table["open"] == {"asked": 15, "no answer": 3, "judged wrong": 3, "malformed reply": 3, "not needed": 2,
                             "kept": 4}
    assert adds_up(table)


def test_a_judge_of_nonsense_stops_a_part_that_asks_little_and_a_good_one_goes_on(run, tmp_path):
    """A part has two open questions with five samples each, of which one has no answer to ask about."""
    questions, collect = [colour_of(1), colour_of(2), sum_of(4), sum_of(5)], replace(JUDGED, questions=4)
    whole = files(run(name="whole", questions=questions, collect=collect))
    with pytest.raises(DataError, match="^8 of 8 replies of the chat model, asked for a verdict on an answer, cannot"):
        run(Clerk(lambda text: "hm"), questions=questions, collect=collect)
    assert files(Store(tmp_path / "store").get("records@micro")) == {}
    assert files(run(questions=questions, collect=collect)) == whole


def test_where_too_little_is_asked_to_say_so_the_table_tells_of_nonsense(run):
    with pytest.raises(DataError, match=r"nothing is left of open;(?s:.*)malformed reply +0 +12 +12\n"):
        run(Clerk(lambda text: "hm"))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_judge_that_goes_down_is_waited_for_and_nothing_is_lost(run, tmp_path, part):
    whole = files(run(name="whole"))
    with pytest.raises(chats.ChatDown, match=r"did not answer 4 of 4 requests \(503: overloaded\): give the same"):
        run(Clerk(lambda text: silent() if f"what is {part + 1}" in text else None))
    artifact = Store(tmp_path / "store").get("records@micro")
    assert not artifact.finished and sum(name.endswith("record") for name in files(artifact)) == part
    clerk = Clerk()
    assert files(run(clerk)) == whole
    assert len(clerk.seen) == 4 * (3 - part)


@pytest.mark.parametrize("stop", range(6))
def test_a_run_that_was_killed_at_a_question_ends_with_the_same_bytes(run, stop):
    whole = files(run(name="whole"))

    def killed(problem, sample):
        if problem is QUESTIONS[stop] and sample == 2:
            raise KeyboardInterrupt
        return answers(problem, sample)

    with pytest.raises(KeyboardInterrupt):
        run(answering=killed)
    artifact = run()
    assert artifact.finished and files(artifact) == whole


def test_a_run_that_was_killed_while_it_was_concluded(run, monkeypatch):
    whole = files(run(name="whole"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(collecting.record_files, "write_all", stopped)
        run()
    assert files(run()) == whole


def stopped(*_, **__):
    raise KeyboardInterrupt


def test_nothing_left_stops_with_the_table(run):
    with pytest.raises(DataError) as told:
        run(answering=lambda problem, sample: "I do not know" if sample else "<think> I ...")
    said = str(told.value)
    assert said.startswith("records@micro has no records left; ask more questions or loosen what removed most.")
    assert [line.split() for line in said.splitlines()[1:]] == [
        ["countdown", "open", "total"], ["asked", "15", "15", "30"], ["cut", "off", "3", "3", "6"],
        ["no", "answer", "12", "0", "12"], ["judged", "wrong", "0", "12", "12"], ["kept", "0", "0", "0"]]


def test_a_one_sided_result_stops_with_the_table(run):
    with pytest.raises(DataError, match="one-sided: only countdown is left, nothing is left of open;(?s:.*)judged wr"):
        run(Clerk(lambda text: "incorrect" if text.startswith("check") else None))


def test_a_policy_that_writes_the_other_form_leaves_nothing(tmp_path, micro, policy, one_device):
    """The bigram table's responses end with answer tags, which have no place in R1's form."""
    put_policy(tmp_path / "store", "r1-zero", micro(), policy)
    base = experiment(rejection.run, replace(JUDGED, judged=(), questions=24, max_new_tokens=12, slots=8),
                      domains=("stem",), model=micro().model, parents=(("policy", "r1-zero"),), chat=None)
    with pytest.raises(DataError, match=r"(?s)no records left.*unreadable form +[1-9]"):
        run_experiment(base, str(tmp_path / "store"))
    missing = replace(base, parents=(("policy", "r1-nought"),))
    with pytest.raises(Exception, match="r1-nought@micro") as told:
        run_experiment(missing, str(tmp_path / "other"))
    assert "r1-zero" not in str(told.value)


@pytest.mark.parametrize(("changes", "collect", "sentence"), [
    ({"parents": ()}, {"judged": ()}, "records needs a parent in the role 'policy'"),
    ({"parents": (("policy", "r1-zero"),)}, {}, "needs one chat model and has none"),
    ({"chat": None}, {}, "records needs a chat model"),
    ({}, {"judged": ()}, "There is no rule for answers of open"),
    ({}, {"samples": 0}, "collect.samples=0"),
    ({}, {"keep_in_all": True, "duplicates": True}, "keep_in_all is for .* collect.duplicates is set: leave one"),
])
def test_what_cannot_work_is_refused(changes, collect, sentence):
    domains = ("countdown",) if sentence.startswith("records needs a parent") else ("countdown", "open")
    with pytest.raises(ConfigError, match=sentence):
        rejection.check(experiment(rejection.run, replace(JUDGED, **collect), domains=domains, **changes), None)


def test_no_chat_model_is_needed_where_nobody_judges():
    rejection.check(experiment(rejection.run, COLLECT, domains=("countdown",), chat=None,
                               parents=(("policy", "r1-zero"),)), None)
