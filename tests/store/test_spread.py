"""Each process does every n-th row; two real processes: tests/stages/test_collecting_hosts.py."""

import pytest

from r1jax.core.errors import DataError, R1JaxError
from r1jax.store import hosts
from r1jax.store import spread as spreading
from r1jax.store.spread import spread


def process(patch, own, others):
    """Makes this process the one numbered `own` of as many as `others` has outcomes."""
    patch.setattr(spreading.jax, "process_count", lambda: len(others))
    patch.setattr(spreading.jax, "process_index", lambda: own)
    patch.setattr(spreading, "_gathered", lambda mine: [mine if i == own else other for i, other in enumerate(others)])


def test_one_process_does_all_rows_and_none_without_rows():
    seen = []
    assert spread("abc", lambda rows: seen.append(rows) or [row + row for row in rows]) == ["aa", "bb", "cc"]
    assert spread([], seen.append) == [] and seen == ["abc"]


@pytest.mark.parametrize(("own", "share"), [(0, "ad"), (1, "be"), (2, "c")])
def test_every_process_has_all_results_in_the_rows_order(monkeypatch, own, share):
    process(monkeypatch, own, [{"result": ["A", "D"]}, {"result": ["B", "E"]}, {"result": ["C"]}])
    seen = []
    found = spread("abcde", lambda rows: seen.append(rows) or [row.upper() for row in rows])
    assert (seen, found) == ([share], ["A", "B", "C", "D", "E"])


def test_an_error_stops_every_process(monkeypatch):
    def work(rows):
        raise DataError("no such grader")

    process(monkeypatch, 0, [None, {"result": ["B"]}])
    with pytest.raises(DataError, match="no such grader"):
        spread("ab", work)
    for name, kind in ((hosts._name(DataError), DataError), ("some.module.Unheard", R1JaxError), ("", RuntimeError)):
        process(monkeypatch, 0, [None, {"error": "no such grader", "kind": name}])
        with pytest.raises(kind, match="no such grader"):
            spread("ab", list)
