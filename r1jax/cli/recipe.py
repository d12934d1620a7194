"""`r1jax run`: one experiment, or the graph of a recipe, and what either would do before it does it."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from r1jax.cli import kinds
from r1jax.core.errors import ConfigError
from r1jax.core.override import split_models

if TYPE_CHECKING:
    from r1jax.core.recipe import Recipe
    from r1jax.stages.cost import Lengths
    from r1jax.stages.graph import Stage
    from r1jax.stages.recipe import Made

HELP = """\
A scale is tiny (two CPU cores), small (one GPU or a small TPU slice) or paper. The artifact's version is the
scale unless --version says otherwise. A finished artifact is skipped, an interrupted one goes on where it
stopped, and one whose configuration changed is refused. A recipe is a file of several experiments; they run in
the order in which they need one another, and --set NAME.FIELD=VALUE is for the experiment of that artifact alone.

examples:
  r1jax run experiments/r1_zero.py:tiny
  r1jax run experiments/r1_zero.py:tiny --set seed=1 --version tiny-seed1
  r1jax run experiments/r1_zero.py:tiny --set rl.steps=50 --set optim.learning_rate=3e-4 --version tiny-short
  r1jax run experiments/r1_zero.py:small --set model=Qwen/Qwen2.5-1.5B        a hub name, a folder or name@version
  r1jax run experiments/recipe.py:tiny --dry-run
  r1jax run experiments/recipe.py:tiny --until r1-zero
  r1jax run experiments/recipe.py:tiny --set seed=1 --set dev2.rl.steps=8 --version tiny-seed1
  r1jax run experiments/recipe.py:paper --dry-run --flops-per-second 4e14
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `r1jax run`."""
    parser.add_argument("experiment", metavar="FILE:SCALE", help="an experiment file or a recipe, and its scale "
                        "(default: tiny)")
    parser.add_argument("--set", metavar="A.B=C", action="append", default=[], dest="overrides",
                        help="change one field of the experiment; may be given several times")
    parser.add_argument("--version", metavar="V", help="name of this variant (default: the scale); of a recipe that of "
                        "all its artifacts")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, what it takes and what is "
                        "missing, and do nothing")
    part = parser.add_argument_group("of a recipe")
    part.add_argument("--only", metavar="NAME,...", default="", help="only these artifacts")
    part.add_argument("--until", metavar="NAME", default="", help="only this artifact and what it is made from")
    size = parser.add_argument_group("with --dry-run")
    size.add_argument("--flops-per-second", metavar="R", type=kinds.positive, help="operations a second of one "
                      "accelerator, as it trains: turns operations into accelerator-hours")
    size.add_argument("--prompt-tokens", metavar="N", type=kinds.count, help="mean prompt (default: half of the limit)")
    size.add_argument("--response-tokens", metavar="N", type=kinds.count, help="mean response (default: half of the "
                      "token budget)")


def run(options: argparse.Namespace) -> None:
    """Runs what the file is; loads it before jax, so that a mistyped field is answered at once."""
    from r1jax.core.recipe import Recipe, load_any

    names = getattr(load_any(options.experiment), "names", ())
    models, overrides = split_models(options.overrides, names)
    found = load_any(options.experiment, overrides)
    if models:
        from r1jax.stages.pointing import apply

        found = apply(load_any(options.experiment), models, overrides, options.store, fetch=not options.dry_run)
    if not isinstance(found, Recipe):
        if options.only or options.until:
            raise ConfigError(f"--only and --until choose artifacts of a recipe, and {options.experiment} is one "
                              "experiment; leave them out.")
        found = Recipe(found.name, found.scale, (found,)) if options.dry_run else found
    if options.dry_run:
        imports = _imports(models.values())
        _dry_run(options, found, list(imports))
        for ref, reference in imports.items():
            print(f"The run itself imports {reference} as {ref}, unless it is there.")
    elif isinstance(found, Recipe):
        _run_recipe(options, found)
    else:
        from r1jax.stages.run import run_experiment

        artifact = run_experiment(found, options.store, options.version)
        print(f"{artifact.ref} is in {artifact.path}")
        print(f"next:  r1jax report --store {options.store}\n       r1jax eval {artifact.ref} --store {options.store}")


def _imports(references: Iterable[str]) -> dict[str, str]:
    """What a run imports before anything else: artifact -> folder or hub name."""
    from r1jax.stages.model_sources import artifact_name, is_artifact
    from r1jax.stages.pointing import VERSION

    return {f"{artifact_name(reference)}@{VERSION}": reference for reference in references
            if not is_artifact(reference)}


def _names(options: argparse.Namespace) -> list[str]:
    return [name.strip() for name in options.only.split(",") if name.strip()]


def again(options: argparse.Namespace) -> str:
    """The command line that goes on with what these options began."""
    words = ["r1jax", "run", options.experiment, *(word for text in options.overrides for word in ("--set", text))]
    for option, value in (("--version", options.version), ("--only", options.only), ("--until", options.until),
                          ("--store", options.store)):
        words += [option, value] if value else []
    return shlex.join(words)


def _run_recipe(options: argparse.Namespace, recipe: Recipe) -> None:
    from r1jax.stages.recipe import run as run_recipe

    made = run_recipe(recipe, options.store, options.version, only=_names(options), until=options.until,
                      again=again(options))
    print(ending(made))
    print(f"next:  r1jax report --store {options.store}\n       r1jax lineage --store {options.store}")


def ending(made: Sequence[Made]) -> str:
    """The table of artifacts with their headline figures and seconds."""
    rows = [("artifact", "seconds", "figures")]
    rows += [(m.ref, f"{m.seconds:,.0f}", m.headline + (" (was there)" if m.skipped else "")) for m in made]
    rows.append(("all", f"{sum(m.seconds for m in made):,.0f}", ""))
    return _table(rows, right=(1,))


def _dry_run(options: argparse.Namespace, recipe: Recipe, imports: Sequence[str]) -> None:
    from r1jax.stages.cost import Lengths
    from r1jax.stages.graph import survey

    lengths = Lengths(options.prompt_tokens, options.response_tokens)
    stages = survey(recipe, options.store, options.version, only=_names(options), until=options.until, lengths=lengths)
    print(f"{recipe.name} at scale {recipe.scale}: {len(stages)} "
          f"{'artifact' if len(stages) == 1 else 'artifacts'} in {options.store}, in this order\n")
    print(plan_text(stages, lengths, options.flops_per_second, imports))


def plan_text(stages: Sequence[Stage], lengths: Lengths, rate: float | None, imports: Sequence[str] = ()) -> str:
    """The graph in order, with states, parents, sizes and times; then what is missing and how it was counted.

    imports: artifacts that the run makes itself before anything else, and that are not told as missing.
    """
    from r1jax.stages.recipe import missing

    head = ("", "artifact", "state", "parameters", "sampled", "trained on", "tokens", "FLOPs", "time", "made from")
    rows = [head]
    for number, stage in enumerate(stages, 1):
        cost = stage.cost
        sampled = cost.sampled.sequences + cost.evaluated.sequences
        rows.append((str(number), stage.ref, stage.told, _short(cost.parameters), _short(sampled),
                     "?" if cost.unknown else _short(cost.trained.sequences), _short(cost.tokens), _flops(cost.flops),
                     _time(stage, rate), _parents(stage)))
    flops, seconds = sum(s.cost.flops for s in stages), [s.seconds for s in stages]
    rows.append(("", "all", "", "", "", "", _short(sum(s.cost.tokens for s in stages)), _flops(flops),
                 _total(seconds, flops, rate), ""))
    told = [_table(rows, right=range(3, 9)), ""]
    for stage in stages:
        told += [f"{stage.ref} would be refused: {stage.changes}"] if stage.changes else []
        told += [f"{stage.ref}: the records of {', '.join(stage.cost.unknown)} are not counted, as they are not "
                 "there"] if stage.cost.unknown else []
    lacking = {sentence: names for sentence, names in missing(stages).items()
               if not any(ref in sentence for ref in imports)}
    told += [f"missing, for {', '.join(names)}: {sentence}" for sentence, names in lacking.items()]
    told.append(_explained(lengths, rate))
    return "\n".join(told)


def _parents(stage: Stage) -> str:
    """Parents by role; of the stage's own version by name alone."""
    version = stage.ref.partition("@")[2]
    roles: dict[str, list[str]] = {}
    for role, ref in stage.parents:
        roles.setdefault(role, []).append(ref.removesuffix(f"@{version}"))
    return ", ".join(f"{role} {' + '.join(refs)}" for role, refs in roles.items()) or "-"


