"""`r1jax eval`, `compare`, `win-rate`, `judge` and `decontaminate`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from r1jax.cli import kinds
from r1jax.core.errors import ConfigError, DataError, R1JaxError

_EVAL = """\
MODEL is an artifact name@version of the store, embedded:base (the base model that is shipped), a Hugging Face folder or
a name on the hub (Qwen/Qwen2.5-1.5B), or an OpenAI-compatible endpoint http://HOST:PORT/v1#MODEL. Each suite is asked
and sampled as in the paper unless an option says otherwise. Every sample is kept with its grade in STORE/evaluations; a
run that was stopped goes on.

suites of the tiny world, which need no download: countdown, arithmetic, logic, stem, code, open, general
public suites, from the hub or from a file (SUITE=FILE): aime_2024, aime_2025, math_500, gpqa_diamond, livecodebench,
gsm8k, mmlu_pro

examples:
  r1jax eval r1-zero@tiny
  r1jax eval embedded:base --suite countdown,logic --samples 4 --limit 32
  r1jax eval ./Qwen2.5-1.5B --suite math_500,aime_2024=aime.jsonl --max-new-tokens 4096
  r1jax eval http://localhost:8000/v1#deepseek-r1 --suite gpqa_diamond --limit 20 --concurrency 32
"""

_COMPARE = """\
Both models must have been evaluated on the suite (r1jax eval). The intervals are of the difference, over problems.

examples:
  r1jax compare embedded-base r1-zero@tiny --suite countdown
  r1jax compare embedded-base r1-zero@tiny --suite countdown-limit10-k4,countdown       a quick look against the whole
"""

_WIN_RATE = """\
Both models must have been evaluated on the suite (r1jax eval MODEL --suite general). The judge reads summaries only,
four times a pair with the positions changed, and is an endpoint http://HOST:PORT/v1#MODEL, a folder or an artifact.

example:
  r1jax win-rate r1@small dev3@small --suite general --judge http://localhost:8000/v1#judge
"""

_JUDGE = """\
JUDGE is an endpoint http://HOST:PORT/v1#MODEL, a folder, an artifact or embedded:chat (the chat model that is shipped).
It judges the tiny world's held-out judgements, whose truth is known, or the rows of a file, JSON lines of three kinds:

  {"question": ..., "reference": ..., "answer": ..., "label": "correct" or "incorrect"}
  {"question": ..., "answer_a": ..., "answer_b": ..., "label": "A>>B", "A>B", "A=B", "B>A" or "B>>A"}
  {"question": ..., "answer": ..., "label": "safe" or "unsafe"}

examples:
  r1jax judge embedded:chat --wording tiny
  r1jax judge http://localhost:8000/v1#deepseek-v3 --labels labels.jsonl
"""

_DECONTAMINATE = """\
Leaves out training questions that share ten words in a row with a suite's question or solution, as the paper does.

example:
  r1jax decontaminate gsm8k=gsm8k_train.jsonl --suite math_500=math_500.jsonl,aime_2024 --out clean.jsonl
