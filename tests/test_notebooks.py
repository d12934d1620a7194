"""Every notebook under colab/ runs from top to bottom in a fresh kernel; what is stored of it is small and clean."""

from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "colab").glob("*.ipynb"))
LARGEST_BYTES = 400_000

# What must hold in the kernel after the last cell, run as one more cell.
CHECKS = {
    "01_grpo_by_hand": """
assert same is True
assert end_gradient.shape == (3,) and (np.abs(end_gradient) > 0.01).all()
first, last = (np.array([curve[part].mean() for _, curve in runs[4]]) for part in (slice(0, 3), slice(-3, None)))
assert first.max() < 0.15 < 0.9 < last.min(), (first, last)
assert table[0, END] > 0.9                                 # it has learned when to stop
assert grade(problem, f"<think> so </think> <answer> {problem.answer} </answer>", True) == (True, True)
""",
}
ELSEWHERE = {"02_the_r1_recipe": "test_quick_recipe.py"}  # run by the test that makes its store
PRINTS = {
    "01_grpo_by_hand": ["by hand = r1jax: True", "NaN in the padding:      by hand nan, r1jax -0.001"],
    "02_the_r1_recipe": ["all finished: True", "every sample is accounted for: True"],
}


def printed(notebook):
    """What the cells wrote to standard output."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def test_every_notebook_has_checks():
    assert NOTEBOOKS and {path.stem for path in NOTEBOOKS} == {*CHECKS, *ELSEWHERE} == set(PRINTS)
    assert [name for name, file in ELSEWHERE.items() if name not in (ROOT / "tests" / file).read_text()] == []


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem in CHECKS], ids=lambda path: path.stem)
def test_notebook_runs_and_holds(path, clean_kernel):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    notebook.cells.append(nbformat.v4.new_code_cell(CHECKS[path.stem]))
    clean_kernel(notebook)
    written = printed(notebook)
    assert [line for line in PRINTS[path.stem] if line not in written] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_notebook_is_small_clean_and_whole(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < LARGEST_BYTES
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}
    assert [cell.id for cell in notebook.cells if cell.metadata] == []  # timings would change with every run
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"] == []
    assert [line for line in PRINTS[path.stem] if line not in printed(notebook)] == []
