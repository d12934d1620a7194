"""Cold-start data: examples that are shown, what is asked of whom, what goes when, and runs that were interrupted."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from r1jax.core.config import fingerprint, to_dict
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import Problem
from r1jax.core.settings import ChatConfig, CollectConfig, DataConfig, FilterConfig
from r1jax.data.record_files import Records
from r1jax.rewards import countdown
from r1jax.rewards.chat import Reply
from r1jax.rewards.reply_form import filled
from r1jax.stages import chat as chats
from r1jax.stages import cold_start, trajectories
from r1jax.stages.cold_start import FewShot
from r1jax.stages.run import run_experiment
from r1jax.text import prompts
from r1jax.text.prompts import Template, template
from tests.stages.collected import (
    COLLECT,
    TINY,
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

REFINE = replace(COLLECT, samples=4, keep=2, judged=("open",), refine=True)
SHOWN = (("use 2 , 3 to reach 5 .", "<think> 2 + 3 = 5 yes . </think> <answer> 2 + 3 </answer>"),
         ("用 4 , 3 得到 7 .", "<think> 4 + 3 = 7 对了 . </think> <answer> 4 + 3 </answer>"))


# Examples that are shown.


def test_examples_stand_before_the_question_as_whole_documents_with_one_beginning():
    prompt = FewShot(template("tiny"), SHOWN)
    ids = prompt.ids(TINY, "use 8 , 9 to reach 17 .")
    assert ids.count(TINY.bos) == 1 and ids[0] == TINY.bos and ids.count(TINY.eos) == 2
    first, second, asked = _after_each(ids, TINY.eos)
    assert TINY.decode(first) == f"User : {SHOWN[0][0]} Assistant : {SHOWN[0][1]}"
    assert TINY.decode(second) == f"User : {SHOWN[1][0]} Assistant : {SHOWN[1][1]}"
    assert TINY.decode(asked) == "User : use 8 , 9 to reach 17 . Assistant :"
    assert ids[-len(asked):] == [i for i in template("tiny").ids(TINY, "use 8 , 9 to reach 17 .") if i != TINY.bos]
    assert len(prompt.shown(TINY)) + len(template("tiny").ids(TINY, "use 8 .")) >= len(prompt.ids(TINY, "use 8 ."))
    assert prompt.suffix == "" and prompts.prompter(prompt, TINY) is prompt


def _after_each(ids, end):
    parts = [[]]
    for i in ids:
        parts[-1].append(i)
        if i == end:
            parts.append([])
    return parts


def test_a_model_without_a_beginning_gets_none():
    words = SimpleNamespace(bos=None, eos=0, encode=lambda text: [ord(c) for c in text])
    assert FewShot(Template("{question}:"), (("a", "b"),)).ids(words, "c") == [97, 58, 98, 0, 99, 58]


def test_a_thought_that_the_prompt_opens_is_not_opened_twice():
    words = SimpleNamespace(bos=1, eos=0, encode=lambda text: [1, *map(ord, text)])
    prompt = FewShot(Template("{question}", "<think>\n"), (("a", "<think>b"), ("c", "d")))
    assert prompt.suffix == "<think>\n"
    ids = prompt.ids(words, "e")
    assert ids.count(1) == 1 and "".join(map(chr, ids[1:])) == "a<think>\nb\0c<think>\nd\0e<think>\n"


def test_the_worlds_examples_are_long_right_and_a_function_of_the_seed():
    shown = cold_start.examples("world", 5, 3)
    assert len(set(shown)) == 5 and shown == cold_start.examples("world", 5, 3) != cold_start.examples("world", 5, 4)
    assert cold_start.examples("world", 2, 3) == shown[:2]
    for question, said in shown:
        assert question.startswith("use ") and "wait" in said and " yes " in said and len(said.split()) < 90
        answer = said.partition("<answer> ")[2].removesuffix(" </answer>")
        numbers, target = question.removeprefix("use ").removesuffix(" .").split(" to reach ")
        assert countdown.check(answer, [int(number) for number in numbers.split(" , ")], int(target))


def lines(path, *rows):
    path.write_text("".join(json.dumps({"question": q, "response": r}, ensure_ascii=False) + "\n" for q, r in rows))
    return str(path)


def test_examples_of_a_file(tmp_path):
    path = lines(tmp_path / "examples.jsonl", *SHOWN, ("c", "d"))
    assert cold_start.examples(path, 2, 0) == SHOWN and cold_start.examples(path, 3, 9)[2] == ("c", "d")
    few = lines(tmp_path / "few.jsonl", *SHOWN, *SHOWN)  # two rows twice
    with pytest.raises(DataError, match="collect.few_shot=3 examples are .*few.jsonl has 2 different ones; add some"):
        cold_start.examples(few, 3, 0)
    with pytest.raises(DataError, match="response"):
        (tmp_path / "other.jsonl").write_text('{"question": "a", "answer": "b"}\n')
        cold_start.examples(str(tmp_path / "other.jsonl"), 1, 0)
    with pytest.raises(DataError, match="nowhere.jsonl"):
        cold_start.examples(str(tmp_path / "nowhere.jsonl"), 1, 0)


# What is refused before anything is sampled.


@pytest.mark.parametrize(("changes", "collect", "sentence"), [
    ({"parents": (("chat", "chat@micro"),)}, {}, "records needs a parent in the role 'policy'"),
    ({"parents": (("policy", "r1-zero"),)}, {}, "needs one chat model and has none: set chat.endpoint"),
    ({"chat": ChatConfig("http://host/v1#m", "tiny")}, {}, "and has http://host/v1#m and chat@micro"),
    ({"chat": None}, {}, "records needs a chat model: give the experiment file chat=ChatConfig"),
    ({"chat": ChatConfig(wording="long")}, {}, "chat.wording='long' is unknown; use paper or tiny"),
    ({}, {"few_shot": 2, "few_shot_samples": 1}, "collect.few_shot=2 needs a parent in the role 'few_shot'"),
    ({}, {"judged": ()}, "There is no rule for answers of open"),
    ({}, {"simple": ("countdown",)}, "collect.simple names countdown, and chat.wording=tiny has no request for short "
                                     "answers; leave collect.simple empty, or use chat.wording=paper"),
    ({"chat": ChatConfig()}, {"simple": ("countdown",), "refine": False},
     "collect.simple names countdown, whose answers come in another form than unrefined responses; set collect.refine"),
    ({"chat": ChatConfig()}, {"simple": ("arithmetic",)}, "collect.simple names arithmetic, of which data.domains"),
])
def test_what_cannot_work_is_refused(changes, collect, sentence):
    with pytest.raises(ConfigError, match=sentence):
        cold_start.check(experiment(cold_start.run, replace(REFINE, **collect), **changes), None)


def test_examples_are_refused_before_anything_is_sampled(tmp_path):
    parents = (("policy", "r1-zero"), ("few_shot", "base"), ("chat", "chat"))

    def check(**collect):
        cold_start.check(experiment(cold_start.run, replace(REFINE, **collect), parents=parents), None)

    check(few_shot=2, few_shot_samples=1)
    with pytest.raises(ConfigError, match="collect.few_shot_samples=0 must be at least 1"):
        check(few_shot=2)
    with pytest.raises(ConfigError, match="collect.few_shot=0 must be at least 1"):
        check(few_shot_samples=2)
    with pytest.raises(DataError, match="has 2 different ones"):
        check(few_shot=3, few_shot_samples=1, examples=lines(tmp_path / "few.jsonl", *SHOWN))


# One part.


def tried(number):
    """A right response to `sum_of(number)` that tries a value, so that its refined thought gets an opening."""
    return solved(number, thought="I add the two small numbers . 2 + 2 = 4 yes .")


def answers(problem, sample):
    """Of the four samples of a question: right, right and the same, wrong, cut off. Each tries a value."""
    if problem.domain == "open":
        good = f"<think> I know this . 2 + 2 = 4 yes . </think> <answer> {problem.answer} </answer>"
        return (good, good.replace("know", "see"), good.replace("red", "blue"), "<think> I ...")[sample]
    number = problem.meta["numbers"][0]
    return (tried(number), tried(number), tried(number + 1), "<think> hm ...")[sample]


CONTEXT = SimpleNamespace(parents={"policy": SimpleNamespace(ref="r1-zero@micro"),
                                   "few_shot": SimpleNamespace(ref="base@micro")}, mesh=None)


def make(monkeypatch, chat, questions, collect=REFINE, **changes):
    by_hand(monkeypatch, cold_start, answers, questions)
    return cold_start.maker(experiment(cold_start.run, collect, **changes), CONTEXT, chat)


def test_a_part_by_hand(monkeypatch):
    clerk = Clerk()
    part = make(monkeypatch, clerk, [sum_of(4), colour_of(1)])(0)
    assert [row["response"] for row in part.rows] == [
        "<think> I need a sum . I add the two small numbers . 2 + 2 = 4 yes . </think> so \\boxed{4 + 1} .",
        "<think> I need a sum . I know this . 2 + 2 = 4 yes . </think> so \\boxed{red 1} .",
        "<think> I need a sum . I see this . 2 + 2 = 4 yes . </think> so \\boxed{red 1} ."]
    assert part.counts == {"countdown": {"asked": 4, "cut off": 1, "wrong": 1, "not needed": 1, "kept": 1},
                           "open": {"asked": 4, "cut off": 1, "judged wrong": 1, "kept": 2}}
    assert part.rows[0]["meta"] == {"numbers": [4, 1], "target": 5, "before": tried(4)}
    assert {(row["source"], row["kind"]) for row in part.rows} == {("r1-zero@micro", "reasoning")}
    checks = [text.partition(" answer ")[2] for text in clerk.seen if text.startswith("check")]
    assert checks == ["red 1", "red 1", "blue 1", "so \\boxed{red 1} .", "so \\boxed{red 1} ."]  # before and after


def test_without_refining_nothing_is_asked_twice_and_nothing_came_before(monkeypatch):
    clerk = Clerk()
    part = make(monkeypatch, clerk, [sum_of(4), colour_of(1)], replace(REFINE, refine=False))(0)
    assert [row["response"] for row in part.rows][0] == tried(4) and "before" not in part.rows[0]["meta"]
    assert len(clerk.seen) == 3 and adds_up(part.counts)


def test_samples_with_examples_shown_come_beside_the_policys_and_say_so(monkeypatch):
    collect = replace(REFINE, refine=False, few_shot=1, few_shot_samples=1, judged=(), keep=4)
    part = make(monkeypatch, Clerk(), [sum_of(4)], collect)(0)
    assert part.counts["countdown"]["asked"] == 5
    assert [row["source"] for row in part.rows] == ["r1-zero@micro"]  # the same text from both is taken once
    thoughts = iter("I add one . I add 1 . I see . I sum . I know .".split(" . "))
    by_hand(monkeypatch, cold_start, lambda p, i: solved(4, thought=next(thoughts)), [sum_of(4)])
    part = cold_start.maker(experiment(cold_start.run, replace(collect, keep=5)), CONTEXT, Clerk())(0)
    assert [row["source"] for row in part.rows] == ["r1-zero@micro"] * 4 + ["base@micro with examples"]


@pytest.mark.parametrize(("reply", "counts"), [
    ("so \\boxed{5 + 1} .", {"wrong after refining": 1}), ("I think so .", {"wrong after refining": 1}),
    ("so \\boxed{4 + 1} < .", {"refiner's reply malformed": 1}), (silent(), {"refiner did not reply": 1}),
    ("so \\boxed{4 + 1} 不 .", {"kept": 1}), ("so [answer] \\boxed{4 + 1} .", {"unreadable form": 1}),
])
def test_a_refiner_that_loses_the_answer_or_the_form(monkeypatch, reply, counts):
    part = make(monkeypatch, Clerk(lambda text: reply if text.startswith("sum up") else None), [sum_of(4)])(0)
    assert part.counts == {"countdown": {"asked": 4, "cut off": 1, "wrong": 1, "not needed": 1} | counts}
    assert len(part.rows) == counts.get("kept", 0)


@pytest.mark.parametrize(("reply", "reason"), [(silent(), "no reply"), ("hm", "malformed reply"),
                                               ("incorrect", "wrong after refining")])
def test_a_judge_that_is_silent_after_refining_has_not_said_wrong(monkeypatch, reply, reason):
    part = make(monkeypatch, Clerk(lambda text: reply if "boxed" in text else None), [colour_of(1)])(0)
    assert part.counts == {"open": {"asked": 4, "cut off": 1, "judged wrong": 1, reason: 2}} and not part.rows


def test_unchecked_domains_stay_unchecked_after_refining(monkeypatch):
    collect = replace(REFINE, judged=(), unchecked=("open",), keep=4)
    part = make(monkeypatch, Clerk(), [colour_of(1)], collect)(0)
    assert part.counts == {"open": {"asked": 4, "cut off": 1, "kept": 3}}


MIXED = "first I add the two numbers 然后 我 看 它 对 不 对 , and so I am done with it"


@pytest.mark.parametrize("refine", [True, False])
def test_languages_are_looked_at_after_refining_where_there_is_any(monkeypatch, refine):
    clerk = Clerk(lambda text: "first I add the two numbers and then I see that all is well , so I am done"
                  if text.startswith("write in English") else None)
    by_hand(monkeypatch, cold_start, lambda problem, sample: solved(4, thought=MIXED), [sum_of(4)])
    collect = replace(REFINE, samples=1, refine=refine)
    part = cold_start.maker(experiment(cold_start.run, collect), CONTEXT, clerk)(0)
    assert part.counts == {"countdown": {"asked": 1} | ({"kept": 1} if refine else {"mixed languages": 1})}


def test_a_refined_thought_in_another_language_goes(monkeypatch):
    clerk = Clerk(lambda text: "我 想 把 两 个 数 加 起来 就 得到 五" if text.startswith("write") else
                  "我 要 一 个 和 ." if text.startswith("begin") else None)
    part = make(monkeypatch, clerk, [sum_of(4)], replace(REFINE, filters=FilterConfig(language=0.9)))(0)
    assert part.counts["countdown"] == {"asked": 4, "cut off": 1, "wrong": 1, "not needed": 1, "wrong language": 1}


# Simple mathematics, and thoughts in another language: the paper's wording alone asks for them.


MARK = "0123456789abcdef"
SIMPLE = replace(COLLECT, samples=4, keep=2, refine=True, simple=("arithmetic",))


def plus(number):
    """How much is `number` + 1?"""
    return Problem(f"arithmetic/{number}", "arithmetic", f"{number}+1=?", str(number + 1), "en")


class Large:
    """The paper's wording's chat model. short: (number of the request, question) -> its reply to a simple question."""

    def __init__(self, short=None):
        self.short, self.seen = short, {"simple": [], "translate": [], "refine": []}

    def __call__(self, requests):
        return [self.reply(request) for request in requests]

    def reply(self, request):
        system, asked = request.messages[0][1], request.messages[-1][1]
        if "simple questions of mathematics" in system:
            self.seen["simple"].append(request)
            question = asked.partition("| ")[2].partition("\n")[0]
            return self.short(len(self.seen["simple"]) - 1, question)
        if "Translate the thinking process" in system:
            self.seen["translate"].append(request)
            return Reply(filled(MARK, THOUGHT="First I add 4 and 1, then I look at it again."))
        self.seen["refine"].append(request)
        answer = asked.rpartition("| ")[2].partition("\n")[0]
        return Reply(filled(MARK, THOUGHT="I add the two numbers.", SOLUTION=f"So \\boxed{{{answer}}}."))


def short(thought, answer):
    return Reply(filled(MARK, THOUGHT=thought, SOLUTION=f"\\boxed{{{answer}}}"))


WITH_CHAT = SimpleNamespace(mesh=None, parents=CONTEXT.parents | {"chat": SimpleNamespace(ref="chat@micro")})


def large(monkeypatch, chat, questions, collect=SIMPLE, answer=answers, **changes):
    """The part's maker under the paper's wording."""
    by_hand(monkeypatch, cold_start, answer, questions)
    changed = experiment(cold_start.run, collect, domains=("countdown", "arithmetic"), chat=ChatConfig(), **changes)
    cold_start.check(changed, None)
    return cold_start.maker(changed, WITH_CHAT, chat)


def test_simple_questions_are_answered_by_the_chat_model_and_checked_like_the_rest(monkeypatch):
    said = (short("1 and 1 make 2.", 2), short("A sum.", 3), short("I add.", 2), Reply("2"),  # of 1+1=?
            silent(), short("9 and 1.", 10), short("9 and 1.", 10), short("我 想 把 两 个 数 加 起来", 10))  # of 9+1=?
    chat = Large(lambda number, question: said[number])

    def policy(problem, sample):
        assert problem.domain == "countdown"
        return answers(problem, sample)

    part = large(monkeypatch, chat, [plus(1), sum_of(4), plus(9)], replace(SIMPLE, questions_per_file=3),
                 policy)(0)
    assert [(row["problem"], row["response"], row["source"]) for row in part.rows] == [
        ("countdown/4/en", "<think> I add the two numbers. </think> So \\boxed{4 + 1}.", "r1-zero@micro"),
        ("arithmetic/1", "<think> 1 and 1 make 2. </think> \\boxed{2}", "chat@micro"),
        ("arithmetic/1", "<think> I add. </think> \\boxed{2}", "chat@micro"),
        ("arithmetic/9", "<think> 9 and 1. </think> \\boxed{10}", "chat@micro")]
    assert part.counts == {
        "countdown": {"asked": 4, "cut off": 1, "wrong": 1, "not needed": 1, "kept": 1},
        "arithmetic": {"asked": 8, "wrong": 1, "chat model's reply malformed": 1, "chat model did not reply": 1,
                       "wrong language": 1, "not needed": 1, "kept": 3}}
    assert [row["meta"] for row in part.rows[1:]] == [{}] * 3 and {row["kind"] for row in part.rows} == {"reasoning"}
    assert [len(requests) for requests in chat.seen.values()] == [8, 0, 1]  # short answers are not refined again


def test_a_part_of_simple_questions_alone_and_one_without_any(monkeypatch):
    def policy(problem, sample):
        assert problem.domain == "countdown"
        return answers(problem, sample)

    chat = Large(lambda number, question: short(f"I add {number}.", int(question[0]) + 1))
    make = large(monkeypatch, chat, [plus(1), plus(2), sum_of(4), sum_of(5), plus(3), plus(3)], answer=policy)
    parts = [make(number) for number in (0, 1, 2, 0)]
    assert [len(part.rows) for part in parts] == [4, 2, 2, 4]
    assert parts[0].counts == {"arithmetic": {"asked": 8, "not needed": 4, "kept": 4}}
    seeds = [request.seed for request in chat.seen["simple"]]
    assert len(seeds) == 24 and len(set(seeds[:16])) == 16 and seeds[:8] == seeds[16:]
    assert all((request.temperature, request.max_tokens) == (0.6, 2048) for request in chat.seen["simple"])


def test_an_endpoint_is_the_source_of_its_short_answers(monkeypatch):
    by_hand(monkeypatch, cold_start, answers, [plus(1)])
    chat = Large(lambda number, question: short("I add.", 2))
    named = experiment(cold_start.run, SIMPLE, chat=ChatConfig("http://host/v1#m"))
    assert [row["source"] for row in cold_start.maker(named, CONTEXT, chat)(0).rows] == ["http://host/v1#m"]


def test_a_chat_model_that_gives_no_short_answers_stops_the_run(monkeypatch):
    make = large(monkeypatch, Large(lambda number, question: Reply("2")), [plus(1)], replace(SIMPLE, samples=32))
    with pytest.raises(DataError, match="32 of 32 replies of the chat model, asked for a short answer, cannot be read"):
        make(0)


def test_simple_questions_of_a_file(tmp_path, context):
    """As experiments/cold_start_data.py says: a file's domain is the first of data.domains."""
    path = tmp_path / "simple.jsonl"
    path.write_text("".join(json.dumps({"question": f"{n} + 1 = ?", "answer": str(n + 1)}) + "\n" for n in range(40)))
    named = experiment(cold_start.run, SIMPLE, chat=ChatConfig(), data=DataConfig(
        mixture=((str(path), 1.0),), domains=(("arithmetic", 1.0),)))
    cold_start.check(named, None)
    found = trajectories.draw(named, context)(0)
    assert len(found) == 2 and {problem.domain for problem in found} == {"arithmetic"}
    assert all(int(problem.question.partition(" ")[0]) + 1 == int(problem.answer) for problem in found)