"""


def add(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Adds the commands; `command(name, run, summary, epilog)` makes a parser with --store."""
    parser = command("eval", _eval, "measure a model on suites of problems", _EVAL)
    parser.set_defaults(resumes="; the same command goes on with the samples that are missing")
    parser.add_argument("model", metavar="MODEL", help="name@version, embedded:base, a folder, a hub name, "
                        "http://HOST/v1#MODEL")
    parser.add_argument("--suite", default="countdown", metavar="A,B=FILE", help="suites (default: countdown)")
    parser.add_argument("--samples", type=kinds.count, metavar="K", help="answers a problem (default: the suite's)")
    parser.add_argument("--limit", type=kinds.count, metavar="N", help="only N problems; the result says so")
    parser.add_argument("--temperature", type=kinds.temperature, help="0 is greedy (default: the suite's)")
    parser.add_argument("--top-p", type=kinds.share, help="nucleus sampling's probability mass (default: the suite's)")
    parser.add_argument("--top-k", type=kinds.count, default=0, help="of the k likeliest tokens (default: all)")
    parser.add_argument("--max-new-tokens", type=kinds.count, metavar="N", help="token budget (default: the suite's)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (default: 0)")
    parser.add_argument("--name", metavar="NAME", help="name of the model in the results")
    parser.add_argument("--slots", type=kinds.count, default=64, help="answers decoded together (default: 64)")
    parser.add_argument("--reward-model", metavar="ARTIFACT", help="scores every sample, for best-of-n")
    _add_endpoint(parser)
    pair = command("compare", _compare, "compare two evaluated models problem by problem", _COMPARE)
    _add_pair(pair, ", or two with a comma: A's and B's")
    judged = command("win-rate", _win_rate, "let a judge choose between two models' answers", _WIN_RATE)
    judged.set_defaults(resumes="; the judge's replies so far are kept, the same command goes on")
    _add_pair(judged, suite="general")
    judged.add_argument("--judge", required=True, metavar="JUDGE",
                        help="an endpoint, a folder or an artifact")
    judged.add_argument("--votes", type=kinds.count, default=4, help="opinions on each pair (default: 4)")
    _add_endpoint(judged)
    able = command("judge", _judge, "measure how often a judge agrees with the truth", _JUDGE)
    able.set_defaults(resumes="; an endpoint's replies so far are kept, the same command goes on")
    able.add_argument("judge", metavar="JUDGE", help="an endpoint, a folder, an artifact or embedded:chat")
    able.add_argument("--labels", metavar="FILE", default="world", help="labelled rows (default: the tiny world's)")
    able.add_argument("--wording", default="paper", help="how it is asked, paper or tiny (default: paper)")
    _add_endpoint(able)
    clean = command("decontaminate", _decontaminate, "remove training questions that a suite contains", _DECONTAMINATE)
    clean.add_argument("source", metavar="SOURCE", help="a named set, NAME=FILE, a file or a hub reference")
    clean.add_argument("--suite", required=True, metavar="A,B=FILE", help="suites that must not be in it")
    clean.add_argument("--out", required=True, metavar="FILE", help="JSONL file for the questions that are kept")
    clean.add_argument("--question-field", default="question", metavar="COLUMN", help="of a file (default: question)")
    clean.add_argument("--answer-field", default="answer", metavar="COLUMN", help="of a file (default: answer)")
    clean.add_argument("--words", type=kinds.count, default=10, help="words in a row that count (default: 10)")


def _add_endpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--concurrency", type=kinds.count, default=16, help="requests at a time (default: 16)")
    parser.add_argument("--api-key-env", default="OPENAI_API_KEY", metavar="NAME",
                        help="environment variable with the endpoint's key (default: OPENAI_API_KEY)")
    parser.add_argument("--prices", type=kinds.prices, default=(0.0, 0.0), metavar="IN,OUT",
                        help="of a million prompt and completion tokens, to count the cost (default: 0,0)")


def _add_pair(parser: argparse.ArgumentParser, more: str = "", suite: str = "countdown") -> None:
    parser.add_argument("first", metavar="A", help="a model's name in the results")
    parser.add_argument("second", metavar="B", help="the other model's")
    parser.add_argument("--suite", default="countdown", 
                        help=f"one suite, as its folder is called{more} (default: countdown)")


