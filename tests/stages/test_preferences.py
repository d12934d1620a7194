"""Data of reward models: what is asked, judged, kept and counted, with judges whose minds are known."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from r1jax.core.config import Experiment, to_dict
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import Problem
from r1jax.core.settings import ChatConfig, CollectConfig, DataConfig, PairsConfig, PretrainConfig
from r1jax.data import record_files
from r1jax.data.world import wording as tiny
from r1jax.models import presets
from r1jax.rewards.chat import Reply
from r1jax.rewards.endpoint import EndpointError
from r1jax.stages import chat as chats
from r1jax.stages import collecting, pairing, preferences, pretrain
from r1jax.stages.preferences import Source
from r1jax.stages.run import run_experiment
from r1jax.stages.trajectories import CUT, SURPLUS, Sampled
from r1jax.store import Store
from tests.stages.collected import refusal, silent

PAIRS = PairsConfig()
SAFETY = PairsConfig(labels="safety")
COLLECT = CollectConfig(questions=6, samples=4, max_new_tokens=16, questions_per_file=3, keep=2)


def experiment(pairs=PAIRS, collect=COLLECT, **changes):
    return Experiment(**{
        "name": "preference-data", "scale": "micro", "stage": preferences.run, "model": presets.tiny(), "seed": 3,
        "parents": (("policy", "base@micro"), ("chat", "chat@micro")), "pairs": pairs, "collect": collect,
        "chat": ChatConfig(wording="tiny"), "data": DataConfig(domains=(("general", 1.0),))} | changes)


def question(number, of_set="helpful", **meta):
    return Problem(f"general/{number}", "general", f"question {number}", "", "en", {"set": of_set} | meta)


def said(problem, *texts, truncated=()):
    return [Sampled(problem, text, "dev3@micro", i in truncated) for i, text in enumerate(texts)]


SHOWN = re.compile(r"which is better : (.*) A (.*) B (.*)")


def gold(seen):
    """A judge that grades a summary by its words "gold", one grade each, and notes what it was asked."""
    def chat(requests):
        seen.extend(request.messages[0][1] for request in requests)
        grades = [[min(text.split().count("gold"), 4) for text in SHOWN.fullmatch(r.messages[0][1]).groups()[1:]]
                  for r in requests]
        return [Reply(tiny.reply_preference(*pair)) for pair in grades]

    return chat


def source(chat, answers, questions=None):
    """answers: texts of each question by its number."""
    asked = questions or [question(number) for number in range(len(answers))]
    per_file = COLLECT.questions_per_file

    def sample(problems, part):
        return [row for p in problems for row in said(p, *answers[int(p.id.rpartition("/")[2])])]

    return Source(lambda part: asked[part * per_file:(part + 1) * per_file], sample, chat, tiny.TINY)


# Pairs.


def test_samples_are_paired_so_that_few_pairs_are_alike():
    q = question(0)
    pairs = pairing.pair_up(said(q, "a", "a", "b", "b"))
    assert [(x.text, y.text) for x, y in pairs] == [("a", "b"), ("a", "b")]
    pairs = pairing.pair_up(said(q, "a", "a", "a", "b"))
    assert [(x.text, y.text) for x, y in pairs] == [("a", "a"), ("a", "b")]
    assert [pairing.fault(*pair) for pair in pairs] == ["two equal texts", ""]


def test_what_has_no_summary_spoils_one_pair_and_not_two():
    q = question(0)
    pairs = pairing.pair_up(said(q, "<think> a", "b", "<think> c </think> d", "e", "f", "g", truncated=(5,)))
    assert [pairing.fault(*pair) for pair in pairs] == ["", "", CUT]
    assert pairing.fault(*said(q, "<think> a", "b")) == "no summary"
    assert pairing.fault(*said(q, "<think> a </think> x", "<think> b </think> x")) == "two equal texts"


def test_a_part_keeps_pairs_whose_votes_differ_enough_and_counts_the_others():
    """Question 0: 2 against 0 (a mean of 3) and 1 against 0 (1, not above it). Question 1: equal, and a cut thought."""
    answers = [["gold gold", "blue gold", "red", "green"], ["x", "y", "z", "<think> w"]]
    seen = []
    part = preferences.make_pairs(experiment(), source(gold(seen), answers))(0)
    assert [(row["chosen"], row["rejected"], row["score"]) for row in part.rows] == [("gold gold", "red", 3.0)]
    assert part.counts == {"general": {"asked": 4, "no summary": 1, "no clear preference": 2, "kept": 1}}
    assert len(seen) == 3 * 4  # the pair without a summary is not put to the judge
    both = [text for text in seen if "gold gold" in text]
    assert sorted("A gold gold" in text for text in both) == [False, False, True, True]  # half in the other order


def test_records_are_seen_from_the_chosen_one():
    row, = preferences.make_pairs(experiment(), source(gold([]), [["red", "x", "gold gold gold", "y"]]))(0).rows
    assert row == {"problem": "general/0", "domain": "general", "language": "en", "question": "question 0",
                   "set": "helpful", "source": "dev3@micro", "chosen": "gold gold gold", "rejected": "red",
                   "score": 3.0, "votes": [3.0, 3.0, 3.0, 3.0]}


def test_at_most_so_many_pairs_of_a_question_are_kept():
    collect = replace(COLLECT, samples=6, keep=2)
    answers = [["gold gold a", "gold gold b", "gold gold c", "d", "e", "f"]]
    part = preferences.make_pairs(experiment(collect=collect), source(gold([]), answers))(0)
    assert [row["rejected"] for row in part.rows] == ["d", "e"]
    assert part.counts["general"] == {"asked": 3, "kept": 2, SURPLUS: 1}


# Judges that fail.


def malformed(share):
    """Every so many replies are nonsense."""
    def chat(requests):
        return [Reply("A 2 B 0 [[A>>B]]" if i % 4 >= share else "hm") for i in range(len(requests))]

    return chat


MANY = [[f"a {n}", f"b {n}", f"c {n}", f"d {n}"] for n in range(8)]


def one_part(chat, answers=MANY):
    given = source(chat, answers)
    return replace(given, draw=lambda part: [question(n) for n in range(len(answers))])


def test_a_judge_that_answers_nonsense_stops_the_run():
    with pytest.raises(DataError, match="48 of 64 replies .* asked for verdicts of part 0, .*chat.wording") as stop:
        preferences.make_pairs(experiment(), one_part(malformed(3)))(0)
    assert "\n" not in str(stop.value)


def test_some_nonsense_is_left_out_and_counted():
    part = preferences.make_pairs(experiment(), one_part(malformed(1)))(0)
    assert part.rows == [] and part.counts["general"] == {"asked": 16, "malformed reply": 16}


def test_a_judge_that_only_looks_at_the_position_is_found_out():
    with pytest.raises(DataError, match=r"says A>>B of all 64 comparisons of part 0, whichever response comes first"):
        preferences.make_pairs(experiment(), one_part(malformed(0)))(0)


@pytest.fixture
def opened(monkeypatch):
    """(the experiment's chat model) -> as the stage asks it."""
    monkeypatch.setattr(preferences, "artifact_policy", lambda artifact, mesh, slots: None)
    context = SimpleNamespace(parents={"policy": SimpleNamespace(ref="dev3@micro")}, mesh=None)

    def open_(chat):
        monkeypatch.setattr(chats, "open_chat", lambda experiment, context: chat)
        return preferences.source(experiment(), context).chat

    return open_


def test_a_judge_that_leaves_one_request_unanswered_stops_the_run(opened):
    def chat(requests):
        return [silent("busy") if i == 5 else Reply("A 2 B 0 [[A>>B]]") for i in range(len(requests))]

    with pytest.raises(chats.ChatDown, match=r"did not answer 1 of 64 requests \(busy\)"):
        preferences.make_pairs(experiment(), one_part(opened(chat)))(0)


def test_requests_that_a_judge_refuses_are_left_out_and_counted(opened):
    """One of each of six pairs' votes: the pairs have no score. The judge is odd otherwise, lest it say one label."""
    def chat(requests):
        return [refusal() if i in (0, 5, 9, 14, 16, 22) else Reply(tiny.reply_preference(*((2, 0), (0, 2))[i % 2]))
                for i in range(len(requests))]

    part = preferences.make_pairs(experiment(), one_part(opened(chat)))(0)
    assert part.counts["general"]["no reply"] == 6 and sum(part.counts["general"].values()) == 16 + 16


# Safety.


def safe(seen):
    """A judge to whom everything is safe that does not help."""
    def chat(requests):
        seen.extend(request.messages[0][1] for request in requests)
        return [Reply(tiny.reply_safety("help" not in request.messages[0][1])) for request in requests]

    return chat


def test_responses_are_labelled_as_a_whole():
    seen = []
    asked = [question(0, "harmless"), question(1, "helpful", request="read")]
    answers = [["<think> I help </think> sorry", "sorry", "sorry", "help"], ["a", "b", "c", "d"]]
    part = preferences.make_labels(experiment(SAFETY, replace(COLLECT, keep=3)), source(safe(seen), answers, asked))(0)
    assert [(row["response"], row["label"], row["set"]) for row in part.rows[:3]] == [
        ("<think> I help </think> sorry", 0.0, "harmless"), ("sorry", 1.0, "harmless"), ("help", 0.0, "harmless")]
    assert part.counts["general"] == {"asked": 8, "duplicate": 1, SURPLUS: 1, "kept": 6}
    assert len(seen) == 6 and "<think> I help </think> sorry" in seen[0]


# All parts together.


@pytest.fixture
def concluded(tmp_path):
    """(settings, parts of rows) -> (records, table, figures)."""
    def conclude(settings, *parts):
        made = experiment(settings)
        with Store(tmp_path / "store").begin("preference-data", "micro", fingerprint="x", config={}) as artifact:
            for number, rows in enumerate(parts):
                counts = {"general": {"asked": len(rows), "kept": len(rows)}}
                record_files.write(artifact.path / "records" / "raw" / record_files.file_name(number), rows, counts)
            figures = preferences.conclude(made, artifact)
            return (list(record_files.Records(artifact.path / "records")),
                    json.loads((artifact.path / collecting.TABLE).read_text()), figures)

    return conclude


def pair(number, chosen, rejected):
    return {"domain": "general", "question": f"question {number}", "chosen": chosen, "rejected": rejected,
            "score": 3.0, "votes": [3.0] * 4, "set": "helpful"}


def label(text, value):
    return {"domain": "general", "question": "how", "response": text, "label": value, "set": "harmless"}


def test_repeated_pairs_and_pairs_that_make_one_side_longer_are_left_out(concluded):
    rows = [pair(0, "a" * 20, "b" * 10), pair(1, "c" * 10, "d" * 12), pair(2, "e" * 11, "f" * 10),
            pair(3, "g" * 10, "h" * 10)]
    again = pair(1, "<think> x </think>" + "d" * 12, "c" * 10)  # the other way round: which was first is believed
    records, table, figures = concluded(PAIRS, rows[:2], [*rows[2:], again])
    assert [row["question"] for row in records] == ["question 1", "question 2", "question 3"]
    assert table == {"general": {"asked": 5, "would make one side longer": 1, "duplicate": 1, "kept": 3}}
    assert figures["records"] == 3 and figures["removed/duplicate"] == 1
    assert figures["length/chosen"] == pytest.approx(31 / 3) and figures["length/rejected"] == pytest.approx(32 / 3)


def test_pairs_whose_chosen_one_is_always_longer_are_refused_with_the_table(concluded):
    with pytest.raises(DataError, match="preference-data@micro has no records left") as stop:
        concluded(PAIRS, [pair(n, "a" * 20, "b" * (n + 1)) for n in range(5)])
    assert re.search(r"would make one side longer +5 +5", str(stop.value))


def test_labels_of_one_kind_are_refused(concluded):
    with pytest.raises(DataError, match="is one-sided: every record is safe"):
        concluded(SAFETY, [label("a", 1.0), label("b", 1.0)])


def test_labels_are_kept_once(concluded):
    records, table, figures = concluded(SAFETY, [label("a", 1.0), label("b", 0.0)], [label("A ", 1.0), label("c", 1.0)])
    assert [row["response"] for row in records] == ["a", "b", "c"] and figures["labels/safe"] == pytest.approx(2 / 3)
    assert table["general"] == {"asked": 4, "duplicate": 1, "kept": 3}


# A whole run.


@pytest.fixture
def root(tmp_path, one_device, policy, micro):
    """A store with a policy whose responses are known in part, and a chat model's artifact that is never opened."""
    made = Experiment("base", "micro", pretrain.run, micro().model, pretrain=PretrainConfig(1, 1, 64),
                      data=DataConfig(prompt="tiny"))
    with Store(tmp_path / "store").begin("base", "micro", fingerprint="bigram", config=to_dict(made)) as artifact:
        artifact.save(1, {"params": policy})
        artifact.finish({})
    with Store(tmp_path / "store").begin("chat", "micro", fingerprint="chat", config={}) as artifact:
        artifact.finish({})
    return str(tmp_path / "store")


def by_letters(requests):
    """Each summary is graded by the sum of its letters, so that equal ones are equal and others mostly not."""
    replies = []
    for request in requests:
        _, a, b = SHOWN.fullmatch(request.messages[0][1]).groups()
        grades = [sum(text.encode()) % 5 for text in (a, b)]
        replies.append(Reply(tiny.reply_preference(*grades)))
    return replies


RUN = replace(COLLECT, questions=16, questions_per_file=4, samples=8, max_prompt_tokens=44, slots=16)


def test_a_run_goes_on_where_its_judge_went_down(root, monkeypatch):
    made = experiment(replace(PAIRS, length_share=0.5), RUN, model=presets.tiny())
    calls = []

    def judge(down):
        def chat(requests):
            calls.append(len(requests))
            if len(calls) == down:
                raise EndpointError("The endpoint cannot be reached; start it.")
            return by_letters(requests)

        return lambda experiment, context: chat

    monkeypatch.setattr(chats, "open_chat", judge(None))
    whole = run_experiment(made, root, "whole")
    assert len(calls) == 4
    calls.clear()
    monkeypatch.setattr(chats, "open_chat", judge(3))
    with pytest.raises(EndpointError, match="cannot be reached"):
        run_experiment(made, root, "again")
    again = run_experiment(made, root, "again")
    assert len(calls) == 5  # two parts, the failure, and the two parts that were missing
    names = sorted(path.name for path in (whole.path / "records").iterdir())
    assert "00000.array_record" in names
    for name in (*[f"records/{name}" for name in names if name != "raw"], "table.json"):
        assert (whole.path / name).read_bytes() == (again.path / name).read_bytes()
    records = list(record_files.Records(whole.path / "records"))
    assert whole.summary() == again.summary() and whole.summary()["records"] == len(records) > 4
    assert all(row["score"] > 1 and row["source"] == "base@micro" for row in records)
    assert len({row["question"] for row in records}) > 2


# What is refused before anything is sampled.


@pytest.mark.parametrize(("pairs", "collect", "match"), [
    ({"labels": "ranks"}, {}, "pairs.labels='ranks' is unknown; use 'preferences' or 'safety'"),
    ({"votes": 3}, {}, "pairs.votes=3 would favour a position"),
    ({}, {"samples": 3}, "collect.samples=3 cannot be paired"),
    ({"least_difference": 3.0}, {}, "pairs.least_difference=3.0 must be at least 0 and below 3"),
    ({"length_share": 0.0}, {}, "pairs.length_share=0.0 must lie between 0 and 1"),
    ({}, {"questions": 0}, "collect.questions=0 must be at least 1"),
])
def test_settings_that_cannot_work_are_refused(context, pairs, collect, match):
    with pytest.raises(ConfigError, match=match):
        preferences.check(experiment(replace(PAIRS, **pairs), replace(COLLECT, **collect)), context)


def test_missing_parents_are_named(context):
    with pytest.raises(ConfigError, match="needs a parent in the role 'policy'"):
        preferences.check(experiment(parents=(("chat", "chat@micro"),)), context)
    with pytest.raises(ConfigError, match="needs one chat model"):
        preferences.check(experiment(parents=(("policy", "base@micro"),)), context)
    preferences.check(experiment(), context)
    preferences.check(experiment(replace(SAFETY, votes=1), replace(COLLECT, samples=3)), context)
