"""What tests of the data stages share: questions, a store with parents, a policy and a chat model made by hand."""

from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp

from r1jax.core.config import Experiment, to_dict
from r1jax.core.records import Problem
from r1jax.core.settings import ChatConfig, CollectConfig, DataConfig
from r1jax.models import presets
from r1jax.rewards.chat import Reply
from r1jax.stages import trajectories
from r1jax.stages.trajectories import Sampled
from r1jax.store import Store
from r1jax.text import tokenizer
from r1jax.text.prompts import template

TINY = tokenizer.load("builtin:tiny")
COLLECT = CollectConfig(questions=6, samples=2, max_new_tokens=16, questions_per_file=2)


def experiment(stage, collect=COLLECT, name="records", domains=("countdown", "open"), **changes):
    """An experiment of a data stage on the tiny world."""
    return Experiment(**{
        "name": name, "scale": "micro", "stage": stage, "model": presets.tiny(), "seed": 3,
        "parents": (("policy", "r1-zero@micro"), ("chat", "chat@micro")), "collect": collect,
        "chat": ChatConfig(wording="tiny"),
        "data": DataConfig(domains=tuple((domain, 1.0) for domain in domains))} | changes)


def sum_of(number, language="en"):
    """Reach `number` + 1 from `number` and 1."""
    text = f"use {number} , 1 to reach {number + 1} ." if language == "en" else f"用 {number} , 1 得到 {number + 1} ."
    return Problem(f"countdown/{number}/{language}", "countdown", text, "", language,
                   {"numbers": [number, 1], "target": number + 1})


def colour_of(number):
    """An open question."""
    return Problem(f"open/{number}", "open", f"what is {number} ?", f"red {number}", "en", {"kind": "fact"})


def solved(number, form="answer", thought="I add the two small numbers ."):
    """A right response to `sum_of(number)`."""
    said = f"{number} + 1"
    end = f"<answer> {said} </answer>" if form == "answer" else f"so \\boxed{{{said}}} ."
    return f"<think> {thought} </think> {end}"


def said(problem, *texts, truncated=()):
    return [Sampled(problem, text, "r1-zero@micro", i in truncated) for i, text in enumerate(texts)]


class Clerk:
    """The tiny wording's chat model, without a fault, which notes what it is asked; `odd` replies before it does.

    odd: text of a request -> the reply, or None for the usual one.
    """

    def __init__(self, odd=lambda text: None):
        self.odd, self.seen = odd, []

    def __call__(self, requests):
        texts = [request.messages[-1][1] for request in requests]
        self.seen += texts
        replies = [self.odd(text) for text in texts]
        return [reply if isinstance(reply, Reply) else Reply(usual(text) if reply is None else reply)
                for text, reply in zip(texts, replies, strict=True)]


def usual(text):
    kind, _, rest = text.partition(" : ")
    if kind == "check":
        reference, _, answer = rest.partition(" reference ")[2].partition(" answer ")
        answer = answer.removeprefix("so \\boxed{").removesuffix("} .")
        return "correct" if answer == reference else "incorrect"
    if kind == "begin":
        return "I need a sum ."
    if kind == "sum up":
        return f"so \\boxed{{{rest.rpartition(' answer ')[2]}}} ."
    return rest if kind.startswith("write in") else f"reply to {text}"


def silent(why="503: overloaded"):
    return Reply("", "", error=why)


def refusal(why="400: too long"):
    return Reply("", "", error=why, refused=True)


def put_parents(root, *names):
    """Finished artifacts NAME@micro without weights."""
    store = Store(root)
    for name in names:
        with store.begin(name, "micro", fingerprint=name, config={}) as artifact:
            artifact.finish({})
    return store


def put_policy(root, name, experiment, params):
    """A finished artifact with weights, made by an experiment."""
    with Store(root).begin(name, "micro", fingerprint=name, config=to_dict(experiment)) as artifact:
        artifact.save(1, {"params": jax.tree.map(jnp.asarray, params)})
        artifact.finish({})


def by_hand(patch, stage, answers, questions):
    """Questions are `questions`, in their order part by part; a policy answers with answers(problem, sample)."""
    patch.setattr(stage, "artifact_policy", lambda artifact, mesh, slots: SimpleNamespace(
        tokenizer=TINY, prompt=template("tiny")))
    ask(patch, questions)

    def sample(policy, mesh, problems, samples, key, config, source, prompt=None, shown=0):
        texts = [(problem, answers(problem, i)) for problem in problems for i in range(samples)]
        return [Sampled(problem, text, source, text.endswith("...")) for problem, text in texts]

    patch.setattr(trajectories, "sample", sample)


def ask(patch, questions):
    """Questions are `questions`, in their order part by part."""
    patch.setattr(trajectories.problems, "training", lambda experiment, context, count: (
        lambda part: questions[part * count:(part + 1) * count]))


def files(artifact):
    """Name -> bytes of all that a data stage wrote."""
    folder = Path(artifact.path)
    found = [p for p in [*folder.glob("records/**/*"), *folder.glob("table.json")] if p.is_file()]
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def adds_up(counts):
    """Whether of each domain what was asked is what was kept and what was removed."""
    return all(row["asked"] == sum(n for reason, n in row.items() if reason != "asked") for row in counts.values())
