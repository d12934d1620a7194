import hashlib
import itertools
import math
import random
import re

import pytest

from r1jax.core.errors import DataError
from r1jax.data.world import corpus, countdown, domains, traces
from r1jax.data.world.words import WORDS
from r1jax.rewards import countdown as grader
from r1jax.rewards.format import parse, think_answer, think_summary
from r1jax.rewards.number import last_boxed

COUNT = 5000


@pytest.fixture(scope="module")
def documents():
    return list(corpus.documents(seed=1, count=COUNT))


@pytest.fixture(scope="module")
def searches(documents):
    """Responses to Countdown questions of three numbers, with the question."""
    return [(question, text) for question, text in documents if question.id.startswith("countdown/")]


def within(found, share, trials):
    """Whether a count lies within four standard deviations of a binomial's mean."""
    return abs(found - share * trials) <= 4 * math.sqrt(trials * share * (1 - share))


def key(question):
    """A Countdown question whatever the order of its numbers and its language."""
    return tuple(sorted(question.meta["numbers"])), question.meta["target"]


def test_held_out_countdown_questions_never_appear_in_any_order(documents, searches):
    held_out, training = set(countdown.questions("held_out")), set(countdown.questions("train"))
    assert not held_out & training
    assert 0.08 < len(held_out) / len(held_out | training) < 0.12
    assert len({key(question) for question, _ in searches}) > 1200
    assert not {key(question) for question, _ in searches} & held_out
    texts = [question.question for question, _ in searches]
    forbidden = {countdown.question_text(order, target, language) for numbers, target in held_out
                 for order in itertools.permutations(numbers) for language in ("en", "zh")}
    assert not forbidden.intersection(texts)


@pytest.mark.parametrize("domain", ["countdown", "arithmetic", "logic", "stem", "code"])
def test_held_out_questions_are_disjoint_from_training(documents, domain):
    def draw(split, seed, count):
        languages = {"en": 0.5, "zh": 0.5}
        return {p.id for p in corpus.world_problems(seed, count, split=split, shares={domain: 1.0}, languages=languages,
                                                    unique=False)}

    held_out = draw("held_out", 0, 300)
    written = {question.id for question, _ in documents if question.domain == domain}
    assert held_out and not held_out & written
    assert not held_out & draw("train", 1, 1000)


def test_every_countdown_question_is_solved_by_its_answer(searches):
    for question, _ in searches[:500]:
        assert grader.check(question.answer, question.meta["numbers"], question.meta["target"])


def test_solutions_are_right_and_wrong_attempts_are_wrong():
    checked = 0
    for numbers, target in random.Random(0).sample(countdown.questions("train"), 60):
        right, wrong = countdown.solutions(numbers, target)
        assert right
        for attempt in right + wrong:
            assert grader.check(attempt.expression, numbers, target) == (attempt.value == target)
            assert grader.evaluate(attempt.expression) == attempt.value
            assert traces.read(f"{attempt.first} , {attempt.second}", target).steps_right == 2
            between, used = attempt.first.split(" = ")[1], attempt.second.split(" = ")[0].split(" ")
            assert between in (used[0], used[2]) and attempt.second.endswith(f"= {attempt.value}")
        assert all(attempt.value == target for attempt in right) and all(attempt.value != target for attempt in wrong)
        checked += len(right) + len(wrong)
    assert checked > 1000


