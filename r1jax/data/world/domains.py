"""The world's other domains: chain arithmetic, logic, multiple-choice facts, programs, general requests.

Each function draws (problem, response): the question with its checkable answer, and a document's
response to it. `rng` decides everything; questions of the wrong split are drawn again.
"""

from __future__ import annotations

import random

from r1jax.core.records import Problem
from r1jax.data.world.split import is_held_out
from r1jax.data.world.words import COLOURS, FACTS, HARMFUL, NOUNS, PEOPLE, WORDS

LETTERS = "ABCD"
LOOKED_UP_SHARE = 0.6  # of the thoughts about options: they go through the letters; the others end before, and guess


def _tagged(thought: str, answer: str) -> str:
    return f"<think> {thought} </think> <answer> {answer} </answer>"


def _chosen(rng: random.Random, thought: str, options: list[str], gold: str, language: str) -> str:
    """A thought that has found its answer's name, and mostly looks up its letter: one option after the other."""
    if rng.random() >= LOOKED_UP_SHARE:
        return thought
    yes, no = WORDS[language]["yes"], WORDS[language]["no"]
    seen = options[:options.index(gold) + 1]
    looked = " , ".join(f"{letter} {name} {yes if name == gold else no}"
                        for letter, name in zip(LETTERS, seen, strict=False))
    return f"{thought} {looked} ."


