"""Evaluation on held-out problems: pass@1 over several samples, majority vote, lengths, and the texts kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from r1jax.core.errors import DataError
from r1jax.core.records import Problem, Scores
from r1jax.core.settings import EvalConfig
from r1jax.data.world import traces
from r1jax.eval import metrics
from r1jax.rewards import accuracy, combine, language
from r1jax.sampler.responses import Responses, respond
from r1jax.sampler.sampling import Sampling


def response_metrics(responses: Responses) -> dict[str, float]:
    """What the responses look like, whatever their reward: length, truncation, reflection, languages, attempts."""
    texts = [c.full_text for c in responses.completions]
    out = {
        "length": float(np.mean(responses.rollout.lengths)),
        "truncated": float(1 - np.mean(responses.rollout.finished)),
        "reflection": float(np.mean([language.reflection_count(t) for t in texts])),
        "language_mix": float(np.mean([language.mixed(t) for t in texts])),
    }
    countdown_rows = [i for i in range(len(texts)) if responses.problem_of(i).domain == "countdown"]
    if countdown_rows:
        out |= traces.summary(traces.read(texts[i], responses.problem_of(i).meta["target"]) for i in countdown_rows)
    return out


def records(responses: Responses, scores, step: int, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Rows of a rollout as records of the store's schema (store/samples.py)."""
    out = []
    for i in rows:
        problem, completion = responses.problem_of(i), responses.completions[i]
        out.append({
            "problem": problem.id, "domain": problem.domain, "question": problem.question, "answer": problem.answer,
            "prompt_ids": responses.prompts[i // responses.samples], "completion_ids": list(completion.ids),
            "text": completion.full_text, "step": step, "truncated": completion.truncated,
            "scores": {name: float(values[i]) for name, values in scores.parts.items()},
            "total": math.nan if scores.unscorable[i] else float(scores.total[i]),
            "verdicts": {name: {"kind": given[i].kind, "detail": given[i].detail}
                         for name, given in scores.verdicts.items()},
        })
    return out


def evaluate(cfg, params, tokenizer, template: str, problems: Sequence[Problem], config: EvalConfig, key, *, mesh,
             slots: int, max_new_tokens: int, suite: str, step: int = 0,
             max_prompt_tokens: int | None = None) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Samples and grades held-out problems.

    Args:
      params: weights. problems: held-out questions, each answered `config.samples` times.
      max_new_tokens: token budget, unless the configuration has its own. suite: name in the metrics' keys.
      max_prompt_tokens: the rollouts' own, so that evaluation and rollouts share compiled programs.

    Returns:
      (metrics ``eval/<suite>/...``: pass@1 with its standard error over problems, pass@k and cons@k for
      k samples, the share of samples that could not be graded and were left out, and what
      `response_metrics` says; of problems of several domains also ``eval/<domain>/...``: the former, length and
      truncated; records of every sample). Problems of domains that have no rule have no pass@1 and no votes.

    Raises:
      DataError: no problem can be graded, though their domains should have a rule.
    """
    sampling = Sampling(tokenizer.ends, config.temperature, config.top_p, config.top_k)
    responses = respond(cfg, params, tokenizer, template, problems, key, sampling=sampling, samples=config.samples,
                        max_new_tokens=config.max_new_tokens or max_new_tokens, mesh=mesh, slots=slots,
                        max_prompt_tokens=max_prompt_tokens)
    asked = [responses.problem_of(i) for i in range(len(responses.completions))]
    rewards = combine.resolve((("accuracy", 1.0), ("format", 1.0), ("summary", 0.0)))
    scores = combine.score(rewards, asked, responses.completions)
    known = _known(problems, scores.parts["accuracy"], config.samples)
    if not known and not all(p.domain in accuracy.WITHOUT_RULE for p in problems):
        raise DataError(f"No problem of the suite {suite!r} can be graded: their domains have no rule "
                        f"({', '.join(sorted({p.domain for p in problems}))}), or no gold answer can be read.")
    found = {f"{suite}/{name}": value for name, value in (_figures(responses, scores, known) | {
        "ungraded": float(np.isnan(scores.parts["accuracy"]).mean()), "format": float(np.mean(scores.parts["format"])),
        "summary": float(np.mean(scores.parts["summary"])),
        "tokens_per_second": responses.report.tokens / responses.report.seconds} | response_metrics(responses)).items()}
    domains = dict.fromkeys(p.domain for p in problems)
    for domain in domains if len(domains) > 1 else ():
        own = [q for q, problem in enumerate(problems) if problem.domain == domain]
        found |= {f"{domain}/{name}": value for name, value in (
            _figures(responses, scores, {q: known[q] for q in own if q in known}) | _sizes(responses, own)).items()
                  if not math.isnan(value)}  # one problem alone has no standard error
    kept = records(responses, scores, step, range(len(asked)))
    return {f"eval/{name}": value for name, value in found.items()}, kept


def _known(problems: Sequence[Problem], graded: np.ndarray, samples: int) -> dict[int, np.ndarray]:
    """Number of a problem -> those of its samples that could be graded; without problems that have none."""
    rows = ((q, np.flatnonzero(~np.isnan(row))) for q, row in enumerate(graded.reshape(len(problems), samples)))
    return {q: found for q, found in rows if len(found)}


def _figures(responses: Responses, scores: Scores, known: Mapping[int, np.ndarray]) -> dict[str, float]:
    """Accuracy by samples and by votes over some problems; nothing where there are none."""
    if not known:
        return {}
    G, problems = responses.samples, responses.problems
    graded = scores.parts["accuracy"].reshape(-1, G)
    right = [graded[q, rows] for q, rows in known.items()]  # a sample that cannot be graded counts for nothing
    votes = [accuracy.classes(problems[q], [responses.completions[q * G + i] for i in rows])
             for q, rows in known.items()]
    each = np.asarray([values.mean() for values in right])
    return {"pass@1": float(each.mean()), "pass@1/stderr": metrics.standard_error(each),
            f"pass@{G}": float(np.mean(each > 0)),
            f"cons@{G}": float(np.mean([metrics.cons_at_k(*row) for row in zip(votes, right, strict=True)]))}


def _sizes(responses: Responses, questions: Sequence[int]) -> dict[str, float]:
    """How long the responses to some problems are, and how many were cut off."""
    rows = (np.asarray(questions)[:, None] * responses.samples + np.arange(responses.samples)).reshape(-1)
    return {"length": float(np.mean(responses.rollout.lengths[rows])),
            "truncated": float(1 - np.mean(responses.rollout.finished[rows]))}