def _eval(options: argparse.Namespace) -> None:
    """Evaluates suite by suite and prints a table of each as it is done."""
    from r1jax.core.cache import enable_compilation_cache
    from r1jax.eval import suites

    rows, unfinished = suites.parse(options.suite), []  # before anything is loaded

    enable_compilation_cache()
    from r1jax.stages.endpoints import is_endpoint, open_endpoint, spent
    from r1jax.stages.evaluate import Wanted, evaluate
    from r1jax.stages.policies import load_policy, load_reward_model

    score = load_reward_model(options.store, options.reward_model) if options.reward_model else None
    wanted = Wanted(options.samples, options.temperature, options.top_p, options.top_k, options.max_new_tokens,
                    options.seed, options.limit, options.name, score)
    if is_endpoint(options.model):
        model = open_endpoint(options.model, options.store, options.concurrency, options.api_key_env, options.prices,
                              options.name)
    else:
        model = load_policy(options.store, options.model, options.slots)
    refused = []
    for suite, source in rows:
        try:
            found = evaluate(model, suite, source, options.store, wanted)
        except (ConfigError, DataError) as error:  # of this suite alone
            if len(rows) == 1:
                raise
            refused.append(f"{suite.name}: {error}")
            continue
        _show_evaluation(found)
        unfinished += [f"{suite.name} ({found['unfinished']})"] if found["unfinished"] else []
    if is_endpoint(options.model):
        _print([(name, f"{value:g}") for name, value in spent(model.usage()).items() if name != "cost" or value])
    if refused:
        raise R1JaxError("Some suites were left out. " + " ".join(refused))
    if unfinished:
        raise R1JaxError(f"Samples are missing in {', '.join(unfinished)}, because the endpoint did not give them: the "
                         "figures are of the rest, and the same command asks for what is missing.")


def _show_evaluation(figures: Mapping[str, Any]) -> None:
    """The figures that matter, in a few lines; all of them are in result.json and in the report."""
    k = figures["samples_a_problem"]
    asked = figures["partial"] or f"{figures['problems_asked']} problems"
    rows = [(figures["suite"], f"{asked}, {k} samples each, by {figures['model']}")]
    for name in dict.fromkeys(("pass@1", *((f"cons@{k}", f"pass@{k}") if k > 1 else ()))):
        if figures[name] is not None:
            error = figures[name + "/standard_error"]
            rows.append((name, f"{figures[name]:.1%}{'' if error is None else f' ± {error:.1%}'}  (95 %: "
                               f"{figures[name + '/low']:.1%} to {figures[name + '/high']:.1%})"))
    if figures["pass@1/bootstrap"] is not None:
        low, high = figures["pass@1/bootstrap"]
        rows.append(("bootstrap", f"{low:.1%} to {high:.1%} for pass@1"))
    of = [f"{figures['length/' + kind]:.1f} where {kind}" for kind in ("right", "wrong")
          if figures["length/" + kind] is not None]
    if figures["samples"]:
        rows.append(("length", f"{figures['length']:.1f} tokens{' (' + ', '.join(of) + ')' if of else ''}, "
                               f"{figures['truncated']:.1%} cut by the budget"))
    if figures["samples_ungraded"]:
        rows.append(("not graded", f"{figures['samples_ungraded']} of {figures['samples']} samples"))
    rows.append(("verdicts", ", ".join(f"{kind} {share:.1%}" for kind, share in figures["verdicts"].items())))
    if figures["unfinished"]:
        rows.append(("unfinished", figures["unfinished"]))
    if figures["best_of_n"] and figures["best_of_n"][str(k)]["value"] is not None:
        rows.append((f"best of {k}", f"{figures['best_of_n'][str(k)]['value']:.1%}"))
    _print([*rows, ("kept in", f"{figures['folder']}\n")])


def _print(rows: Sequence[tuple[str, str]]) -> None:
    """Names and values in two columns."""
    print("\n".join(f"{name + ' ':<12}{value}" for name, value in rows))


def _compare(options: argparse.Namespace) -> None:
    """Prints the difference of two evaluations."""
    from r1jax.eval.compare import compare
    from r1jax.stages.judging import find_evaluation

    names = options.suite.split(",")
    first, second = (find_evaluation(options.store, name, suite, texts=False) for name, suite in
                     ((options.first, names[0]), (options.second, names[-1])))
    if all(row["kind"] == "no rule" for rows in first.rows.values() for row in rows):
        raise ConfigError(f"{names[0]} has no rule by which answers are right; let a judge compare: r1jax win-rate.")
    found = compare(first, second)
    _show_difference("pass@1", found)
    if found["cons@k"] is not None:
        _show_difference(f"cons@{found['cons@k']['k']}", found["cons@k"])
    print(f"{'problems':<12}{found['common']} in common; {found['a']} is better on {found['wins']}, equal on "
          f"{found['ties']}, worse on {found['losses']}")
    print("\n".join([f"{'interval':<12}{found['interval']}; p by a {found['p_value']}", *found["warnings"]]))


