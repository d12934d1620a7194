"""Which questions a run trains on and which it keeps for evaluation, as functions of (seed, rollout)."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from r1jax.core import keys, log
from r1jax.core.config import Experiment
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import Problem
from r1jax.core.settings import DataConfig, RLConfig
from r1jax.data import problems as files
from r1jax.data import select, sources
from r1jax.data.sets.fields import LANGUAGES, language_of
from r1jax.data.world import corpus
from r1jax.data.world.corpus import world_problems
from r1jax.rewards import accuracy
from r1jax.stages.context import Context
from r1jax.text.prompts import prompt_ids

HELD_OUT_SHARE = 0.1
HELD_OUT_SEED = 20250122  # the same held-out questions for every seed, so that runs compare

Sides = tuple[tuple[Problem, ...], tuple[Problem, ...]]
"""Problems to train on, and those that are held out."""


def check(experiment: Experiment) -> None:
    """Refuses shares of questions that are none, of the run and of its last part, before anything is begun or read.

    Raises:
      ConfigError: names the setting: data.domains, data.languages, data.mixture or those of rl.last_part.
    """
    data, last = experiment.data, experiment.rl and experiment.rl.last_part
    if experiment.sft and not experiment.evaluation.problems:
        return  # records alone are read, and no questions
    if data.mixture:
        select.check_shares("data.mixture", data.mixture)
    if last and last.mixture:
        select.check_shares("rl.last_part.mixture", last.mixture)
    select.check_shares("data.languages", data.languages)
    if _is_world(data):
        corpus.check_languages(name for name, _ in data.languages)
        _check_domains("data.domains", data.domains)
    _file_domain(data)
    if last and last.domains and _is_world(last_part_data(experiment)):
        _check_domains("rl.last_part.domains", last.domains)


def _check_domains(field: str, rows: Sequence[tuple[str, float]]) -> None:
    select.check_shares(field, rows)
    corpus.check_domains((name for name, _ in rows), field)


def digests(experiment: Experiment) -> dict[str, str]:
    """The digest of the problems of files and sets, part of the fingerprint; the tiny world needs none.

    Of all that a problem is, since a set's tests may change and its questions not. Logic's puzzles are not made for it.
    """
    first, last = experiment.data, last_part_data(experiment)
    read = [one for one in ([first] if first == last else [first, last]) if not _is_world(one)]
    marks: list[str] = []
    for data, source in ((one, source) for one in read for source in _shares(one)[0]):
        known = "" if data.pass_rates or not sources.is_named(source) else sources.version(source)
        marks += [known] if known else [
            files.content_digest(p) for side in _sides(data, source, experiment.collect is not None) for p in side]
    shown = experiment.collect.examples if experiment.collect and experiment.collect.few_shot else "world"
    there = shown != "world" and Path(shown).is_file()  # a file that is not there is the stage's to refuse
    found = {"examples": files.digest(Path(shown).read_text())} if there else {}
    return found | ({"data": files.digest(*sorted(marks))} if read else {})


def held_out(experiment: Experiment, context: Context) -> list[Problem]:
    """The evaluation's questions, the same at every step and for every seed; of a mixture each source's share.

    Fewer than evaluation.problems, with a warning, where a source does not hold out as many as its share asks for.
    """
    count = experiment.evaluation.problems
    if _is_world(experiment.data):
        return world_problems(HELD_OUT_SEED, count, split="held_out", shares=dict(experiment.data.domains),
                              languages=dict(experiment.data.languages))
    names, shares = _shares(experiment.data)
    kept = [_fitting(experiment, context, name, _sides(experiment.data, name)[1]) for name in names]
    wanted = select.counts(shares, count)
    found = [p for part, number in zip(kept, wanted, strict=True) for p in part[:number]]
    if len(found) < count:
        short = [f"{name} holds out {len(part)} of the {number} that it is asked for"
                 for name, part, number in zip(names, kept, wanted, strict=True) if len(part) < number]
        log.warn(f"The evaluation has {len(found)} questions and not evaluation.problems={count}: {', '.join(short)}.")
    return found


def last_part_from(rl: RLConfig) -> float:
    """Updates before the last part of a run; infinite without one."""
    return math.inf if rl.last_part is None else rl.steps - rl.last_part.steps


def last_part_data(experiment: Experiment) -> DataConfig:
    """The questions of a run's last part; those of the rest where it has none of its own."""
    data, last = experiment.data, experiment.rl and experiment.rl.last_part
    return replace(data, domains=last.domains or data.domains, mixture=last.mixture or data.mixture) if last else data


