"""Claims: intervals over seeds by hand, verdicts, files that are refused, and the table of the page."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from r1jax.core.errors import DataError
from r1jax.eval import claims
from r1jax.eval.claims import NOT_REPRODUCED, NOT_VISIBLE, REPRODUCED, TOO_FEW, Claim, Contrast, Interval, Shown
from r1jax.eval.paper_claims import BESIDE, CLAIMS
from r1jax.eval.paper_claims import KNOWN as PAPERS

ROOT = Path(__file__).resolve().parent.parent.parent
GAIN = Claim(3, "It gains.", "10 % to 20 % (v1)", (Shown("a", "before"), Shown("b", "after")),
             (Contrast("gain", lambda values: values["b"] - values["a"]),), ())
TWICE = Claim(4, "It gains far.", "-", (), (*GAIN.contrasts, Contrast("far", lambda v: v["b"], least=0.5)), ())
KNOWN = {3: GAIN, 4: TWICE}


def write(folder, claim, rows, name=None, **changes):
    """A result file from (a, b) rows, one a seed."""
    seeds = [{"seed": i, "version": f"tiny-seed{i}", "values": {"a": a, "b": b}} for i, (a, b) in enumerate(rows)]
    content = {"claim": claim, "command": "make it", "date": "2026-11-22", "seeds": seeds} | changes
    (folder / (name or f"claim-{claim:02d}.json")).write_text(json.dumps(content))


def result(tmp_path, rows, claim=3):
    write(tmp_path, claim, rows)
    return claims.load_results(tmp_path, KNOWN)[claim]


def test_the_interval_over_three_seeds():
    """1, 2, 3: mean 2, deviation 1; Student's quantile of two degrees of freedom is 4.302653."""
    found = claims.over_seeds([1.0, 2.0, 3.0])
    reach = 4.302653 / math.sqrt(3)
    assert (found.mean, found.low, found.high, found.seeds) == pytest.approx((2, 2 - reach, 2 + reach, 3), abs=1e-5)
    assert claims.over_seeds([0.5]) == Interval(0.5, -math.inf, math.inf, 1)
    with pytest.raises(ValueError, match="at least one seed"):
        claims.over_seeds([])


@pytest.mark.parametrize("rows, said", [
    ([(0.1, 0.3), (0.1, 0.31), (0.1, 0.32)], REPRODUCED),  # gains 0.20 to 0.22
    ([(0.3, 0.1), (0.31, 0.1), (0.32, 0.1)], NOT_REPRODUCED),
    ([(0.1, 0.3), (0.2, 0.1), (0.1, 0.2)], NOT_VISIBLE),  # gains 0.2, -0.1, 0.1
    ([(0.2, 0.2), (0.2, 0.2), (0.2, 0.2)], NOT_REPRODUCED),  # no gain at all, three times
    ([(0.1, 0.9), (0.1, 0.9)], TOO_FEW),
])
def test_verdicts(tmp_path, rows, said):
    assert claims.verdict(GAIN, result(tmp_path, rows)) == said


@pytest.mark.parametrize("rows, claim, said", [
    ([(0.1, 0.40), (0.1, 0.41), (0.1, 0.42)], 4, f"{NOT_REPRODUCED} (1 of 2 hold)"),
    ([(0.1, 0.48), (0.1, 0.50), (0.1, 0.53)], 4, f"{NOT_VISIBLE} (1 of 2 hold)"),
    ([(0.1, 0.80), (0.1, 0.81), (0.1, 0.82)], 4, REPRODUCED),
    ([(0.1, 0.3), (0.2, 0.1), (0.1, 0.2)], 3, NOT_VISIBLE),
    ([(0.1, 0.9), (0.1, 0.9)], 4, TOO_FEW),
])
def test_a_verdict_says_how_many_parts_hold(tmp_path, rows, claim, said):
    assert claims.verdict_and_parts(KNOWN[claim], result(tmp_path, rows, claim)) == said


def test_every_contrast_has_to_hold(tmp_path):
    """The gain is there; b is 0.4, whose bound is 0.5; and with b about the bound nothing is seen."""
    assert claims.verdict(TWICE, result(tmp_path, [(0.1, 0.40), (0.1, 0.41), (0.1, 0.42)], 4)) == NOT_REPRODUCED
    assert claims.verdict(TWICE, result(tmp_path, [(0.1, 0.48), (0.1, 0.50), (0.1, 0.53)], 4)) == NOT_VISIBLE
    assert claims.verdict(TWICE, result(tmp_path, [(0.1, 0.80), (0.1, 0.81), (0.1, 0.82)], 4)) == REPRODUCED


