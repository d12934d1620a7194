"""The section on evaluations: figures with intervals, the paper's beside them, pairs of models, test-time scaling."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

from etils import epath

from r1jax.core.errors import DataError
from r1jax.eval import results, scaling
from r1jax.eval.compare import compare
from r1jax.eval.results import Evaluation
from r1jax.eval.summary import summarise
from r1jax.report.figures import Picture, scaling_picture
from r1jax.report.markup import figures, safe, table
from r1jax.report.paper import SCORES
from r1jax.report.runs import natural
from r1jax.store.evaluations import evaluation_folders

_ALL_PAIRS = 5  # models on a suite, from more of which each is compared with the best alone
_MOST_PLOTS = 12
_SHOWN = 1000  # characters of a response's beginning, and of its end
_VERDICTS = ((True, "right", "✓ right"), (False, "wrong", "✗ wrong"), (None, "", "not graded"))

_HEAD = ("suite", "model", "scope", "k", "pass@1 (%)", "cons@k (%)", "pass@k (%)", "tokens", "problems")
_TABLE_NOTE = (
    "k samples a problem. pass@1 is the mean over samples, cons@k the majority answer of k, pass@k a right one among "
    "k; in brackets 95 % intervals over problems (Agresti and Coull's, at the effective number of problems); of 26: "
    "over the 26 problems with k graded samples. Below: the standard error (SE) over problems and, of pass@1, the 95 % "
    "interval of the bootstrap over problems, which is empty where all are alike. Samples that could not be graded "
    "count neither as right nor as wrong. Tokens: mean length."
)
_PAPER_NOTE = (
    "Not ours: as published in arXiv 2501.12948, in percent; stages of R1 from the second version, distilled models "
    "from the first; R1-Zero from both, which give different figures. Sampled at temperature 0.6 and top-p 0.95 "
    "within 32,768 tokens. * A majority vote or self-consistency, the number of samples not stated."
)
_PAIRS_NOTE = (
    "Differences in points, over the problems that both models were graded on (of several evaluations of the same "
    "problems the largest; where their folders differ both are named), with 95 % intervals of the paired "
    "bootstrap; p of the sign-flip permutation test, uncorrected for the number of pairs. * Fewer than six problems "
    "differ: the interval is a cautious one."
)
_JUDGED_NOTE = (
    "A judge chose between the answers' summaries, each first as often; a tie counts half. In brackets 95 % intervals "
    "over questions; those without a verdict that could be read are left out."
)
_SCALING_CAPTION = (
    "At a token budget a sample is right if it is right and no longer; for k samples, expectations over subsets of "
    "those drawn. Bands: 95 % intervals over problems."
)


@dataclass(frozen=True)
class Measured:
    """One evaluation of a store: its samples without their texts and its figures, or why it cannot be read.

    suite: the name of its folder, which names the settings that are not the suite's own.
    """

    model: str
    suite: str
    evaluation: Evaluation | None
    figures: Mapping[str, Any]
    problem: str = ""

    @property
    def slug(self) -> str:
        """A file name's beginning."""
        return re.sub(r"[^A-Za-z0-9.-]+", "_", f"eval_{self.suite}_{self.model}")


def read_evaluations(store_root) -> list[Measured]:
    """Every evaluation of a store, by suite and model; one that cannot be read says why."""
    found = []
    for folder in evaluation_folders(store_root):
        model, suite = folder.parent.name, folder.name
        try:
            evaluation = results.load(folder, texts=False)
        except DataError as error:
            told = str(error).replace(f"{folder.parent.parent.parent}/", "")  # the store by its folders' names only
            found.append(Measured(model, suite, None, {}, told))
            continue
        found.append(Measured(model, suite, evaluation, summarise(evaluation)))
    return sorted(found, key=lambda measured: (measured.suite, natural(measured.model)))


