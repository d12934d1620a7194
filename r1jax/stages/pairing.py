"""From a policy's samples to pairs that can be judged, and from judged parts to a set without repeats or a longer side.

What stages/preferences.py needs besides the judge.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from r1jax.core.settings import PairsConfig
from r1jax.data.record_files import Counts, Records
from r1jax.data.select import normal
from r1jax.rewards import format as response_form
from r1jax.rewards.judge import NO_SUMMARY
from r1jax.rewards.preference_pairs import KeptPair, balance_lengths, summary_length
from r1jax.stages.collecting import ENOUGH, REPEATED, WANTED, Finish, Row
from r1jax.stages.trajectories import CUT, Sampled
from r1jax.store import Artifact

ALIKE, UNBALANCED = "two equal texts", "would make one side longer"
HALVES = ("chosen", "rejected")


def pair_up(rows: Sequence[Sampled]) -> list[tuple[Sampled, Sampled]]:
    """N samples of one question as N / 2 pairs, of which as few as can be have equal summaries or none."""
    groups: dict[str, list[Sampled]] = {}
    lacking = []
    for row in rows:
        summary = None if row.truncated else response_form.summary_of(row.text)
        if summary is None:
            lacking.append(row)
        else:
            groups.setdefault(summary, []).append(row)
    usable = [row for group in groups.values() for row in group]
    half = len(usable) // 2
    rest = usable[2 * half:] + lacking
    return [*zip(usable[:half], usable[half:2 * half], strict=True), *zip(rest[::2], rest[1::2], strict=True)]


def fault(first: Sampled, second: Sampled) -> str:
    """Why a pair is not put to the judge, or ""."""
    if first.truncated or second.truncated:
        return CUT
    one, other = (response_form.summary_of(row.text) for row in (first, second))
    if one is None or other is None:
        return NO_SUMMARY
    return ALIKE if one == other else ""


def finish_pairs(artifact: Artifact, settings: PairsConfig) -> Finish:
    """Leaves out pairs that were there before, either way round, those that make chosen or rejected ones longer, and
    those beyond the targets (collect.targets of the artifact's own configuration).

    Two passes over the parts: of the first only lengths and short marks are held.
    """
    limits = dict((artifact.config().get("collect") or {}).get("targets", ()))

    def finish(rows: Iterable[Row]) -> tuple[Iterable[Row], Counts]:
        removed: dict[str, dict[str, int]] = {domain: {WANTED: n} for domain, n in limits.items()}
        seen: set[bytes] = set()
        sizes: list[KeptPair] = []
        domains: dict[int, str] = {}
        for number, row in enumerate(Records(artifact.path / "records" / "raw")):
            texts = sorted(response_form.summary_of(row[half]) or "" for half in HALVES)
            if _is_new(seen, row["question"], *texts):
                chosen, rejected = (str(summary_length(row[half])) for half in HALVES)
                sizes.append(KeptPair("", chosen, rejected, row["score"], number))
                domains[number] = row["domain"]
        first, balanced = _balanced(sizes, domains, limits, settings.length_share)

        def left() -> Iterator[Row]:
            for number, row in enumerate(rows):
                if number in balanced:
                    yield row
                else:
                    own = removed.setdefault(row["domain"], {})
                    reason = REPEATED if number not in domains else UNBALANCED if number in first else ENOUGH
                    own[reason] = own.get(reason, 0) + 1

        return left(), removed

    return finish


def _balanced(pairs: Sequence[KeptPair], domains: Mapping[int, str], limits: Mapping[str, int], tolerance: float
              ) -> tuple[set[int], set[int]]:
    """(the first pairs, as many as it takes to meet the targets; those of them that stay), as numbers of pairs.

    Balancing takes pairs away, so that more than the target are looked at; where it then leaves more than the target,
    too, those whose sides are most alike go, which unbalances least.
    """
    total = Counter(domains.values())
    room = {domain: min(limits.get(domain, n), n) for domain, n in total.items()}
    while True:
        first = _first(pairs, domains, room)
        left = balance_lengths(first, length=int, tolerance=tolerance)
        count = Counter(domains[pair.index] for pair in left)
        short = {domain: min(limits.get(domain, n), n) - count[domain] for domain, n in total.items()}
        more = {domain: min(room[domain] + n, total[domain]) for domain, n in short.items()
                if n > 0 and room[domain] < total[domain]}
        if not more:
            break
        room |= more
    alike = sorted(left, key=lambda pair: (abs(int(pair.chosen) - int(pair.rejected)), -pair.index))
    over = {pair.index for pair in _first(alike, domains, {domain: -n for domain, n in short.items()})}
    if over:
        left = balance_lengths([pair for pair in left if pair.index not in over], length=int, tolerance=tolerance)
    return {pair.index for pair in first} - over, {pair.index for pair in left}


def _first(pairs: Sequence[KeptPair], domains: Mapping[int, str], most: Mapping[str, int]) -> list[KeptPair]:
    """The first pairs of each domain, at most so many."""
    taken: Counter[str] = Counter()
    found = []
    for pair in pairs:
        domain = domains[pair.index]
        taken[domain] += 1
        if taken[domain] <= most[domain]:
            found.append(pair)
    return found


def finish_labels(rows: Iterable[Row]) -> tuple[Iterable[Row], Counts]:
    """Leaves out responses that were there before."""
    removed: dict[str, dict[str, int]] = {}
    seen: set[bytes] = set()

    def left() -> Iterator[Row]:
        for row in rows:
            if _is_new(seen, row["question"], row["response"]):
                yield row
            else:
                own = removed.setdefault(row["domain"], {})
                own[REPEATED] = own.get(REPEATED, 0) + 1

    return left(), removed


def side(row: Row) -> str:
    """The label of a record in words."""
    return "safe" if row["label"] else "unsafe"


def _is_new(seen: set[bytes], *texts: str) -> bool:
    """Whether these texts were not seen before; they are now."""
    said = "\0".join(map(normal, texts))
    mark = hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    new = mark not in seen
    seen.add(mark)
    return new


def balance(records: Records) -> dict[str, float]:
    """Mean characters of the chosen and rejected summaries, or the share of safe responses."""
    rows = iter(records)
    if "label" in records[0]:
        return {"labels/safe": float(np.mean([row["label"] for row in rows]))}
    lengths = np.array([[summary_length(row["chosen"]), summary_length(row["rejected"])] for row in rows])
    chosen, rejected = lengths.mean(0).tolist()
    return {"length/chosen": chosen, "length/rejected": rejected}
