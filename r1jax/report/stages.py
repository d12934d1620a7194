"""The section on the stages: every artifact on every domain, the paper's table 3 beside it, and a picture of both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import matplotlib
from etils import epath
from matplotlib.figure import Figure as Canvas

from r1jax.eval import stage_table as tables
from r1jax.eval.stage_table import MEASURES, STAGES, Figure, Row, StageTable
from r1jax.report.figures import COLOURS, MUTED, STYLE, Picture, picture
from r1jax.report.markup import figures, safe, table
from r1jax.report.paper import STAGE_TABLE
from r1jax.report.paper import STAGES as THEIRS
from r1jax.report.runs import natural
from r1jax.store.evaluations import FOLDER

TITLE = "Stages"
# panel -> (measure, label) of its curves
_PANELS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "reasoning (%)": (("countdown/pass@1", "Countdown"), ("reasoning", "five domains")),
    "general (%)": (("general/quality", "quality in truth"), ("general/win_rate", "win rate")),
    "safety (%)": (("safety/safe", "harmful declined"), ("safety/over_refusal", "harmless declined")),
    "readability (%)": (("countdown/readable", "readable"), ("countdown/consistency", "one language")),
}
_PAPERS = ("AIME 2024", "AlpacaEval 2.0", "IF-Eval")
_LOOKS = ((COLOURS["blue"], "-", "o", -0.04), (COLOURS["vermillion"], (0, (5, 1.5)), "s", 0.04))
_NOTE = (
    "Means over held-out questions, below them 95 % intervals over questions. Domains with a rule: pass@1. Open "
    "questions have a reference and no rule: right by the chat model as judge, and in the world's own truth. General "
    "questions: the world's own measure of quality, which no reward reads; the share that the judge prefers to the "
    "answers of {against}, a tie counting half; the reward models' numbers from 0 to 1. Judges and reward models are "
    "shown what follows the thought, without answer tags. Readable: no fault under the default filters; these and "
    "language consistency, mixed languages and tokens are of responses to Countdown. Sampled at temperature "
    "{temperature:g} within {max_new_tokens} tokens; judge: {judge}."
)
_PAPER_NOTE = "Not ours: DeepSeek-R1's stages as published in arXiv 2501.12948v2, table 3, in percent."
_PLOT_NOTE = "In the order of the paper's table 3. Bars: 95 % intervals over questions."


def read_stage_tables(store_root) -> list[StageTable]:
    """The stage tables of a store, by version.

    Raises:
      DataError: one that cannot be read.
    """
    files = (epath.Path(store_root).expanduser() / FOLDER).glob("stage-table-*.json")
    return sorted((tables.load(file) for file in files), key=lambda one: natural(one.version))


def stages_section(found: Sequence[StageTable], drawn: list[Picture]) -> str:
    """The section; its plots are added to ``drawn``."""
    parts = [f'<section><h2 id="{TITLE}">{TITLE}</h2>']
    for number, one in enumerate(found):
        plots = [stage_picture(one), *([paper_stages()] if number == 0 else [])]
        drawn += plots
        parts += [f"<h3>{safe(one.version)}</h3>", figures(plots), _ours(one)]
        parts += [_theirs()] if number == 0 else []
    return "".join([*parts, "</section>"])


def _ours(one: StageTable) -> str:
    left_out = f" Left out: {'; '.join(one.notes)}." if one.notes else ""
    blocks = "".join((f"<h4>{title.capitalize()}</h4>" if title else "") + _block(one, rows)
                     for title, rows in tables.blocks(one))
    return (blocks + f'<p class="note">{safe(_NOTE.format_map(one.settings) + left_out)}</p>'
            + _faults(one))


def _block(one: StageTable, shown: Sequence[Row]) -> str:
    head = ("%, or tokens", *(row.name for row in shown))
    rows = [(MEASURES[name][0], *(_cell(row.figures.get(name), MEASURES[name][1]) for row in shown))
            for name in tables.measured(one)]
    kinds = [name for name in one.rows[0].figures if name.startswith("general/quality/")]
    rows += [(f"quality: {name.rpartition('/')[2]}", *(_cell(row.figures.get(name), 100.0) for row in shown))
             for name in kinds]
    return table(head, rows)


def _cell(figure: Figure | None, scale: float) -> str | tuple[str, str]:
    if figure is None:
        return "–"
    return f"{scale * figure.value:.1f}", f"{scale * figure.low:.1f} to {scale * figure.high:.1f}"


def _faults(one: StageTable) -> str:
    """What makes responses hard to read, folded away."""
    names = list(dict.fromkeys(name for row in one.rows for name in row.faults if name))
    if not names:
        return ""
    rows = [(name, *(f"{100 * row.faults.get(name, 0.0):.1f}" for row in one.rows)) for name in names]
    head = ("share of reasoning responses (%)", *(row.name for row in one.rows))
    return f"<details><summary>What makes responses hard to read</summary>{table(head, rows)}</details>"


def _theirs() -> str:
    rows = [(name, *(f"{value:.1f}" for value in values)) for name, values in STAGE_TABLE.items()]
    return (f"<h3>The paper's table 3, in part</h3>{table(('benchmark', *THEIRS), rows)}"
            f'<p class="note">{safe(_PAPER_NOTE)}</p>')


def stage_picture(one: StageTable) -> Picture:
    """Reasoning, general quality, safety and readability over the stages that are there."""
    rows = [row for name in STAGES if (row := one.row(name))] or list(one.rows)
    slug = re.sub(r"[^A-Za-z0-9.-]+", "_", f"stages_{one.version}")
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(6.0, 5.0), layout="constrained")
        all_axes = canvas.subplots(2, 2, sharex=True)
        for axes, (label, curves) in zip(all_axes.flat, _PANELS.items(), strict=True):
            for (measure, name), (colour, dash, marker, shift) in zip(curves, _LOOKS, strict=True):
                at = [(i + shift, figure) for i, row in enumerate(rows) if (figure := row.figures.get(measure))]
                if not at:
                    continue
                x = [i for i, _ in at]
                y = [100 * figure.value for _, figure in at]
                reach = [[100 * (f.value - f.low) for _, f in at], [100 * (f.high - f.value) for _, f in at]]
                axes.errorbar(x, y, reach, color=colour, linestyle=dash, marker=marker, markersize=4, linewidth=1.6,
                              elinewidth=0.8, capsize=2, label=name)
            axes.set_ylim(-2, 104)
            axes.set_ylabel(label)
            axes.set_xticks(range(len(rows)), [row.name for row in rows])
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="lower left", bbox_to_anchor=(-0.05, 1.0), ncols=2, borderaxespad=0.1, fontsize=8,
                            columnspacing=0.9, handlelength=1.7)
        for axes in all_axes[-1]:
            axes.tick_params(axis="x", labelrotation=30)
        return picture(canvas, slug, f"The stages of {one.version}", _PLOT_NOTE)


def paper_stages() -> Picture:
    """Three rows of the paper's table, small and labelled as the paper's."""
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(3.6, 2.6), layout="constrained")
        axes = canvas.subplots()
        for name, dash, marker in zip(_PAPERS, ("-", (0, (5, 1.5)), (0, (1.5, 1.2))), "os^", strict=True):
            axes.plot(range(len(THEIRS)), STAGE_TABLE[name], color=MUTED, linestyle=dash, marker=marker, markersize=4,
                      linewidth=1.5, label=name)
        axes.set_ylim(0, 104)
        axes.set_xticks(range(len(THEIRS)), THEIRS)
        axes.set_ylabel("score (%)")
        axes.legend(loc="lower right", fontsize=8)
        return picture(canvas, "paper_stages", "The paper's table 3, in part", _PAPER_NOTE)