def evaluations_section(measured: Sequence[Measured], drawn: list[Picture]) -> str:
    """The section; its plots are added to ``drawn``."""
    known = [one for one in measured if one.evaluation is not None]
    parts = ['<section><h2 id="Evaluations">Evaluations</h2>', table(_HEAD, [_row(one) for one in known], words=3),
             f'<p class="note">{safe(_TABLE_NOTE)}</p>']
    parts += [f"<p>{safe(f'{one.model} on {one.suite} cannot be read: {one.problem}')}</p>"
              for one in measured if one.evaluation is None]
    parts += [_paper_part(known), _pairs_part(known), _judged_part(known)]
    shown = _largest(known)
    plots = [picture for one in shown if (picture := _plot(one))]
    drawn += plots
    if plots:
        parts.append(f"<h3>Test-time scaling</h3>{figures(plots)}")
    if len(shown) < len(known):
        parts.append(f'<p class="note">Drawn for the {len(shown)} evaluations with most samples of {len(known)}.</p>')
    parts += ["<h3>Samples</h3>" if known else "", *(_samples_part(one) for one in known), "</section>"]
    return "".join(parts)


def _largest(known: Sequence[Measured]) -> list[Measured]:
    """At most `_MOST_PLOTS` evaluations, those with most samples a problem and most problems, in their own order."""
    ranked = sorted(known, key=lambda one: _size(one)[::-1], reverse=True)[:_MOST_PLOTS]
    return [one for one in known if one in ranked]


def _row(one: Measured) -> tuple[str | tuple[str, str], ...]:
    found, k = one.figures, one.evaluation.settings["samples"]
    scope = [found["partial"] or "whole" * (found["unfinished"] is None)]
    scope += [f"unfinished: {found['unfinished']}"] if found["unfinished"] else []
    scope += [f"{found['samples_ungraded']:,} samples not graded"] if found["samples_ungraded"] else []
    return (
        one.suite, one.model, "; ".join(filter(None, scope)), str(k), _with_interval(found, "pass@1"),
        _at_k(found, f"cons@{k}", k), _at_k(found, f"pass@{k}", k),
        (_number(found["length"], ",.0f"), f"{_number(found['truncated'], '.1f', 100)} % cut off"),
        (f"{found['problems']:,}", f"{found['samples']:,} samples"),
    )  # fmt: skip


def _number(value: float | None, form: str, scale: float = 1.0) -> str:
    return "–" if value is None else format(scale * value, form)


def _with_interval(found: Mapping[str, Any], name: str) -> str | tuple[str, str]:
    """The figure and its interval; below them the standard error and, where it was made, the bootstrap's interval."""
    value, low, high = (found.get(key) for key in (name, f"{name}/low", f"{name}/high"))
    if value is None:
        return "–"
    error, resampled = found[f"{name}/standard_error"], found.get(f"{name}/bootstrap")
    below = [f"SE {_number(error, '.1f', 100)}"]
    below += [f"bootstrap {100 * resampled[0]:.1f} to {100 * resampled[1]:.1f}"] if resampled else []
    return f"{100 * value:.1f} ({100 * low:.1f} to {100 * high:.1f})", "; ".join(below)


def _at_k(found: Mapping[str, Any], name: str, k: int) -> str | tuple[str, str]:
    """A figure for all k samples, and how many problems have them where not all do."""
    if k == 1 or found[name] is None:
        return "–"
    counted = found[f"{name.partition('@')[0]}@k"][str(k)]["problems"]
    text, below = _with_interval(found, name)
    return text + (f" of {counted}" if counted < found["problems"] else ""), below


