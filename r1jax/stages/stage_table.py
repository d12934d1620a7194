"""The stage table of one version of the graph: every policy sampled on every domain, judged, and written down.

Samples lie in STORE/evaluations like those of `r1jax eval`, so that a killed run goes on, what was sampled once is not
sampled again, and the report shows them; the table is STORE/evaluations/stage-table-VERSION.json. All artifacts are
sampled alike: temperature 1, one token budget (the largest of those that their reinforcement ended with), the same
questions. The judge is asked about all artifacts at once, which compiles its programs once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from etils import epath

from r1jax.core import log
from r1jax.core.errors import ConfigError, StoreError
from r1jax.core.mesh import make_mesh
from r1jax.core.records import Completion
from r1jax.core.settings import MeshConfig
from r1jax.data.world.general import HELPFUL
from r1jax.data.world.wording import TINY
from r1jax.eval import results
from r1jax.eval import stage_table as tables
from r1jax.eval.stage_table import ABLATIONS, ARTIFACTS, GENERAL, OPEN, REASONING, Row, Samples, StageTable
from r1jax.eval.suites import SUITES
from r1jax.eval.win_rate import VALUES, win_rate
from r1jax.rewards import judge
from r1jax.rewards.chat import Chat
from r1jax.stages.context import Context
from r1jax.stages.evaluate import Wanted, evaluate, questions
from r1jax.stages.judging import policy_chat
from r1jax.stages.policies import Policy, load_policy
from r1jax.stages.rewards import load_reward_model
from r1jax.store import Artifact, Store
from r1jax.store.evaluations import FOLDER
from r1jax.store.files import write_json, writing

LEAST_PROMPT = 48  # tokens: the longest question of the world
SLOTS = 24
DISTINCT = 2000  # draws, by which all held-out open and general questions have come
EASY = 2  # samples of a question of the domains with short responses, at most
PER_GENERAL = 8
REWARD_MODELS = ("helpful-rm", "safety-rm")
TOKENS_PER_BATCH = 4096  # that a reward model reads at once
SHIPPED = "embedded"


@dataclass(frozen=True)
class Plan:
    """How much is asked. problems, samples: of Countdown; domains with short responses have as many problems and
    at most `EASY` samples each, open and general questions are all there are."""

    problems: int = 64
    samples: int = 4
    seed: int = 0

    def of(self, suite: str) -> tuple[int, int]:
        """(limit, samples) of a suite."""
        if suite in (OPEN, GENERAL):
            return DISTINCT, EASY if suite == OPEN else PER_GENERAL
        return self.problems, self.samples if suite == "countdown" else min(self.samples, EASY)


def stage_table(root: str, version: str = "", *, names: Sequence[str] = (), plan: Plan = Plan(),
                judge_ref: str = "", against: str = "") -> tuple[StageTable, str]:
    """(the table, the file it was written to).

    Args:
      version: of the artifacts; "": the one that most of them have. names: artifacts name@version in place of those of
        `ARTIFACTS` and `ABLATIONS` that the version has.
      judge_ref: the chat model that judges; "": the version's "chat", else the shipped one.
      against: the name of the artifact whose answers to general questions the others are compared with; "": "chat",
        else the first.

    Raises:
      StoreError: no such store, version or artifact.
      ConfigError: a name for the comparison that is not in the table.
    """
    store = Store(root, create=False)
    version = version or _main_version(store)
    refs, notes = (list(names), []) if names else _present(store, version)
    policies = _policies(root, refs)
    sampled = {}
    for number, (ref, policy) in enumerate(policies.items(), start=1):
        log.say(f"stage table: {ref}, {number} of {len(policies)}")
        sampled[ref] = _sampled(root, policy, plan, next(iter(policies.values())))
    judge_ref = judge_ref or _ref_of(store, "chat", version) or f"{SHIPPED}:chat"
    chat = policy_chat(replace(load_policy(root, judge_ref, SLOTS), least_prompt=2 * LEAST_PROMPT))
    compared = _against(against, refs)
    judged = _judged(chat, {ref: samples[OPEN] for ref, samples in sampled.items()})
    won = _won(chat, {ref: samples[GENERAL] for ref, samples in sampled.items()}, compared)
    scored = _scored(store, version, {ref: samples[GENERAL] for ref, samples in sampled.items()})
    rows = tuple(_row(ref, policies[ref], sampled[ref], judged[ref], won[ref] | scored[ref]) for ref in refs)
    settings = _settings(plan, policies, judge_ref, compared)
    table = StageTable(version, settings, rows, tuple(notes))
    path = str(epath.Path(root).expanduser() / FOLDER / f"stage-table-{version}.json")
    write(table, path)
    return table, path


def write(table: StageTable, path: str) -> None:
    """Writes the table as JSON; `eval.stage_table.load` reads it."""
    file = epath.Path(path).expanduser()
    with writing(f"the stage table {file.name}", file.parent, 1 << 16, lambda: "the samples are kept"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, table.to_dict())


def _main_version(store: Store) -> str:
    """The version that most artifacts of the graph have."""
    found = Counter(a.version for a in store.artifacts() if a.name in ARTIFACTS and a.version != SHIPPED)
    if not found:
        raise StoreError(f"{store.root} has no artifact of the recipe yet: r1jax run experiments/recipe.py:tiny makes "
                         "them.")
    (first, most), *others = found.most_common()
    if others and others[0][1] == most:
        raise StoreError(f"{store.root} has several versions of the graph: give --version with one of "
                         f"{', '.join(sorted(found))}.")
    return first


def _present(store: Store, version: str) -> tuple[list[str], list[str]]:
    """(refs of the policies that a version has, what is left out and why)."""
    refs, notes = [], []
    for name in (*ARTIFACTS, *ABLATIONS):
        ref = _ref_of(store, name, version)
        if ref is None and name == "base":
            ref = f"{SHIPPED}:base"
        if ref is not None:
            refs.append(ref)
        elif store.find(f"{name}@{version}") is not None:
            notes.append(f"{name}@{version} is not finished")
    if all(ref.endswith((f"@{SHIPPED}", f"{SHIPPED}:base")) for ref in refs):
        there = ", ".join(sorted({a.version for a in store.artifacts() if a.name in ARTIFACTS})) or "none yet"
        raise StoreError(f"{store.root} has no finished policy of the version {version!r} (versions: {there}): "
                         f"r1jax run experiments/recipe.py:tiny --version {version} makes them.")
    return refs, notes


def _ref_of(store: Store, name: str, version: str) -> str | None:
    """name@version, or the shipped artifact of the name, where it is there and finished."""
    for ref in (f"{name}@{version}", f"{name}@{SHIPPED}"):
        artifact = store.find(ref)
        if artifact is not None and artifact.finished:
            return ref
    return None


def _policies(root: str, refs: Sequence[str]) -> dict[str, Policy]:
    """The policies, all with one token budget."""
    found = {ref: load_policy(root, ref, SLOTS) for ref in refs}
    store = Store(root, create=False)
    trained = [policy.max_new_tokens for ref, policy in found.items() if _is_rl(store.find(ref))]
    budget = max(trained or [policy.max_new_tokens for policy in found.values()])
    return {ref: replace(policy, max_new_tokens=budget, least_prompt=LEAST_PROMPT) for ref, policy in found.items()}


def _is_rl(artifact: Artifact | None) -> bool:
    return artifact is not None and bool(artifact.config().get("rl"))


def _sampled(root: str, policy: Policy, plan: Plan, first: Policy) -> dict[str, Samples]:
    """Suite -> its questions with this policy's samples, drawn where they are not there yet."""
    found = {}
    for name in (*REASONING, OPEN, GENERAL):
        limit, samples = plan.of(name)
        wanted = Wanted(samples, temperature=1.0, top_p=1.0, seed=plan.seed, limit=limit,
                        max_new_tokens=first.max_new_tokens)
        folder = evaluate(policy, SUITES[name], "world", root, wanted)["folder"]
        rows = results.load(folder).rows
        found[name] = [(problem, rows[problem.id]) for problem in questions(SUITES[name], "world", limit)[0]]
    return found