def test_what_asks_no_simple_questions_is_what_it_was():
    before, after = (experiment(cold_start.run, collect) for collect in (replace(SIMPLE, simple=()), SIMPLE))
    assert "simple" not in to_dict(before)["collect"] and to_dict(after)["collect"]["simple"] == ["arithmetic"]
    assert fingerprint(before) != fingerprint(after)


@pytest.mark.parametrize(("least", "asked"), [(0.9, 1), (0.0, 0)])
def test_a_thought_is_translated_where_the_filter_would_not_have_its_language(monkeypatch, least, asked):
    chat, collect = Large(), replace(SIMPLE, samples=1, filters=FilterConfig(language=least))
    part = large(monkeypatch, chat, [sum_of(4)], collect, lambda problem, sample: solved(4, thought=MIXED))(0)
    assert part.counts == {"countdown": {"asked": 1, "kept": 1}} and len(chat.seen["translate"]) == asked
    assert part.rows[0]["meta"]["before"] == solved(4, thought=MIXED)
    assert ("then I look at it again" in chat.seen["refine"][0].messages[-1][1]) == bool(asked)


# Whole runs.


QUESTIONS = [sum_of(4), colour_of(1), sum_of(5), colour_of(2), sum_of(6, "zh"), colour_of(3)]


@pytest.fixture
def run(tmp_path, monkeypatch, one_device):
    """(chat, store's name) -> the artifact of the questions' cold start in a store of that name."""
    by_hand(monkeypatch, cold_start, answers, QUESTIONS)
    monkeypatch.setattr(chats, "artifact_policy", lambda artifact, mesh: None)

    def start(chat, name="store"):
        monkeypatch.setattr(chats, "policy_chat", lambda policy: chat)
        put_parents(tmp_path / name, "r1-zero", "chat")
        return run_experiment(experiment(cold_start.run, replace(REFINE, filters=FilterConfig(language=0.0))),
                              str(tmp_path / name))

    return start


