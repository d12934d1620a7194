"""Which plots a group of runs gets: the paper's two figures first, then what explains them."""

from __future__ import annotations

import re

from r1jax.report.figures import Curve, Panel, Picture, Plot, draw, paper_picture
from r1jax.report.paper import FIGURE_2, FIGURE_3
from r1jax.report.runs import GATE, Group, suite_title

_AGREEMENT = 1e-4  # nats: what sampler and trainer may differ by in float32 on CPU


def pictures(group: Group, *, beside_paper: bool) -> tuple[list[Picture], list[str]]:
    """The plots that have data, in order, the paper's own beside them if asked, and in words those that have none."""
    plots = _rl_plots(group) if group.runs[0].is_rl else _pretrain_plots(group)
    drawn, absent = [], []
    for plot in plots:
        picture = draw(plot, group)
        if picture is None:
            absent.append(plot.heading.lower())
            continue
        drawn.append(picture)
        absent += [
            f"{curve.label} ({curve.key})"
            for panel in plot.panels
            for curve in panel.curves
            if curve.key not in group.keys
        ]
        if beside_paper and plot is plots[0]:
            drawn.append(_figure_2())
        if beside_paper and plot.slug == "length":
            drawn.append(_figure_3())
    return drawn, absent


def _figure_2() -> Picture:
    curves = {
        "pass@1": {step: row[0] for step, row in FIGURE_2.items()},
        "cons@16": {step: row[1] for step, row in FIGURE_2.items()},
    }
    return paper_picture("paper_figure_2", "The paper's figure 2 (AIME 2024)", "accuracy (%)", curves)


def _figure_3() -> Picture:
    curves = {"length": FIGURE_3}
    return paper_picture("paper_figure_3", "The paper's figure 3", "response length (tokens)", curves)


def _accuracy(group: Group, suite: str) -> Plot:
    prefix = f"eval/{suite}/"
    consensus = sorted(
        (key for key in group.keys if re.fullmatch(rf"{re.escape(prefix)}cons@\d+", key)),
        key=lambda key: int(key.rsplit("@", 1)[1]),
    ) or [f"{prefix}cons@16"]
    curves = [Curve(f"{prefix}pass@1", "pass@1", 100, f"{prefix}pass@1/stderr")]
    curves += [Curve(key, key.removeprefix(prefix), 100) for key in consensus]
    panel = Panel("held-out accuracy (%)", tuple(curves))
    slug = "accuracy_" + re.sub(r"[^A-Za-z0-9.-]+", "_", suite)
    caption = "Compare the paper's figure 2." if group.runs[0].is_rl else ""
    return Plot(slug, f"Held-out accuracy: {suite_title(suite)}", caption, (panel,))


def _rl_plots(group: Group) -> list[Plot]:
    suites = group.suites
    accuracy = [_accuracy(group, suite) for suite in suites]
    if not suites:
        accuracy = [_one("accuracy", "Held-out accuracy", "accuracy (%)", (_percent("eval/*/pass@1", "pass@1"),))]
    lengths = (Curve("rollout/length", "training rollouts"),)
    lengths += tuple(Curve(f"eval/{suite}/length", f"held out: {suite_title(suite)}") for suite in suites)
    length = _one("length", "Response length", "response length (tokens)", lengths, "Compare the paper's figure 3.")
    return [*accuracy, length, *_language(), *_reward(group), *_policy(), *_machine()]


def _language() -> list[Plot]:
    reflection = (Curve("rollout/reflection", "reflection words"),)
    mixing = (_percent("rollout/language_mix", "language mixing"),)
    said = "Words such as wait, wrong, check, in training rollouts."
    return [
        _one("reflection", "Reflection", "reflection words a response", reflection, said),
        _one("language_mixing", "Language mixing", "mixed responses (%)", mixing, "Of training rollouts."),
    ]


def _reward(group: Group) -> list[Plot]:
    parts = sorted(key for key in group.keys if key.startswith("rollout/reward/")) or ["rollout/accuracy"]
    rewards = (Curve("rollout/reward", "total"), *(Curve(key, key.rsplit("/", 1)[1]) for key in parts))
    shares = (
        _percent("rollout/truncated", "truncated responses"),
        _percent("rollout/zero_variance", "groups of equal reward"),
    )
    return [
        _one("reward", "Reward and its parts", "mean reward", rewards, "Each part before its weight."),
        _one("waste", "Responses cut off, groups without signal", "share (%)", shares, "Equal rewards teach nothing."),
    ]


def _policy() -> list[Plot]:
    attempts = Panel("attempts a response", (Curve("rollout/attempts", "attempts"),))
    retries = Panel("retries (%)", (_percent("rollout/retry_after_failure", "retries after failure"),))
    entropy = Panel("entropy (nats)", (Curve("train/entropy", "entropy"),))
    divergence = Panel("KL (nats)", (Curve("train/kl", "KL"),))
    clipped = Panel("clipped (%)", (_percent("train/clip_fraction", "clip fraction"),))
    loss = Panel("loss", (Curve("train/loss", "loss"),))
    return [
        Plot("attempts", "Attempts", "A retry: a failed attempt that another one follows.", (attempts, retries)),
        Plot("policy", "Entropy, divergence from the reference", "Means over tokens.", (entropy, divergence)),
        Plot("updates", "Policy updates", "Clipped: share of tokens whose ratio left its bounds.", (clipped, loss)),
    ]


def _machine() -> list[Plot]:
    return [
        Plot(
            "speed", "Speed", "",
            (
                Panel(
                    "tokens a second",
                    (Curve("rollout/tokens_per_second", "rollout"), Curve("train/tokens_per_second", "training")),
                ),
                Panel(
                    "share (%)",
                    (_percent("rollout/occupancy", "busy slots"), _percent("train/padding", "training padding")),
                    top=100,
                ),
            ),
        ),
        Plot(
            "mismatch", "Sampler against trainer", "Log-probabilities of the same tokens.",
            (
                Panel(
                    "largest |Δ log p| (nats)", (Curve("mismatch/max_abs", "largest difference"),), True,
                    (_AGREEMENT, f"{_AGREEMENT:g}, the float32 limit on CPU"),
                ),
                Panel("k3 (nats)", (Curve("mismatch/k3", "k3"),), True),
            ),
        ),
    ]  # fmt: skip


def _pretrain_plots(group: Group) -> list[Plot]:
    plots = [
        _one("loss", "Training loss", "loss (nats a token)", (Curve("train/loss", "loss"),)),
        _one("speed", "Speed", "tokens a second", (Curve("train/tokens_per_second", "training"),)),
    ]
    return [_accuracy(group, suite) for suite in group.suites] + plots


def gate_rows(group: Group) -> list[tuple[str, list[str]]]:
    """The base's gate as rows of (measure, last value of each run)."""
    keys = sorted(key for key in group.keys if key.startswith(f"eval/{GATE}/"))
    return [
        (key.split("/", 2)[2], [f"{ends[1]:.4g}" if (ends := run.ends(key)) else "–" for run in group.runs])
        for key in keys
    ]


def _one(slug: str, heading: str, ylabel: str, curves: tuple[Curve, ...], caption: str = "") -> Plot:
    return Plot(slug, heading, caption, (Panel(ylabel, curves),))


def _percent(key: str, label: str) -> Curve:
    return Curve(key, label, 100)