def _against(wanted: str, refs: Sequence[str]) -> str:
    """The ref of the artifact that the others' general answers are compared with."""
    names = {ref: _name(ref)[0] for ref in refs}
    if wanted:
        chosen = next((ref for ref, name in names.items() if wanted in (ref, name)), None)
        if chosen is None:
            raise ConfigError(f"The answers of {wanted!r} cannot be compared with: the table has {', '.join(refs)}.")
        return chosen
    return next((ref for ref, name in names.items() if name == "chat"), refs[0])


def _judged(chat: Chat, sampled: Mapping[str, Samples]) -> dict[str, list[list[bool | None]]]:
    """The judge's verdicts on open questions: artifact -> a row a question."""
    asked = [(ref, number, judge.Row(problem.question, problem.answer, tables.in_one_form(row["text"])))
             for ref, samples in sampled.items() for number, (problem, rows) in enumerate(samples) for row in rows]
    verdicts = judge.correctness(chat, [row for _, _, row in asked], wording=TINY)
    found = {ref: [[] for _ in samples] for ref, samples in sampled.items()}
    for (ref, number, _), verdict in zip(asked, verdicts, strict=True):
        found[ref][number].append(verdict.correct)
    return found


def _won(chat: Chat, sampled: Mapping[str, Samples], against: str) -> dict[str, dict[str, tables.Figure]]:
    """Each artifact's win rate on helpful general questions; of several samples of a question the first is judged."""
    firsts = {ref: {problem.id: (problem, tables.in_one_form(rows[0]["text"])) for problem, rows in samples
                    if problem.meta["set"] == HELPFUL} for ref, samples in sampled.items()}
    theirs = firsts[against]
    asked = [(ref, problem.question, text, theirs[name][1]) for ref, own in firsts.items() if ref != against
             for name, (problem, text) in own.items()]
    found: dict[str, dict[str, tables.Figure]] = {ref: {} for ref in sampled}
    if not asked:
        return found
    _, asking, ours, others = zip(*asked, strict=True)
    compared = win_rate(chat, asking, ours, others, wording=TINY).comparisons
    for ref in sampled:
        values = [[VALUES[one.outcome]] for (mine, *_), one in zip(asked, compared, strict=True)
                  if mine == ref and one.outcome]
        if values:
            found[ref] = {"general/win_rate": tables.share(values)}
    return found