def training(experiment: Experiment, context: Context, count: int | None = None) -> Callable[[int], list[Problem]]:
    """(rollout number) -> its questions, rl.questions or `count`: of a mixture each source's share, rounded up or down.

    A source's questions come in a new order each epoch of it, none twice in one. The last part of a run (rl.last_part)
    draws from its own questions, none of which is held out of the others; its rollouts are numbered on, and its epochs
    are counted as if all rollouts had been its own.
    """
    count, rl, data = count or experiment.rl.questions, experiment.rl, last_part_data(experiment)
    draw = _draw(experiment, context, experiment.data, count)
    if data == experiment.data:
        return draw
    later = _draw(experiment, context, data, count)
    first = last_part_from(rl) // rl.minibatches * rl.dynamic_sampling
    return lambda rollout: (draw if rollout < first else later)(rollout)


def _draw(experiment: Experiment, context: Context, data: DataConfig, count: int) -> Callable[[int], list[Problem]]:
    """`training` on these data alone."""
    seed = experiment.seed
    if _is_world(data):
        return lambda rollout: world_problems(
            keys.host_seed(seed, rollout, "problems"), count, split="train",
            shares=dict(data.domains), languages=dict(data.languages))
    names, shares = _shares(data)
    evaluated = [] if _is_world(experiment.data) else [
        p for name in _shares(experiment.data)[0] if name not in names for p in _sides(experiment.data, name)[1]]
    pools = [_fitting(experiment, context, name, pool) for name, pool in _pools(
        data, names, evaluated, experiment.collect is not None)]
    if len(pools) == 1:
        order = _orders(pools[0], lambda epoch: keys.host_rng(seed, epoch, "problems"))
        return lambda rollout: [order(at) for at in range(rollout * count, (rollout + 1) * count)]
    orders = [_orders(pool, functools.partial(_own_rng, seed, name)) for name, pool in zip(names, pools, strict=True)]
    drawn = [np.zeros(len(pools), np.int64)]  # of each source, before rollout 0, 1, ...

    def draw(rollout: int) -> list[Problem]:
        while len(drawn) < rollout + 2:
            start = _own_rng(seed, "shares", len(drawn) - 1).random()
            drawn.append(drawn[-1] + select.systematic(shares, count, start))
        return [order(at) for order, first, end in zip(orders, drawn[rollout], drawn[rollout + 1], strict=True)
                for at in range(first, end)]

    return draw


def _is_world(data: DataConfig) -> bool:
    return not data.mixture and data.source == "world"


def _file_domain(data: DataConfig) -> str:
    """The domain of a file's problems.

    Raises:
      ConfigError: none is named.
    """
    if not data.domains:
        raise ConfigError("data.domains is empty; its first row names the domain of a file's questions, such as "
                          "(('math', 1.0),).")
    return data.domains[0][0]


def domains_of(data: DataConfig) -> list[str]:
    """The domains that a run asks questions of, each once: the world's, or those of its sets and files."""
    if _is_world(data):
        return [name for name, share in data.domains if share > 0]
    known = {**sources.SETS, **sources.OWN}
    found = []
    for source in [source for source, share in data.mixture if share > 0] or [data.source]:
        name = source.partition("=")[0].partition(":")[0]
        own = known[name].domain if name in known else name
        found.append(own if sources.is_named(source) else _file_domain(data))
    return list(dict.fromkeys(found))


def _shares(data: DataConfig) -> tuple[list[str], list[float]]:
    """The sources and their shares.

    Raises:
      ConfigError: a source that is named twice, the tiny world in a mixture, or shares that are none.
    """
    names = [source for source, _ in data.mixture] or [data.source]
    shares = [share for _, share in data.mixture] or [1.0]
    select.counts(shares, 1)
    if len(set(names)) < len(names):
        raise ConfigError(f"data.mixture names a source twice ({', '.join(names)}); add its shares up.")
    if data.mixture and "world" in names:
        raise ConfigError("data.mixture cannot hold the tiny world; use data.source=world with data.domains.")
    return names, shares


def _pools(data: DataConfig, names: Sequence[str],
           evaluated: Sequence[Problem] = (), collects: bool = False) -> list[tuple[str, Sequence[Problem]]]:
    """Each source with its training problems: in a mixture none that another source has, or holds out.

    evaluated: other questions that a run is evaluated on, which none of its sources may have. collects: as `_sides`.

    Raises:
      DataError: nothing is left of a source of a mixture.
    """
    sides = [_sides(data, name, collects) for name in names]
    if len(names) == 1 and not evaluated:
        return [(names[0], sides[0][0])]
    seen = {select.normal(p.question) for _, held in sides for p in held} | {select.normal(p.question)
                                                                              for p in evaluated}
    pools = [select.without_repeats(pool, seen)[0] for pool, _ in sides]
    for name, pool, (whole, _) in zip(names, pools, sides, strict=True):
        if not pool:
            mine = {select.normal(p.question) for p in whole}
            others = [other for other, (trained, held) in zip(names, sides, strict=True)
                      if any(select.normal(p.question) in mine for p in (held if other == name else (*trained, *held)))]
            also = ", ".join(others) or "what is held out of data.mixture"
            raise DataError(f"data.mixture leaves nothing of {name} to train on: all its questions are also in {also}; "
                            "leave one of them out.")
    return list(zip(names, pools, strict=True))


