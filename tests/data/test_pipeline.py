"""Input made ahead of its use: the order, how far ahead, and where it stops."""

import threading
import time

import pytest

from r1jax.data.pipeline import ahead


def test_items_come_in_order_and_from_any_start():
    assert list(ahead(lambda n: n * n, 0, 6)) == [0, 1, 4, 9, 16, 25]
    assert list(ahead(lambda n: n * n, 4, 6)) == [16, 25]


def test_a_run_that_resumes_at_its_end_gets_nothing():
    assert list(ahead(lambda n: n, 3, 3)) == []


def test_order_holds_with_several_threads_of_unequal_speed():
    def slow(n):
        time.sleep(0.02 if n % 3 == 0 else 0)
        return n

    assert list(ahead(slow, 0, 12, threads=4, buffered=4)) == list(range(12))


def test_items_are_made_before_they_are_asked_for_but_not_all_at_once():
    made, enough = [], threading.Event()

    def make(n):
        made.append(n)
        if len(made) >= 2:
            enough.set()
        return n

    items = ahead(make, 0, 50, buffered=2)
    assert next(items) == 0
    assert enough.wait(10), "nothing is made in the background"
    time.sleep(0.1)
    assert len(made) <= 6, made


def test_an_error_reaches_the_reader():
    def fail(n):
        raise ZeroDivisionError(f"item {n}")

    with pytest.raises(ZeroDivisionError, match="item 0"):
        next(ahead(fail, 0, 3))