def _time(stage: Stage, rate: float | None) -> str:
    from r1jax.stages.recipe import duration

    if rate:
        return f"{stage.cost.flops / rate / 3600:,.4g} h"
    return "not measured" if stage.seconds is None else duration(stage.seconds)


def _total(seconds: Sequence[float | None], flops: int, rate: float | None) -> str:
    from r1jax.stages.recipe import duration

    if rate:
        return f"{flops / rate / 3600:,.4g} h"
    known = [x for x in seconds if x is not None]
    return ("at least " if len(known) < len(seconds) else "") + duration(sum(known)) if known else ""


def _explained(lengths: Lengths, rate: float | None) -> str:
    prompt = f"prompts of {lengths.prompt} tokens" if lengths.prompt else "prompts of half their limit"
    response = f"responses of {lengths.response}" if lengths.response else "responses of half their budget"
    hours = f" Hours are of one accelerator at {rate:g} operations a second." if rate else ""
    return ("Counted, not measured: sequences, tokens sampled and trained on, and operations, with evaluations, for "
            f"{prompt} and {response}; data sets at their fullest.{hours}")


def _short(number: int) -> str:
    """A count in four characters or so: 354k, 12.3M, 32.8B."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return str(number) if number else "-"


def _flops(number: int) -> str:
    return f"{number:.2e}" if number else "-"


def _table(rows: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    """Rows in columns, the head first; `right`: columns that are set to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) if i in right else cell.ljust(width) for i, (cell, width) in
                               enumerate(zip(row, widths, strict=True))).rstrip() for row in rows)