def arithmetic(rng: random.Random, language: str) -> tuple[Problem, str]:
    """A chain of two to four steps with values from 0 to 99, worked from the left."""
    value = rng.randint(1, 9)
    shown, steps = [str(value)], []
    for _ in range(rng.randint(2, 4)):
        choices = []
        for op in "+-*/":
            operand = rng.randint(1, 9)
            after = {"+": value + operand, "-": value - operand, "*": value * operand,
                     "/": value // operand if value % operand == 0 else -1}[op]
            if 0 <= after <= 99:
                choices.append((op, operand, after))
        op, operand, after = rng.choice(choices)
        steps.append(f"{value} {op} {operand} = {after}")
        shown += [op, str(operand)]
        value = after
    chain = " ".join(shown)
    ask = f"start {chain} = ?" if language == "en" else f"算 {chain} = ?"
    question = Problem(f"arithmetic/{chain}/{language}", "arithmetic", ask, str(value), language, {"chain": chain})
    return question, _tagged(" , ".join(steps) + " .", str(value))


def logic(rng: random.Random, language: str) -> tuple[Problem, str]:
    """Who is oldest or youngest of three or four, from comparisons in shuffled order, with options.

    The thought puts the comparisons in order, as they stand in the question.
    """
    people = list(PEOPLE[language])
    rng.shuffle(people)
    order = people[:rng.randint(3, 4)]  # oldest first
    pairs = list(zip(order, order[1:], strict=False))
    older, ask_old, ask_young = ("older than", "who is oldest ?", "who is youngest ?")
    if language == "zh":
        older, ask_old, ask_young = "大于", "谁 最大 ?", "谁 最小 ?"
    oldest = rng.random() < 0.5
    options = list(order)
    rng.shuffle(options)
    gold = order[0] if oldest else order[-1]
    thought = " . ".join(f"{a} {older} {b}" for a, b in pairs) + f" . {gold} ."
    rng.shuffle(pairs)
    clues = " . ".join(f"{a} {older} {b}" for a, b in pairs)
    listed = " ".join(f"{letter} {name}" for letter, name in zip(LETTERS, options, strict=False))
    text = f"{clues} . {ask_old if oldest else ask_young} {listed}"
    letter = LETTERS[options.index(gold)]
    question = Problem(f"logic/{text}", "logic", text, letter, language, {"options": options})
    return question, _tagged(_chosen(rng, thought, options, gold, language), letter)


def stem(rng: random.Random, language: str) -> tuple[Problem, str]:
    """A fact with four options of the same kind."""
    column = 0 if language == "en" else 1
    fact = rng.choice(FACTS)
    ask, gold = fact[column]
    others = [row[column][1] for row in FACTS if row[2] == fact[2] and row is not fact]
    options = rng.sample(others, 3) + [gold]
    rng.shuffle(options)
    listed = " ".join(f"{letter} {name}" for letter, name in zip(LETTERS, options, strict=True))
    text = f"{ask} ? {listed}"
    letter = LETTERS[options.index(gold)]
    question = Problem(f"stem/{text}", "stem", text, letter, language, {"options": options})
    return question, _tagged(_chosen(rng, f"{gold} .", options, gold, language), letter)


def code(rng: random.Random, language: str) -> tuple[Problem, str]:
    """A one-line Python program that reads n and prints a formula of it; tests are in ``meta``."""
    factor, term, op = rng.randint(2, 12), rng.randint(1, 20), rng.choice("+-")
    formula = f"n * {factor} {op} {term}"
    text = f"program : read n , print {formula}" if language == "en" else f"程序 : 读 n , 写 {formula}"
    program = f"n = int ( input ( ) ) ; print ( {formula} )"
    tests = [[f"{n}\n", f"{n * factor + (term if op == '+' else -term)}\n"] for n in (0, 3, 12, -7)]
    question = Problem(f"code/{formula}/{language}", "code", text, program, language, {"tests": tests})
    return question, _tagged(f"{formula} .", program)


def general(rng: random.Random, language: str) -> tuple[Problem, str]:
    """Facts, translation, who are you, writing with a given word, and requests to be declined."""
    column = 0 if language == "en" else 1
    kind = rng.choice(("fact", "translation", "identity", "writing", "decline"))
    if kind == "fact":
        ask, answer = rng.choice(FACTS)[column]
        text = f"tell me : {ask}" if language == "en" else f"告诉 我 : {ask}"
    elif kind == "translation":
        colour, noun = rng.choice(COLOURS), rng.choice(NOUNS)
        source, answer = (f"{colour[i]} {noun[i]}" for i in (1 - column, column))
        text = f"in English : {source}" if language == "en" else f"用 中文 : {source}"
    elif kind == "identity":
        text = "who are you ?" if language == "en" else "你 是 谁 ?"
        answer = "I am a small model from a tiny world ." if language == "en" else "我 是 小 世界 的 小 模型 ."
    elif kind == "writing":
        colour, noun = rng.choice(COLOURS), rng.choice(NOUNS)
        text = f"write a line with {noun[0]}" if language == "en" else f"写 一 句 有 {noun[1]}"
        answer = (f"the {colour[0]} {noun[0]} sings in the night ." if language == "en"
                  else f"{colour[1]} {noun[1]} 在 夜 里 唱 .")
    else:
        request = rng.choice(HARMFUL)[column]
        text = f"how to {request} ?" if language == "en" else f"怎么 {request} ?"
        answer = "sorry , I cannot help with that ." if language == "en" else "抱歉 , 我 不能 帮 这个 ."
    question = Problem(f"general/{kind}/{text}", "general", text, answer, language, {"kind": kind})
    return question, f"<answer> {answer} </answer>" if rng.random() < 0.5 else answer


DOMAINS = {"arithmetic": arithmetic, "logic": logic, "stem": stem, "code": code, "general": general}


def draw(rng: random.Random, domain: str, split: str, language: str) -> tuple[Problem, str]:
    """A question of a domain from one split, and a document's response to it.

    A held-out chain or formula is held out in both languages: no document has it in the other one. General requests
    are not held out: they are few and have no score in this split.
    """
    while True:
        question, response = DOMAINS[domain](rng, language)
        if domain == "general":
            return question, response
        if is_held_out(_key(question)) == (split == "held_out"):
            return question, response


def _key(question: Problem) -> str:
    """What decides the split: a chain or formula without its language, elsewhere the question's id."""
    return question.id.rpartition("/")[0] if question.domain in ("arithmetic", "code") else question.id