def _sides(data: DataConfig, source: str, collects: bool = False) -> Sides:
    """One source, read once for as long as its files stay as they are.

    Args:
      collects: for a data stage, which evaluates nothing. It takes all questions that no rule can grade, of which no
        stage makes an evaluation; of the others it leaves out what the stages after it hold out of the same source.

    Raises:
      ConfigError: data.languages asks for one that no file and no set has.
    """
    languages = tuple(name for name, share in data.languages if share > 0)
    unknown = [language for language in languages if language not in LANGUAGES]
    if unknown:
        raise ConfigError(f"data.languages asks for {', '.join(unknown)}, but questions of files and sets are told "
                          f"apart as {' or '.join(LANGUAGES)} alone; leave it out.")
    local = sources.paths(source) if sources.is_named(source) else [Path(source)]
    local += [Path(data.pass_rates)] if data.pass_rates else []
    stamps = tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in local if path.is_file())
    return _read(source, data.question_field, data.answer_field, _file_domain(data), data.pass_rate, data.pass_rates,
                 languages, collects, stamps)


@functools.lru_cache(maxsize=16)
def _read(source: str, question_field: str, answer_field: str, domain: str, pass_rate: tuple[float, float],
          pass_rates: str, languages: Sequence[str], collects: bool, stamps: Sequence[tuple[str, int, int]]) -> Sides:
    """A source's problems after the filters, split; `stamps` tell a changed file from the one read before."""
    if sources.is_named(source):
        loaded, left_out = sources.load(source)
        loaded, again = select.without_repeats(loaded)
        left_out = {**left_out, "repeated": left_out.get("repeated", 0) + again["repeated"]} if again else left_out
    else:
        loaded = files.load(source, question_field=question_field, answer_field=answer_field, domain=domain)
        loaded, left_out = [replace(p, language=language_of(p.question)) for p in loaded], {}
    kept, other = select.by_language(loaded, languages)
    filtered = {}
    if pass_rate != (0.0, 1.0):
        rates = select.read_pass_rates(pass_rates) if pass_rates else None
        kept, filtered = select.by_pass_rate(kept, *pass_rate, rates)
    for reason, count in {**left_out, **other, **filtered}.items():
        log.warn(f"{count} of the problems of {source} are left out: {reason}.")
    training, held = files.split(kept, HELD_OUT_SHARE, salt="r1jax")
    if collects:
        held = [problem for problem in held if problem.domain not in accuracy.WITHOUT_RULE]
        out = {problem.id for problem in held}
        training = [problem for problem in kept if problem.id not in out]
    if not training or not (held or collects):
        raise DataError(f"{source} has {len(kept)} problems of {len(loaded)} after data.languages and data.pass_rate, "
                        "too few to train on and to hold some out.")
    return tuple(training), tuple(held)


def _orders(pool: Sequence[Problem], rng: Callable[[int], np.random.Generator]) -> Callable[[int], Problem]:
    """(how many were drawn before) -> the question: each epoch has all of them in an order drawn from `rng(epoch)`."""
    order = functools.lru_cache(maxsize=2)(lambda epoch: rng(epoch).permutation(len(pool)))
    return lambda at: pool[order(at // len(pool))[at % len(pool)]]


def _own_rng(seed: int, name: str, step: int) -> np.random.Generator:
    """A generator of one source and step, so that a source's order does not depend on the others of a mixture."""
    mark = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng([keys.host_seed(seed, step, "problems"), mark])


def _fitting(experiment: Experiment, context: Context, source: str, found: Sequence[Problem]) -> list[Problem]:
    """Questions whose prompts fit the token budget for prompts.

    Raises:
      DataError: none does.
    """
    stage, name = (experiment.rl, "rl") if experiment.rl else (experiment.collect, "collect")
    limit = (stage and stage.max_prompt_tokens) or experiment.model.max_length

    def size(question: str) -> int:
        return len(prompt_ids(context.tokenizer, experiment.data.prompt, question))

    kept, left_out = select.by_length(found, limit, size)
    if not kept:
        raise DataError(f"Every prompt of {source} is longer than {name}.max_prompt_tokens={limit} "
                        f"(the shortest has {min(size(p.question) for p in found)} tokens); raise it.")
    if left_out:
        log.warn(f"{sum(left_out.values())} of {len(found)} questions of {source} have prompts of more than {limit} "
                 f"tokens ({name}.max_prompt_tokens) and are left out.")
    return kept