def test_the_table_is_made_of_the_files(tmp_path):
    write(tmp_path, 3, [(0.1, 0.3)] * 3)
    (tmp_path / "other.json").write_text('{"what": "no claim"}')
    lines = claims.table(claims.load_results(tmp_path, KNOWN), KNOWN).splitlines()
    assert lines[0] == claims.BEGIN and lines[-1] == claims.END
    assert lines[4] == ("| 3. It gains. | 10 % to 20 % (v1) | before 10.0 % (10.0 to 10.0); after 30.0 % (30.0 to "
                        "30.0). gain: +20.0 points (+20.0 to +20.0). 3 seeds | reproduced | `make it` (2026-11-22) |")
    assert lines[6] == "Not measured yet: 4. It gains far."


def test_a_claim_with_a_name_stands_behind_those_with_numbers(tmp_path):
    known = KNOWN | {"more": replace(GAIN, number="more", sentence="It gains more.")}
    write(tmp_path, "more", [(0.1, 0.3)] * 3, name="a.json")
    write(tmp_path, 4, [(0.1, 0.7)] * 3)
    found = claims.load_results(tmp_path, known)
    assert list(found) == [4, "more"]
    lines = claims.table(found, known).splitlines()
    assert lines[4].startswith("| 4. It gains far. |") and lines[5].startswith("| It gains more. |")


def test_a_bound_is_named_and_one_seed_has_no_interval(tmp_path):
    write(tmp_path, 4, [(0.1, 0.7)])
    row = claims.table(claims.load_results(tmp_path, KNOWN), KNOWN).splitlines()[4]
    assert "gain: +60.0 points; far: +70.0 points, needed above +50. 1 seed | too few seeds |" in row


@pytest.mark.parametrize("content, sentence", [
    ({"claim": 3}, "claim-03.json is no result of a claim"),
    ({"claim": 9, "command": "c", "date": "d", "seeds": [{"seed": 0, "values": {}}]}, "claim 9, which is not known"),
    ({"claim": 3, "command": "c", "date": "d", "seeds": []}, "has no seeds: make it again with `c`"),
    ({"claim": 3, "command": "c", "date": "d", "seeds": [{"seed": 1, "values": {}}] * 2}, "has a seed twice"),
    ({"claim": 3, "command": "c", "date": "d", "seeds": [{"seed": 1, "values": {"a": "much"}}]}, "is no result"),
])
def test_a_broken_file_is_named(tmp_path, content, sentence):
    (tmp_path / "claim-03.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=sentence):
        claims.load_results(tmp_path, KNOWN)


def test_two_files_of_one_claim_are_refused(tmp_path):
    write(tmp_path, 3, [(0.1, 0.3)])
    write(tmp_path, 3, [(0.1, 0.3)], name="again.json")
    with pytest.raises(DataError, match="again.json and claim-03.json are both of claim 3"):
        claims.load_results(tmp_path, KNOWN)


def test_a_value_that_is_missing_is_named(tmp_path):
    seeds = [{"seed": i, "values": {"a": 0.1}} for i in range(3)]
    write(tmp_path, 3, [], seeds=seeds)
    with pytest.raises(DataError, match="claim-03.json of claim 3 has no value 'b' for seed 0"):
        claims.table(claims.load_results(tmp_path, KNOWN), KNOWN)


def test_the_table_takes_its_place_in_the_page():
    made = f"{claims.BEGIN}\nnew\n{claims.END}\n"
    assert claims.in_page("# Results\n", made) == f"# Results\n\n{made}"
    old = f"# Results\n\n{claims.BEGIN}\nold\n{claims.END}\n\n## More\n"
    assert claims.in_page(old, made) == f"# Results\n\n{made}\n## More\n"
    with pytest.raises(DataError, match="one of the two markers"):
        claims.in_page(f"{claims.BEGIN} without an end", made)


def test_the_papers_thirteen_claims():
    assert list(CLAIMS) == list(range(1, 14))
    assert list(PAPERS) == [*CLAIMS, *BESIDE] and all(isinstance(name, str) for name in BESIDE)
    assert all(claim.paper and claim.shown and claim.contrasts and claim.needs for claim in PAPERS.values())


def test_a_claims_contrasts_read_only_what_it_can_be_given():
    """A contrast's values are those that the table shows, but for three that are made over a whole curve."""
    class Known(dict):
        def __missing__(self, name):
            asked.add(name)
            return 0.0

    for claim in PAPERS.values():
        asked: set[str] = set()
        for contrast in claim.contrasts:
            contrast.of(Known())
        assert asked <= {one.name for one in claim.shown} | {"cons_above_pass", "length_with_pass@1"}, claim.number


def test_the_committed_table_is_what_the_committed_files_give():
    results = claims.load_results(ROOT / "results", PAPERS)
    if not results:
        pytest.skip("no results/*.json yet")
    page = (ROOT / "RESULTS.md").read_text(encoding="utf-8")
    assert claims.table(results, PAPERS) in page, "make it again: python benchmarks/claims.py --table"