def _scored(store: Store, version: str, sampled: Mapping[str, Samples]) -> dict[str, dict[str, tables.Figure]]:
    """What the version's reward models say, from 0 to 1, of the general questions of their sets."""
    found: dict[str, dict[str, tables.Figure]] = {ref: {} for ref in sampled}
    mesh = make_mesh(MeshConfig())
    for name in REWARD_MODELS:
        ref = _ref_of(store, name, version)
        if ref is None:
            continue
        artifact = store.get(ref)
        sets = artifact.config()["reward_model"]["sets"]
        with jax.set_mesh(mesh):
            reward = load_reward_model(artifact, Context(mesh, None, store, {}), TOKENS_PER_BATCH)
            for policy, samples in sampled.items():
                own = [(problem, rows) for problem, rows in samples if problem.meta["set"] in sets]
                problems = [problem for problem, rows in own for _ in rows]
                said = [Completion(tables.in_one_form(row["text"]), "", (), row["length"], row["truncated"])
                        for _, rows in own for row in rows]
                if said:
                    values = np.asarray(reward(problems, said)).reshape(len(own), -1)
                    found[policy][f"general/{name}"] = tables.share(values, values.shape[1])
    return found


def _row(ref: str, policy: Policy, sampled: Mapping[str, Samples], judged: Sequence[Sequence[bool | None]],
         more: Mapping[str, tables.Figure]) -> Row:
    """All figures of one artifact."""
    figures: dict[str, tables.Figure] = {}
    faults: Counter[str] = Counter()
    for domain in REASONING:
        found, counted = tables.reasoning_figures(domain, sampled[domain])
        figures |= found
        faults += counted
    passes = [figures[f"{domain}/pass@1"] for domain in REASONING if f"{domain}/pass@1" in figures]
    if len(passes) == len(REASONING):
        figures["reasoning"] = tables.average(passes)
    figures |= tables.open_figures(sampled[OPEN], judged) | tables.general_figures(sampled[GENERAL]) | more
    shares = {name: count / faults.total() for name, count in faults.most_common()}
    name, version = _name(ref)
    return Row(name, version, policy.identity, figures, shares)


def _name(ref: str) -> tuple[str, str]:
    """(name, version) of a ref; "embedded:base" is base@embedded."""
    if ref.startswith(f"{SHIPPED}:"):
        return ref.partition(":")[2], SHIPPED
    name, _, version = ref.partition("@")
    return name, version


def _settings(plan: Plan, policies: Mapping[str, Policy], judge_ref: str, against: str) -> dict[str, Any]:
    first: Policy = next(iter(policies.values()))
    asked = {name: dict(zip(("limit", "samples"), plan.of(name), strict=True)) for name in (*REASONING, OPEN, GENERAL)}
    return {"suites": asked, "temperature": 1.0, "top_p": 1.0, "seed": plan.seed,
            "max_new_tokens": first.max_new_tokens, "judge": judge_ref, "wording": TINY.name, "against": against,
            "interval": "95 %, over questions"}