def _paper_part(known: Sequence[Measured]) -> str:
    """The paper's table, of the suites that were measured; "" where none is the paper's."""
    suites = list(dict.fromkeys(one.evaluation.settings["suite"] for one in known))
    columns = [suite for suite in suites if any(suite in row for row in SCORES.values())]
    if not columns:
        return ""
    columns += ["cons@64"] if "aime_2024" in columns else []
    head = ("the paper's model", *(f"aime_2024 {c}" if c == "cons@64" else f"{c} pass@1" for c in columns))
    rows = [(model, *(_papers(row, column) for column in columns)) for model, row in SCORES.items()]
    return (f"<details><summary>The paper's figures on {safe(', '.join(suites_of(columns)))}</summary>"
            f'{table(head, rows)}<p class="note">{safe(_PAPER_NOTE)}</p></details>')


def _papers(row: Mapping[str, float], column: str) -> str:
    """A figure of the paper; a vote of unknown size stands in the column of cons@64 with a mark."""
    if column == "cons@64" and "cons" in row:
        return f"{row['cons']:.1f}*"
    return f"{row[column]:.1f}" if column in row else "–"


def suites_of(columns: Sequence[str]) -> list[str]:
    """The columns that are suites."""
    return [column for column in columns if column != "cons@64"]


def _judged_part(known: Sequence[Measured]) -> str:
    """Win rates by judges, as `r1jax win-rate` left them beside the first model's samples; "" where there are none."""
    files = [file for one in known for file in sorted(epath.Path(one.evaluation.folder).glob("win-rate-*.json"))]
    found = [json.loads(file.read_text()) for file in files]
    rows = [(one["suite"], one["a"], one["b"], one["judge"].rpartition("#")[2], "–" if one["rate"] is None
             else f"{100 * one['rate']:.1f} ({100 * one['low']:.1f} to {100 * one['high']:.1f})",
             f"{one['wins']} / {one['ties']} / {one['losses']}", f"{one['questions']}", f"{one['unreadable']}")
            for one in found]
    head = ("suite", "A", "B", "judge", "win rate of A (%)", "wins / ties / losses", "questions", "without a verdict")
    note = f'<p class="note">{safe(_JUDGED_NOTE)}</p>'
    return f"<h3>Judged against each other</h3>{table(head, rows, words=4)}{note}" if rows else ""


def _pairs_part(known: Sequence[Measured]) -> str:
    """Models on the same suite against each other; "" where there is no pair."""
    rows, refused, warned = [], [], []
    for suite in dict.fromkeys(one.evaluation.settings["suite"] for one in known):
        for first, second in _pairs([one for one in known if one.evaluation.settings["suite"] == suite]):
            where = first.suite if first.suite == second.suite else f"{first.suite} / {second.suite}"
            pair = f"{first.model} against {second.model} on {where}"
            try:
                found = compare(first.evaluation, second.evaluation)
            except DataError as error:
                refused.append(f"{pair}: {error}")
                continue
            rows.append(_pair_row(where, first, second, found))
            warned += [f"{pair}: {'; '.join(found['warnings'])}."] if found["warnings"] else []
    if not rows and not refused:
        return ""
    head = ("evaluation", "A", "B", "pass@1, A − B", "p", "cons@k, A − B", "p", "wins / ties / losses of A", "problems")
    notes = "".join(f"<li>{safe(line)}</li>" for line in [*refused, *warned])
    return ("<h3>Models against each other</h3>" + (table(head, rows, words=3) if rows else "")
            + f'<p class="note">{safe(_PAIRS_NOTE)}</p>' + (f'<ul class="note">{notes}</ul>' if notes else ""))


def _pairs(measured: Sequence[Measured]) -> list[tuple[Measured, Measured]]:
    """Evaluations of one suite, two and two of different models, each pair of models once."""
    models: dict[str, list[Measured]] = {}
    for one in sorted(measured, key=_size, reverse=True):
        models.setdefault(one.model, []).append(one)
    names = sorted(models, key=natural)
    if len(names) <= _ALL_PAIRS:
        return [_matching(models[a], models[b]) for a, b in combinations(names, 2)]
    best = max(names, key=lambda name: models[name][0].figures["pass@1"] or 0.0)
    return [_matching(models[best], models[name]) for name in names if name != best]


