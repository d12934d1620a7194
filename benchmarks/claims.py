"""The claims of the paper, measured from finished stores: writes results/claim-NN.json and RESULTS.md's table.

    python benchmarks/claims.py --seeds store@tiny,store@tiny-seed1,store@tiny-seed2
    python benchmarks/claims.py --seeds store@tiny,store@tiny-seed1,store@tiny-seed2 --claims 1,2,3,4
    python benchmarks/claims.py --table                the table alone, from the files that are there

A seed is STORE@VERSION, a version of the graph in a store. Three commands make one, of which some claims need the first
alone:

    r1jax run experiments/recipe.py:tiny --set seed=1 --version tiny-seed1
    r1jax run experiments/ablations/claims.py:tiny --set seed=1 --version tiny-seed1
    r1jax stage-table --version tiny-seed1

What is missing is named with its command, and the other claims are written.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path

from r1jax.core.errors import R1JaxError
from r1jax.eval import claims
from r1jax.eval.paper_claims import CLAIMS, KNOWN

ROOT = Path(__file__).resolve().parent.parent
HARDWARE = "two CPU cores"


def main(arguments: list[str] | None = None) -> int:
    """0 where everything asked for was written; 1 where something was missing; 2 for bad input."""
    options = _parser().parse_args(arguments)
    folder = Path(options.out)
    try:
        left = [] if options.table else _measure(options, folder)
        page = Path(options.page)
        made = claims.table(claims.load_results(folder, KNOWN), KNOWN)
        page.write_text(claims.in_page(page.read_text(encoding="utf-8"), made), encoding="utf-8")
    except R1JaxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for sentence in left:
        print(sentence, file=sys.stderr)
    return 1 if left else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="", help="STORE@VERSION of each seed, with commas")
    parser.add_argument("--claims", default="", help="numbers, or clip, with commas (default: all that are measured)")
    parser.add_argument("--out", default=str(ROOT / "results"), help="folder of the files (default: results)")
    parser.add_argument("--page", default=str(ROOT / "RESULTS.md"), help="page of the table (default: RESULTS.md)")
    parser.add_argument("--hardware", default=HARDWARE, help=f"what it ran on (default: {HARDWARE})")
    parser.add_argument("--table", action="store_true", help="make the table from the files alone")
    return parser


def _measure(options: argparse.Namespace, folder: Path) -> list[str]:
    """Writes the files; returns a sentence for each claim that could not be measured."""
    from r1jax.stages.claims import MEASURED, Runs, measure
    from r1jax.store import Store

    pairs = [one.rpartition("@") for one in options.seeds.split(",") if one]
    if not pairs or not all(store and version for store, _, version in pairs):
        raise R1JaxError("Give --seeds STORE@VERSION,STORE@VERSION,..., one of each seed, or --table.")
    seeds = [Runs(Store(store, create=False), version) for store, _, version in pairs]
    wanted = [_claim(text) for text in options.claims.split(",") if text] or list(MEASURED)
    # stores are named by their folder: the page tells nothing of the machine
    named = ",".join(f"{Path(store).name}@{version}" for store, _, version in pairs)
    left = []
    for number in wanted:
        told = f"python benchmarks/claims.py --seeds {named} --claims {number}"
        try:
            found = measure(number, seeds, command=told, date=datetime.date.today().isoformat(),
                            hardware=options.hardware)
        except R1JaxError as error:
            left.append(f"claim {number}: {error}")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
        name = f"claim-{number}.json" if isinstance(number, str) else f"claim-{number:02d}.json"
        (folder / name).write_text(text, encoding="utf-8")
        print(f"claim {number}: {folder.name}/{name}")
    return left


def _claim(text: str) -> claims.Number:
    number = int(text) if text.isdecimal() else text
    if number not in KNOWN:
        beside = ", ".join(str(name) for name in KNOWN if name not in CLAIMS)
        raise R1JaxError(f"There is no claim {text!r}; they are numbered from 1 to {max(CLAIMS)}, and {beside}.")
    return number


if __name__ == "__main__":
    sys.exit(main())