def test_a_run_and_its_figures(run):
    artifact = run(Clerk())
    assert artifact.finished and artifact.summary() == {
        "records": 9.0, "records/countdown": 3.0, "records/open": 6.0, "asked": 24.0, "removed/cut off": 6.0,
        "removed/wrong": 3.0, "removed/judged wrong": 3.0, "removed/not needed": 3.0}
    rows = list(Records(artifact.path / "records"))
    assert [row["problem"] for row in rows] == ["countdown/4/en", "open/1", "open/1", "countdown/5/en", "open/2",
                                                "open/2", "countdown/6/zh", "open/3", "open/3"]


TOPICS = (("use 4", "is 1"), ("use 5", "is 2"), ("用 6", "is 3"))


@pytest.mark.parametrize(("which", "share"), [("begin", "3 of 9"), ("check", "3 of 3")])
@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_chat_model_that_goes_down_is_waited_for_and_nothing_is_lost(run, which, share, part):
    whole = files(run(Clerk(), "whole"))

    def down(text):
        return silent("connection refused") if text.startswith(which) and any(t in text for t in TOPICS[part]) else None

    with pytest.raises(chats.ChatDown, match=rf"not answer {share} requests \(connection refused\): give the same"):
        run(Clerk(down))
    clerk = Clerk()
    assert files(run(clerk)) == whole
    asked = [number for number, topic in enumerate(TOPICS) if any(t in text for t in topic for text in clerk.seen)]
    assert asked == list(range(part, 3))  # the parts before are not asked again