def _matching(ours: Sequence[Measured], theirs: Sequence[Measured]) -> tuple[Measured, Measured]:
    """Two models' evaluations that are best compared: of the same problems, most of them, and drawn in the same way."""
    def rank(pair: tuple[Measured, Measured]) -> tuple:
        a, b = (one.evaluation.settings for one in pair)
        sizes = tuple(min(pair_sizes) for pair_sizes in zip(*map(_size, pair), strict=True))
        return a.get("digest") == b.get("digest"), sizes[0], pair[0].suite == pair[1].suite, sizes[1]

    return max(product(ours, theirs), key=rank)


def _size(one: Measured) -> tuple[int, int]:
    """Problems that count, and samples of each."""
    return one.figures["problems"], one.evaluation.settings["samples"]


def _pair_row(where: str, first: Measured, second: Measured, found: Mapping[str, Any]) -> tuple[str, ...]:
    votes = found["cons@k"]
    return (
        where, first.model, second.model, _points(found), f"{found['p']:.3g}",
        f"{_points(votes)} (k = {votes['k']})" if votes else "–", f"{votes['p']:.3g}" if votes else "–",
        f"{found['wins']} / {found['ties']} / {found['losses']}", str(found["common"]),
    )  # fmt: skip


def _points(found: Mapping[str, Any]) -> str:
    low, high = 100 * found["difference/low"], 100 * found["difference/high"]
    return f"{100 * found['difference']:+.1f} ({low:+.1f} to {high:+.1f})" + ("*" if found["few_differences"] else "")


def _plot(one: Measured) -> Picture | None:
    """Both panels, or None where nothing was graded."""
    budget, curves = scaling.token_budget(one.evaluation), scaling.sample_curves(one.evaluation)
    if not budget["problems"]:
        return None
    scope = f" {one.figures['partial']}." if one.figures["partial"] else ""
    return scaling_picture(one.slug, f"{one.model} on {one.suite}", _SCALING_CAPTION + scope, budget, curves)


def _samples_part(one: Measured) -> str:
    """The first right, the first wrong and the first ungraded sample; whole ones before those that were cut off."""
    rows = [row for samples in one.evaluation.rows.values() for row in samples]
    chosen = []
    for correct, name, word in _VERDICTS:
        of_kind = sorted((row for row in rows if row["correct"] is correct), key=lambda row: row["truncated"])
        chosen += [(of_kind[0], name, word)] if of_kind else []
    texts = results.texts(one.evaluation, [row for row, _, _ in chosen])
    cards = "".join(_card(row, name, word, text) for (row, name, word), text in zip(chosen, texts, strict=True))
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in one.figures["verdict_counts"].items())
    return (f"<details><summary>{safe(one.model)} on {safe(one.suite)}: {safe(kinds or 'no samples yet')}</summary>"
            f'<div class="moments">{cards}</div></details>')


def _card(row: Mapping[str, Any], name: str, word: str, text: str) -> str:
    reason = ": ".join(filter(None, (row["kind"], row["detail"])))
    word += ", cut off" if row["truncated"] else ""
    answer = "no answer" if row["answer"] is None else f"answer {_shortened(row['answer'], 100)}"
    below = " · ".join((reason, answer, f"{row['length']:,} tokens"))
    size = "long" if len(text) > 900 else ""
    return (
        f'<div class="card moment {name}"><h4>{safe(row["problem"])}, sample {row["sample"]} '
        f'<span class="verdict">{word}</span></h4><pre class="{size}">{safe(_shortened(text, _SHOWN))}</pre>'
        f'<div class="meta">{safe(below)}</div></div>'
    )


def _shortened(text: str, each: int) -> str:
    """The beginning and the end of a long text, and how much is left out between them."""
    left_out = len(text) - 2 * each
    return text if left_out <= 0 else f"{text[:each]}\n… {left_out:,} characters …\n{text[-each:]}"