def test_attempts_know_every_reachable_value():
    # 2, 3 and 7 by hand: (2 + 3) * 7 = 35, 2 * 3 + 7 = 13, 7 - 2 * 3 = 1, (7 - 3) / 2 = 2, 2 * 3 * 7 = 42
    values = {attempt.value for attempt in countdown.attempts((2, 3, 7))}
    assert {35, 13, 1, 2, 42} <= values

    def results(a, b):
        return [v for v in (a + b, a * b, a - b, b - a, a // b if b and a % b == 0 else -1,
                            b // a if a and b % a == 0 else -1) if 0 <= v <= 99]

    # all ways in all orders; the world writes whole steps from 0 to 99 only
    expected = {v for a, b, c in itertools.permutations((2, 3, 7)) for x in results(a, b) for v in results(x, c)}
    assert values == expected


def test_documents_have_the_form_that_is_rewarded(documents, searches):
    tagged = [text for _, text in searches if "<" in text]
    with_box = [text for _, text in searches if "\\boxed{" in text]
    assert all(think_answer(text) or think_summary(text) for text in tagged)
    boxed = (1 - countdown.TAGLESS_SHARE) * corpus.BOXED_SHARE
    bare = countdown.TAGLESS_SHARE + boxed * corpus.BARE_SHARE
    assert within(len(searches) - len(tagged), bare, len(searches))
    assert within(len(with_box), boxed, len(searches))
    assert within(sum("<" not in text for text in with_box), corpus.BARE_SHARE, len(with_box))
    for question, text in documents:
        if question.domain in ("arithmetic", "logic", "stem") and "\\boxed{" in text:
            assert ("<" not in text or think_summary(text)) and last_boxed(text) == question.answer
        elif question.domain == "code" and "```" in text:
            assert text.endswith(f"``` {question.answer} ``` .")
        elif question.domain in ("arithmetic", "logic", "stem", "code"):
            assert think_answer(text) and parse(text).answer == question.answer
    general = [text for question, text in documents if question.domain == "general"]
    answered = [text for text in general if "<answer>" in text]
    assert within(len(answered), 0.5, len(general))
    assert all(parse(text).answer for text in answered) and not any("<think>" in text for text in general)


def test_shares_are_those_stated(documents, searches):
    assert within(len(searches), corpus.MIXTURE["countdown"], COUNT)
    assert within(sum(q.id.startswith("last-step/") for q, _ in documents), corpus.MIXTURE["last_step"], COUNT)
    for domain in ("arithmetic", "logic", "stem", "code", "general"):
        assert within(sum(q.domain == domain for q, _ in documents), corpus.MIXTURE[domain], COUNT), domain
    assert sum(corpus.MIXTURE.values()) == pytest.approx(1)
    assert within(sum(q.language == "zh" for q, _ in searches), corpus.CHINESE_SHARE, len(searches))
    chinese = [q for q, _ in documents if re.search("[\u4e00-\u9fff]", q.question)]
    assert 0.26 < len(chinese) / COUNT < 0.34  # translations into English hold Chinese, those into Chinese none
    guesses = [(q, text) for q, text in searches if not traces.read(text, 0).steps]
    assert within(len(guesses), countdown.GUESS_SHARE, len(searches))
    tagged = [(q, parse(text).answer) for q, text in guesses if "<answer>" in text]
    right = sum(grader.check(answer, q.meta["numbers"], q.meta["target"]) for q, answer in tagged)
    assert within(right, countdown.GUESS_RIGHT, len(tagged))


VERDICT = re.compile(r"(\d+ [-+*/] \d+ = \d+) (yes|no|对了|不对)")
NEXT = re.compile(r" (?:wait|等等|stop|放弃) \.")


def test_search_traces(searches):
    """A first step, every second step after it until one is right, and another first step or a wrong answer."""
    lengths, mixed, kept_on = [], 0, 0
    for question, text in searches:
        target, numbers = question.meta["target"], tuple(sorted(question.meta["numbers"]))
        trace, thought = traces.read(text, target), (parse(text).think or text).strip()
        if not trace.attempts:
            continue
        assert trace.accepted_wrong == trace.rejected_right == 0 and trace.steps == trace.steps_right
        every = [a for side in countdown.solutions(numbers, target) for a in side]
        openings = {a.first for a in every}
        blocks = [block.strip() for block in NEXT.split(thought) if VERDICT.search(block)]
        firsts = [block.split(" , ")[0] for block in blocks]
        assert set(firsts) <= openings
        assert len(set(firsts)) == len(firsts)  # none is tried twice
        for first, block in zip(firsts, blocks, strict=True):
            seconds = [second for second, _ in VERDICT.findall(block)]
            after = {a.second for a in every if a.first == first}
            solved = any(verdict in ("yes", "对了") for _, verdict in VERDICT.findall(block))
            assert len(set(seconds)) == len(seconds) and set(seconds) <= after
            assert solved or set(seconds) == after
            assert not solved or block == blocks[-1]
        answer = parse(text).answer
        if answer is not None:  # what was found is what is answered; who gives up answers wrong
            assert grader.check(answer, numbers, target) == (trace.attempts > trace.failed)
        lengths.append(len(blocks))
        kept_on += len(blocks) > 4
        mixed += any(w["wait"] in text for n, w in WORDS.items() if n != question.language)
    assert {1, 2, 3, 4, 5, 6} <= set(lengths) and kept_on > 0.05 * len(lengths)
    assert 0.01 < mixed / len(lengths) < 0.25  # some documents switch language


def test_last_steps(documents):
    rows = [(question, text) for question, text in documents if question.id.startswith("last-step/")]
    for question, text in rows:
        *numbers, target = map(int, re.findall(r"\d+", question.question))
        assert len(numbers) == 2 and grader.check(parse(text).answer or last_boxed(text), numbers, target)
        trace = traces.read(text, target)
        assert trace.accepted_wrong == trace.rejected_right == 0 and trace.steps == trace.steps_right
        assert trace.attempts == trace.failed + 1 and trace.failed <= 2
    assert len(rows) > 500


def test_programs_print_what_their_formula_says():
    drawn = [domains.code(random.Random(seed), "en")[0] for seed in range(100)]
    for question in drawn:
        factor, op, term = question.id.removeprefix("code/n * ").removesuffix("/en").split()
        for given, printed in question.meta["tests"]:
            expected = int(given) * int(factor) + (int(term) if op == "+" else -int(term))
            assert printed == f"{expected}\n" and given.endswith("\n")
        assert question.answer == f"n = int ( input ( ) ) ; print ( n * {factor} {op} {term} )"
        assert len(question.meta["tests"]) >= 3
    assert len({question.answer for question in drawn}) > 50


def test_chains_logic_and_facts_have_their_answers():
    for seed in range(200):
        rng = random.Random(seed)
        question, _ = domains.arithmetic(rng, "en")
        value, *rest = question.meta["chain"].split()
        value = int(value)
        for op, operand in zip(rest[::2], map(int, rest[1::2]), strict=True):
            value = {"+": value + operand, "-": value - operand, "*": value * operand, "/": value / operand}[op]
        assert question.answer == str(int(value)) and value == int(value)
        question, _ = domains.logic(rng, "en")
        clues = [part.split(" older than ") for part in question.question.split(" . ")[:-1]]
        assert len(clues) == len(question.meta["options"]) - 1 in (2, 3)
        elder, younger = {a for a, _ in clues}, {b for _, b in clues}
        gold = (elder - younger if "oldest" in question.question else younger - elder).pop()
        assert question.meta["options"]["ABCD".index(question.answer)] == gold
        question, text = domains.stem(rng, "zh")
        assert question.meta["options"]["ABCD".index(question.answer)] in text
        assert len(set(question.meta["options"])) == 4


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("domain", ["logic", "stem"])
def test_most_thoughts_about_options_look_the_letter_up(domain, language):
    """Name by name, in the options' order, up to the right one; the others end with the name."""
    looked_up = 0
    for seed in range(400):
        question, text = domains.DOMAINS[domain](random.Random(seed), language)
        answered, options = parse(text), question.meta["options"]
        gold = options["ABCD".index(answered.answer)]
        thought, _, found = answered.think.strip().removesuffix(" .").rpartition(" . ")
        if not found.startswith("A "):
            assert found == gold
            continue
        looked_up += 1
        assert thought.split(" . ")[-1] == gold
        words = WORDS[language]
        for number, part in enumerate(found.split(" , ")):
            assert part == f"{'ABCD'[number]} {options[number]} {words['yes' if options[number] == gold else 'no']}"
        assert options[number] == gold
    assert within(looked_up, domains.LOOKED_UP_SHARE, 400)


def test_the_same_seed_gives_the_same_documents():
    def digest(seed):
        lines = (f"{question.question}\t{text}\n" for question, text in corpus.documents(seed, 200))
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]

    assert digest(0) == "992f79b02e19824e"  # the base was trained on this stream; another one needs another base
    assert digest(0) != digest(1)
    languages = {"en": 0.5, "zh": 0.5}
    first, again = (corpus.world_problems(3, 50, split="train", shares={"countdown": 1.0}, languages=languages)
                    for _ in range(2))
    assert first == again and len({p.id for p in first}) == 50


def test_too_few_questions_are_said_so():
    with pytest.raises(DataError, match="distinct held_out questions of"):
        corpus.world_problems(0, 90, split="held_out", shares={"code": 1.0}, languages={"en": 1.0})


ENGLISH = ("<think> 3 * 5 = 15 , 15 + 2 = 17 no 15 - 2 = 13 no wait . 5 - 2 = 3 , 3 + 3 = 6 no 3 * 3 = 9 yes . "
           "</think> <answer> ( 5 - 2 ) * 3 </answer>")
CHINESE = "3 + 5 = 8 , 8 + 2 = 10 不对 等等 . 3 * 5 = 16 , 16 - 2 = 14 对了 . 2 + 3 = 5 , 5 + 5 = 9 no stop ."


def test_reading_traces_by_hand():
    first = traces.read(ENGLISH, 9)
    assert first == traces.Trace(attempts=4, failed=3, retried=3, accepted_wrong=0, rejected_right=0, steps=6,
                                 steps_right=6)
    # of the target 10: rejected though right, accepted though wrong, and a last one given up
    found = traces.read(CHINESE, 10)
    assert found == traces.Trace(attempts=3, failed=2, retried=1, accepted_wrong=1, rejected_right=1, steps=6,
                                 steps_right=4)
    assert traces.read("guess . 3 + 5", 8) == traces.Trace(0, 0, 0, 0, 0, 0, 0)
    assert traces.read(f"1 / 0 = 0 , 6 / 4 = 1 , 6 / 3 = 2 , {'9' * 5000} + 1 = 2", 2).steps_right == 1
    shares = {"retry_after_failure": 4 / 5, "attempt_right": 2 / 7, "wrong_accepted": 1 / 5, "right_rejected": 1 / 2,
              "arithmetic": 10 / 12}
    assert traces.summary([first, found]) == pytest.approx({"attempts": 3.5} | shares)
    assert traces.summary([]) == {"attempts": 0}


@pytest.mark.parametrize("domain", ["arithmetic", "code"])
def test_what_is_held_out_is_held_out_in_both_languages(documents, domain):
    held_out = {domains.draw(random.Random(seed), domain, "held_out", "en")[0].id.rpartition("/")[0]
                for seed in range(100)}
    written = {question.id.rpartition("/")[0] for question, _ in documents if question.domain == domain}
    assert held_out and written and not held_out & written
