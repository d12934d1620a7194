"""The report's page: summary, a section a group of runs, lineage, configurations, commands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from r1jax.core.errors import StoreError
from r1jax.report.claims import TITLE as CLAIMS
from r1jax.report.claims import claims_section, read_claims
from r1jax.report.evaluations import Measured, evaluations_section, read_evaluations
from r1jax.report.figures import Curve, Picture, comparison
from r1jax.report.lineage import graph_text, lineage_picture
from r1jax.report.markup import aha, figure, figures, page, safe, story, table
from r1jax.report.plots import gate_rows, pictures
from r1jax.report.runs import Group, Run, flatten, group_runs, in_order, nothing_yet, percent, read_runs, suite_title
from r1jax.report.stages import TITLE as STAGES
from r1jax.report.stages import read_stage_tables, stages_section
from r1jax.report.traces import aha_moment, stories
from r1jax.store.lineage import command


def write_report(store_root, out_dir, results=None) -> Path:
    """Writes OUT/report.html and OUT/*.png from a store, and returns the page's path.

    The page is one file: styles and plots are inside, it loads nothing and needs no network. Runs of one artifact
    name that differ in the seed only (``tiny``, ``tiny-seed1``) share plots, with their median and range.

    Args:
      results: a folder of claims' results, as benchmarks/claims.py writes them; None: no section on claims.

    Raises:
      DataError: the folder of results is not there, or one of its files, or a stage table, cannot be read.
      StoreError: the path is not a store, the store has neither artifacts nor evaluations, or ``out_dir`` cannot be
        written to.
    """
    runs, measured = in_order(read_runs(store_root)), read_evaluations(store_root)
    stages, held = read_stage_tables(store_root), read_claims(results)
    if not runs and not measured:
        raise nothing_yet(store_root)
    groups = group_runs(runs)
    drawn: list[Picture] = []
    first = [title for title, there in ((CLAIMS, held), (STAGES, stages)) if there]
    sections = [_summary(groups, runs, measured, first)]
    if held:
        sections.append(claims_section(held))
    if stages:
        sections.append(stages_section(stages, drawn))
    if measured:
        sections.append(evaluations_section(measured, drawn))
    for group in sorted(groups, key=lambda group: not group.runs[0].is_rl):
        sections.append(_group_section(group, groups, drawn))
    if runs:
        graph = lineage_picture(runs)
        drawn.append(graph)
        sections += [_lineage_section(graph, runs), _config_section(runs)]
    sections.append(_commands_section(runs, store_root))
    out = Path(out_dir)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for picture in drawn:
            _write(out / f"{picture.slug}.png", picture.png)
        _write(out / "report.html", page("r1jax report", sections).encode("utf-8"))
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise StoreError(f"The report cannot be written to {out} ({error.strerror}); name another folder.") from error
    return out / "report.html"


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: a reader never finds half a page."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    os.replace(partial, path)


def _anchor(title: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", title)


def _summary(groups: Sequence[Group], runs: Sequence[Run], measured: Sequence[Measured], first: Sequence[str]) -> str:
    if not runs:
        nav = _nav([*first, "Evaluations", "Commands"])
        return f"<h1>r1jax report</h1><p>{_count(len(measured), 'evaluation')}, no artifacts.</p>{nav}"
    rl = [group for group in groups if group.runs[0].is_rl]
    finished = sum(run.finished for run in runs)
    lead = f"{_count(len(runs), 'artifact')}, {finished} finished."
    told = [sentence for group in rl if (sentence := _sentence(group))]
    told = told or ["No reinforcement-learning artifact with a held-out evaluation is in this store yet."]
    said = "".join(f"<p>{safe(sentence)}</p>" for sentence in [f"{lead} {told[0]}", *told[1:]])
    titles = [group.title for group in sorted(groups, key=lambda group: not group.runs[0].is_rl)]
    links = [*first, *(["Evaluations"] if measured else []), *titles, "Lineage", "Configuration", "Commands"]
    head = ("artifact", "state", "suite", "steps", "pass@1", "cons@k", "length (tokens)", "seconds")
    rows = table(head, [_row(run) for run in runs], words=3)
    return (
        f"<h1>r1jax report</h1>{said}{_nav(links)}{rows}"
        '<p class="note">First → last evaluation on held-out problems: pass@1 is the mean over samples, '
        "cons@k the majority answer of k samples.</p>"
    )


def _nav(links: Sequence[str]) -> str:
    return "<nav>" + "".join(f'<a href="#{_anchor(link)}">{safe(link)}</a>' for link in links) + "</nav>"


def _row(run: Run) -> tuple[str, ...]:
    suite = run.suites[0] if run.suites else None
    consensus = run.consensus_key(suite) if suite else None
    return (
        run.ref,
        run.state,
        suite_title(suite) if suite else "–",
        str(run.steps),
        _ends(run, f"eval/{suite}/pass@1", percent),
        _ends(run, consensus, percent) + (f" (k = {consensus.rsplit('@', 1)[1]})" if consensus else ""),
        _ends(run, run.length_key, lambda value: f"{value:.0f}"),
        "–" if run.seconds is None else f"{run.seconds:,.0f}",
    )


def _ends(run: Run, key: str | None, show: Callable[[float], str]) -> str:
    ends = run.ends(key) if key else None
    return f"{show(ends[0])} → {show(ends[1])}" if ends else "–"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _sentence(group: Group) -> str:
    """What the group's runs did, in a sentence; "" where nothing was evaluated."""
    if not group.suites:
        return ""
    suite = group.suites[0]
    first, last = _span(group, f"eval/{suite}/pass@1", percent)
    parts = [f"pass@1, held out ({suite_title(suite)}), went from {first} to {last}"]
    consensus = next((key for run in group.runs if (key := run.consensus_key(suite))), None)
    if consensus:
        first, last = _span(group, consensus, percent)
        parts.append(f"{consensus.rsplit('/', 1)[1]} from {first} to {last}")
    length = group.runs[0].length_key
    if length in group.keys:
        first, last = _span(group, length, lambda value: f"{value:.0f}")
        parts.append(f"mean response length from {first} to {last} tokens")
    seeds = f", {len(group.runs)} seeds (median, range in brackets)" if len(group.runs) > 1 else ""
    steps = max(run.steps for run in group.runs)
    return f"{group.title}: over {_count(steps, 'update')}{seeds}, {', '.join(parts)}."


def _span(group: Group, key: str, show: Callable[[float], str]) -> tuple[str, str]:
    """First and last value over the runs: the median, with the range in brackets where there are several."""
    ends = [pair for run in group.runs if (pair := run.ends(key))]
    told = []
    for values in zip(*ends, strict=True):
        extent = f" ({show(min(values))} to {show(max(values))})" if len(values) > 1 else ""
        told.append(show(float(np.median(values))) + extent)
    return told[0], told[1]


def _group_section(group: Group, groups: Sequence[Group], drawn: list[Picture]) -> str:
    first_rl = next((other for other in groups if other.runs[0].is_rl), None)
    shown, absent = pictures(group, beside_paper=group is first_rl)
    drawn += shown
    parts = [f'<h2 id="{_anchor(group.title)}">{safe(group.title)}</h2>', figures(shown)]
    siblings = [other for other in groups if other.name == group.name]
    if len(siblings) > 1 and group is not siblings[0]:
        parts.insert(1, f"<p>{safe(_difference(group, siblings[0]))}</p>")
    elif len(siblings) > 1:
        extra = _comparisons(siblings)
        drawn += extra
        parts.append(f"<h3>Variants of {safe(group.name)} side by side</h3>{figures(extra)}")
    gate = gate_rows(group)
    if gate:
        parts.append("<h3>Gate</h3>" + table(("measure", *(run.version for run in group.runs)), gate_cells(gate)))
    if group.runs[0].is_rl:
        parts += [_aha_part(group), _stories_part(group)]
    if absent:
        parts.append(f'<p class="note">Not recorded, so not shown: {safe("; ".join(absent))}.</p>')
    return f"<section>{''.join(parts)}</section>"


def gate_cells(rows: Sequence[tuple[str, list[str]]]) -> list[tuple[str, ...]]:
    """Rows of a table from (measure, values)."""
    return [(measure, *values) for measure, values in rows]


def _comparisons(groups: Sequence[Group]) -> list[Picture]:
    first = groups[0]
    suite = first.suites[0] if first.suites else ""
    wanted = (
        (
            Curve(f"eval/{suite}/pass@1", "pass@1", 100),
            "variants_accuracy",
            f"pass@1, held out ({suite_title(suite)})",
            "pass@1 (%)",
        ),
        (Curve(first.runs[0].length_key, "length"), "variants_length", "Response length", "length (tokens)"),
    )
    drawn = (comparison(groups, curve, f"{first.slug}_{slug}", *labels) for curve, slug, *labels in wanted)
    return [picture for picture in drawn if picture]


def _difference(group: Group, first: Group) -> str:
    ours, theirs = (dict(flatten(g.runs[0].config)) for g in (group, first))
    rows = [
        f"{key} {theirs.get(key, 'unset')} → {ours.get(key, 'unset')}"
        for key in dict.fromkeys([*theirs, *ours])
        if ours.get(key) != theirs.get(key) and key not in ("seed", "version") and not key.startswith("mesh.")
    ]
    return f"Differs from {first.title}: {'; '.join(rows) if rows else 'in its parents'}."


def _aha_part(group: Group) -> str:
    found = [moment for run in group.runs if (moment := aha_moment(run))]
    head = "<h3>The aha moment</h3>"
    if not found:
        return f'{head}<p class="note">Reflection turns no failed attempt into a right answer in the rollouts kept.</p>'
    others = "; ".join(f"{moment.run.ref} at step {moment.step}" for moment in found[1:])
    return (
        head + '<p class="note">The first kept training rollout in which <mark>reflection</mark> turned a '
        '<span class="failed">failed attempt</span> into a <span class="accepted">right answer</span>; of several at '
        f"that step, the one that reflects most.{f' Other runs: {safe(others)}.' if others else ''}</p>" + aha(found[0])
    )


def _stories_part(group: Group) -> str:
    head = "<h3>The same held-out problems as training goes on</h3>"
    for run in group.runs:
        told = stories(run)
        if told:
            note = "Of several samples at a step, the first whose verdict is the majority's."
            return f'{head}<p class="note">{safe(run.ref)}. {note}</p>' + "".join(story(problem) for problem in told)
    return head + '<p class="note">No held-out responses were kept.</p>'


def _lineage_section(graph: Picture, runs: Sequence[Run]) -> str:
    text = f'<details><summary>As text</summary><pre class="graph">{safe(graph_text(runs))}</pre></details>'
    return f'<section><h2 id="Lineage">Lineage</h2>{figure(graph)}{text}</section>'


def _config_section(runs: Sequence[Run]) -> str:
    parts = ['<section><h2 id="Configuration">Configuration</h2>']
    for run in runs:
        rows = table(("field", "value"), flatten(run.config), words=2, kind="config")
        parts.append(f"<details><summary>{safe(run.ref)}</summary>{rows}</details>")
    return "".join([*parts, "</section>"])


def _commands_section(runs: Sequence[Run], store_root) -> str:
    """Commands in the order in which they must run; the store by its folder's name only."""
    store = Path(str(store_root)).name or "store"
    lines = [_command(run, store) for run in runs]
    lines.append(f"r1jax report --store {store}")
    note = (
        '<p class="note">Variants need more --set fields; their sections say which.</p>' if _has_variants(runs) else ""
    )
    return (
        f'<section><h2 id="Commands">Commands</h2><pre class="card">{safe(chr(10).join(lines))}</pre>{note}</section>'
    )


def _command(run: Run, store: str) -> str:
    """With the seed, also where the version does not tell it."""
    line, seed = command(run.ref, store), run.config.get("seed")
    return line if not seed or f" --set seed={seed}" in line else f"{line} --set seed={seed}"


def _has_variants(runs: Sequence[Run]) -> bool:
    names = [group.name for group in group_runs(runs)]
    return len(names) > len(set(names))