def _show_difference(name: str, found: Mapping[str, Any]) -> None:
    p = f"p = {found['p']:.2g}" if found["p"] > 1e-4 else "p < 0.0001"
    low, high = (100 * found[f"difference/{end}"] for end in ("low", "high"))
    print(f"{name:<12}{found['a/accuracy']:.1%} against {found['b/accuracy']:.1%}: "
          f"{100 * found['difference']:+.1f} points  (95 %: {low:+.1f} to {high:+.1f}, {p})")


def _win_rate(options: argparse.Namespace) -> None:
    """Prints how often a judge prefers the first model's answers."""
    from r1jax.stages.judging import win_rate

    found = win_rate(options.store, options.first, options.second, options.suite, options.judge, options.votes,
                     options.concurrency, options.api_key_env, options.prices)
    rows = [("questions", f"{found['questions']} of {found['suite']}, {found['votes']} votes each by {found['judge']}")]
    if found["rate"] is not None:
        rows += [("win rate", f"{found['rate']:.1%} of {found['a']} over {found['b']}  (95 %: {found['low']:.1%} to "
                              f"{found['high']:.1%}; a tie counts half)"),
                 ("outcomes", f"{found['wins']} wins, {found['ties']} ties, {found['losses']} losses")]
    rows += [("left out", f"{found['unreadable']} questions without readable votes ({found['malformed']} votes "
                          "malformed)"),
             ("not judged", f"{found['silent']} questions decided by a missing answer"),
             ("judge", f"{found['replies']} replies, {found['failed requests']} failed, {found['retries']} retries, "
                       f"{found['prompt tokens']} and {found['completion tokens']} tokens"
                       + (f", cost {found['cost']:.4g}" if found["cost"] else "")), ("kept in", found["kept in"])]
    _print(rows)
    print("".join(f"{warning}\n" for warning in found["warnings"]), end="")
    if found["rate"] is None:
        raise R1JaxError(f"No question could be judged: {options.judge} gives no verdict that can be read; look at its "
                         "replies, or take another judge.")


def _judge(options: argparse.Namespace) -> None:
    """Prints shares of right verdicts, task by task."""
    from r1jax.stages.agreement import TASKS, measure

    found, asked, usage = measure(options.judge, options.store, options.labels, wording=options.wording,
                                  concurrency=options.concurrency, key_variable=options.api_key_env,
                                  prices=options.prices)
    rows = [(task, f"{found[f'agreement/{task}']:.1%} of {sum(row['task'] == task for row in asked)} as the labels "
                   f"say; {found[f'agreement/{task}/unread']:.1%} of the replies cannot be read")
            for task in TASKS if f"agreement/{task}" in found]
    if "agreement/direction" in found:
        rows.append(("direction", f"the better one named in {found['agreement/direction']:.1%} of the pairs that "
                                  "differ"))
    if usage.cost:
        rows.append(("cost", f"{usage.cost:.4g}"))
    _print(rows)


def _decontaminate(options: argparse.Namespace) -> None:
    """Writes the kept questions, and says how many were removed because of which suite."""
    from r1jax.data.decontaminate import run
    from r1jax.eval import suites

    if Path(options.out).is_dir() or not Path(options.out).name:
        raise ConfigError(f"--out {options.out} is a folder; give a file's path, such as clean.jsonl.")
    report = run(options.source, [source for _, source in suites.parse(options.suite)], options.out, n=options.words,
                 question_field=options.question_field, answer_field=options.answer_field)
    _print([("kept", f"{report['kept']} of {report['rows']} questions, in {options.out}"),
            ("removed", f"{report['removed']}, for {options.words} words in a row in common; each with its words in "
                        f"{options.out}.report.json"),
            *((f"  {name.partition('=')[0]}", str(count)) for name, count in report["removed_by_suite"].items())])
    if not report["kept"]:
        raise R1JaxError("Nothing was kept: is the training set the suite itself?")
