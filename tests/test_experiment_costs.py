"""What the stage files say that the paper's scale takes is what stages/cost.py counts, to the digits that are given."""

import re
from pathlib import Path

import pytest

from r1jax.core.config import load
from r1jax.core.recipe import load_any
from r1jax.stages.cost import REPLY, Lengths, cost

FOLDER = Path(__file__).resolve().parent.parent / "experiments"
PARAGRAPH = re.compile(r"(?:What the paper's scale|What a student) takes \(([^)]*)\): (.*?)(?=\n\n|\nsmall, paper|\Z)",
                       re.DOTALL)
NUMBER = re.compile(r"(?<![\w.-])\d[\d,]*(?:\.\d+)?(?:e\d+)?(?![\w-])")


def training(c):
    return c.trained.flops


ZERO = (lambda c: c.sampled.sequences // 16, lambda c: c.sampled.sequences, lambda c: c.updates // 16,
        lambda c: c.sampled.tokens, lambda c: c.flops)
# file -> the figures of its paragraph, in order
TOLD = {
    "r1_zero": ZERO,
    "cold_start_data": (lambda c: c.sampled.sequences, lambda c: c.sampled.tokens, lambda c: c.flops,
                        lambda c: c.asked.sequences, lambda c: c.asked.tokens, lambda c: c.records),
    "cold_start": (lambda c: c.trained.sequences // 2, lambda c: c.trained.tokens, lambda c: c.updates,
                   lambda c: c.flops, training),
    "reasoning_rl": (lambda c: c.updates // 16, lambda c: c.sampled.sequences, lambda c: c.sampled.tokens,
                     lambda c: c.flops),
    "rejection_data": (lambda c: c.sampled.sequences, lambda c: c.sampled.tokens, lambda c: c.flops,
                       lambda c: c.records),
    "general_data": (lambda c: c.sampled.sequences, lambda c: c.sampled.tokens, lambda c: c.records),
    "rejection_sft": (lambda c: c.trained.sequences // 2, lambda c: c.trained.tokens, lambda c: c.updates,
                      lambda c: c.flops),
    "preferences": (lambda c: c.sampled.sequences, lambda c: c.sampled.tokens, lambda c: c.flops,
                    lambda c: c.asked.sequences, lambda c: c.asked.tokens),
    "safety_labels": (lambda c: c.sampled.sequences, lambda c: c.sampled.tokens, lambda c: c.flops,
                      lambda c: c.asked.sequences, lambda c: c.asked.tokens),
    "reward_models": (lambda c: c.trained.sequences, lambda c: c.trained.tokens, lambda c: c.updates, training),
    "safety_model": (lambda c: c.trained.sequences, lambda c: c.trained.tokens, lambda c: c.updates, training),
    "final_rl": (lambda c: c.updates // 16, lambda c: c.sampled.sequences, lambda c: c.sampled.tokens,
                 lambda c: c.flops, training),
}
BESIDE = {"ablations/small_model_rl": ZERO}  # not of the recipe
STUDENTS = {"distill_qwen": ("1.5b", "7b", "14b", "32b"), "distill_llama": ("8b", "70b")}
RECORDS = {"cold-start-data": "cold_start_data", "preference-data": "preferences", "safety-data": "safety_labels"}


def paragraph(name):
    """(assumed lengths, text) of a file's paragraph on what it takes."""
    given, text = PARAGRAPH.search(FOLDER.joinpath(f"{name}.py").read_text(encoding="utf-8").split('"""')[1]).groups()
    words = " ".join(given.split())

    def number(*patterns):
        return next((int(m[1].replace(",", "")) for p in patterns if (m := re.search(p, words))), None)

    lengths = Lengths(number(r"--prompt-tokens (\d+)", r"prompts of (\d+)"),
                      number(r"--response-tokens (\d+)", r"(?:responses|summaries) of ([\d,]+\d)"),
                      number(r"replies of ([\d,]+\d)") or REPLY)
    return lengths, " ".join(text.split())


def of(name, lengths, scale="paper"):
    records = {data: cost(load(f"{FOLDER / file}.py:paper"), lengths).records for data, file in RECORDS.items()}
    return cost(load(f"{FOLDER / name}.py:{scale}"), lengths, records)


def rounded(told, counted):
    """Whether a figure is what was counted, to the digits that it has."""
    mantissa, _, power = told.replace(",", "").partition("e")
    unit = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
    return abs(float(told.replace(",", "")) - counted) <= (unit / 2 if power else 0) * (1 + 1e-9)


def test_rounding_by_hand():
    assert rounded("2.8e19", 2.775e19) and not rounded("2.7e19", 2.775e19) and rounded("1.2e6", 1_228_800)
    assert rounded("12,000", 12_000) and not rounded("12,000", 12_001)


@pytest.mark.parametrize("name", [*TOLD, *BESIDE])
def test_the_figures_of_a_stage_file_are_those_that_are_counted(name):
    lengths, text = paragraph(name)
    assert lengths.response
    told, found = NUMBER.findall(text), of(name, lengths)
    counted = [value(found) for value in (TOLD | BESIDE)[name]]
    assert len(told) == len(counted), told
    assert all(map(rounded, told, counted)), list(zip(told, counted, strict=True))
    if "half are training" in text or "half\nare training" in text:
        assert training(found) / found.flops == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("name", STUDENTS)
def test_the_figures_of_the_students_are_those_that_are_counted(name):
    lengths, text = paragraph(name)
    sizes = re.findall(r"(\S+) \((\S+b)\)", text)
    assert tuple(size for _, size in sizes) == STUDENTS[name]
    for told, size in sizes:
        assert rounded(told, of(name, lengths, size).flops), (told, size)
    found = of(name, lengths)
    told = NUMBER.findall(text.partition("operations")[0])
    assert all(map(rounded, told, (found.trained.sequences // 2, found.trained.tokens, found.updates)))
    assert len(told) == 3


def test_every_stage_of_the_recipe_says_what_it_takes():
    files = {"dev1": "cold_start", "dev2": "reasoning_rl", "dev3": "rejection_sft", "r1": "final_rl",
             "reasoning-data": "rejection_data", "preference-data": "preferences", "safety-data": "safety_labels",
             "helpful-rm": "reward_models", "safety-rm": "safety_model"}
    named = {files.get(name, name.replace("-", "_")) for name in load_any(f"{FOLDER / 'recipe.py'}:paper").names}
    assert named == {*TOLD, *STUDENTS}