@pytest.mark.parametrize("stop", [0, 1, 2])
def test_a_run_that_was_killed_in_a_part_ends_with_the_same_bytes(run, stop):
    whole = files(run(Clerk(), "whole"))

    def killed(text):
        if text.startswith("begin") and ("use 4", "use 5", "用 6")[stop] in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Clerk(killed))
    assert files(run(Clerk())) == whole


def test_a_refiner_of_nonsense_leaves_nothing_and_the_table_says_so(run):
    with pytest.raises(DataError) as told:
        run(Clerk(lambda text: "<" if text.startswith("sum up") else None))
    assert "records@micro has no records left" in str(told.value)
    assert "refiner's reply malformed          3     6      9" in str(told.value)


def test_a_small_run_of_a_real_policy(tmp_path, micro, policy, one_device):
    """The bigram table answers the world's facts; its thought is a number, which is in no wrong language."""
    for name in ("r1-zero", "base"):
        put_policy(tmp_path / "store", name, micro(), policy)
    put_parents(tmp_path / "store", "chat")
    collect = CollectConfig(questions=6, questions_per_file=3, samples=6, max_new_tokens=12, max_prompt_tokens=44,
                            slots=8, few_shot=1, few_shot_samples=2, keep=2)
    base = experiment(cold_start.run, collect, model=micro().model, data=DataConfig(
        domains=(("stem", 1.0),), languages=(("en", 1.0),)), parents=(
        ("policy", "r1-zero@micro"), ("few_shot", "base@micro"), ("chat", "chat@micro")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chats, "policy_chat", lambda policy: Clerk())
        patch.setattr(chats, "artifact_policy", lambda artifact, mesh: None)
        artifact = run_experiment(base, str(tmp_path / "store"))
    found, rows = artifact.summary(), list(Records(artifact.path / "records"))
    assert found["asked"] == 6 * (6 + 2) and 0 < found["records"] == len(rows) <= 12
    assert found["asked"] == found["records"] + sum(n for name, n in found.items() if name.startswith("removed/"))
    for row in rows:
        assert row["response"].endswith(f"<answer> {row['answer']} </answer>") and row["domain"] == "stem"
        assert row["source"] in ("r1-zero@micro", "base@micro with examples")
    assert max(sum(row["problem"] == other["problem"] for other in rows) for row in rows) <= 2
