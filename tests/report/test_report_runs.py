"""Series, groups and what is drawn over them, with numbers by hand."""

import numpy as np

from r1jax.report.figures import median_and_range, running_mean
from r1jax.report.plots import pictures
from r1jax.report.runs import flatten, group_runs, headline, in_order, load_runs, natural, suite_title


def test_series_drop_what_is_no_number_and_sort(tmp_path, builders):
    nan, infinite = float("nan"), float("inf")
    metrics = [{"step": 0, "a": 1}, {"step": 2, "a": nan}, {"step": 4, "a": infinite}, {"step": 6, "a": True}]
    metrics += [{"step": 8, "a": "x"}, {"step": 10, "b": 1.0}, {"step": 12, "a": 0.5}]
    builders.artifact(tmp_path, "base@tiny", config={}, metrics=metrics)
    (run,) = load_runs(tmp_path)
    steps, values = run.series("a")
    np.testing.assert_array_equal(steps, [0, 12])
    np.testing.assert_array_equal(values, [1, 0.5])
    assert (run.ends("a"), run.ends("none"), run.steps, run.seconds) == ((1.0, 0.5), None, 12, None)


def test_main_suite_has_most_points_and_largest_k(tmp_path, builders):
    rows = [{"step": s, "eval/countdown/pass@1": 0.5, "eval/gate/pass@1": 0.5} for s in range(3)]
    rows[0] |= {"eval/arithmetic/pass@1": 0.9, "eval/countdown/cons@4": 0.6, "eval/countdown/cons@16": 0.7}
    builders.artifact(tmp_path, "r1-zero@tiny", config={}, metrics=rows)
    (run,) = load_runs(tmp_path)
    assert run.suites == ["countdown", "arithmetic"]
    assert run.consensus_key("countdown") == "eval/countdown/cons@16"
    assert run.consensus_key("arithmetic") is None


def test_of_several_domains_the_suite_of_all_comes_first(tmp_path, builders):
    joint = "countdown+logic+code"
    rows = [{"step": s, **{f"eval/{suite}/pass@1": 0.1 * s for suite in ("arithmetic", "countdown", joint)}}
            for s in range(3)]
    builders.artifact(tmp_path, "dev2@tiny", config={}, metrics=rows)
    (run,) = load_runs(tmp_path)
    assert run.suites == [joint, "arithmetic", "countdown"]
    assert headline(run) == "3 domains pass@1 0.0 % → 20.0 %" and suite_title("countdown") == "countdown"


def test_groups_differ_in_more_than_the_seed(store_root):
    titles = [group.title for group in group_runs(load_runs(store_root))]
    assert titles == ["base@tiny", "dev1@tiny", "r1-zero@tiny, tiny-seed1, tiny-seed2", "r1-zero@tiny-beta"]


def test_parents_come_first(store_root):
    refs = [run.ref for run in in_order(load_runs(store_root))]
    assert refs[:3] == ["base@tiny", "r1-zero@tiny", "dev1@tiny"]


def test_versions_sort_by_number():
    assert sorted(["tiny-seed10", "tiny", "tiny-seed2"], key=natural) == ["tiny", "tiny-seed2", "tiny-seed10"]
    assert sorted(["1b", "b", "a1"], key=natural) == ["1b", "a1", "b"]


def test_median_and_range_where_two_runs_meet():
    series = [(np.array([0.0, 2, 4]), np.array([1.0, 5, 9])), (np.array([0.0, 2]), np.array([3.0, 5]))]
    series.append((np.array([2.0, 6]), np.array([11.0, 1])))
    # step 0: 1, 3; step 2: 5, 5, 11; steps 4 and 6 belong to one run each
    np.testing.assert_array_equal(median_and_range(series), [[0, 2], [2, 5], [1, 5], [3, 11]])
    assert median_and_range(series[:1]).shape == (4, 0)


def test_running_mean_is_centred_and_shrinks_at_the_ends():
    short, window = running_mean(np.array([1.0, 9.0]))
    assert window == 1 and short.tolist() == [1.0, 9.0]
    long, window = running_mean(np.arange(80.0) ** 2)  # half a window of 2
    assert window == 5
    # (0 + 1 + 4) / 3, (64 + 81 + 100 + 121 + 144) / 5, (77^2 + 78^2 + 79^2) / 3
    np.testing.assert_allclose([long[0], long[10], long[79]], [5 / 3, 102.0, 18254 / 3])


def test_flatten_names_fields_as_set_does():
    rows = flatten({"rl": {"loss": {"beta": 0.1}, "rewards": [["accuracy", 1.0]], "empty": {}}, "name": "r1-zero"})
    assert rows == [
        ("rl.loss.beta", "0.1"),
        ("rl.rewards", '[["accuracy", 1.0]]'),
        ("rl.empty", "{}"),
        ("name", "r1-zero"),
    ]


def test_an_interval_is_drawn_around_a_single_run(tmp_path, builders):
    rows = [{"step": s, "eval/countdown/pass@1": 0.5, "eval/countdown/pass@1/stderr": 0.1} for s in (0, 20)]
    builders.artifact(tmp_path, "r1-zero@tiny", config={"rl": {"steps": 20}}, metrics=rows)
    (group,) = group_runs(load_runs(tmp_path))
    drawn, absent = pictures(group, beside_paper=False)
    assert [picture.slug for picture in drawn] == ["r1-zero_tiny_accuracy_countdown"]
    assert "95 % interval" in drawn[0].caption
    assert "response length" in absent and "sampler against trainer" in absent
