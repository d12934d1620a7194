"""Named sets from small files in their published layouts: every row of each, and what is refused."""

import csv
import dataclasses
import json
import string
from pathlib import Path

import pytest

from r1jax.core.errors import DataError
from r1jax.data import hub, sources
from r1jax.data.sets import choices, mathematics, programs
from r1jax.data.sources import SETS, is_named, load

SHARED = Path(__file__).parents[2] / "../shared/data"
IO = json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]})
CALLS = json.dumps({"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [3, 7]})
LCB = {"question_title": "T", "question_content": "Add.", "platform": "atcoder", "contest_date": "2024-10-05T00:00:00",
       "starter_code": "", "difficulty": "easy", "metadata": "{}", "private_test_cases": "[]",
       "public_test_cases": json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}])}
METHOD = {**LCB, "starter_code": "class Solution:\n    def add(self, a: int, b: int) -> int:\n        ",
          "metadata": '{"func_name": "add"}', "question_content": "Sum.",
          "public_test_cases": json.dumps([{"input": "1\n2", "output": "3", "testtype": "functional"}])}
FORCES = {"description": "Add.", "input_format": "Two numbers.", "output_format": "Their sum.", "note": None,
          "examples": [{"input": "1 2", "output": "3"}], "official_tests": [{"input": "1 2\n", "output": "3\n"}],
          "official_tests_complete": True, "executable": True, "input_mode": "stdio", "interaction_format": None,
          "generated_checker": None, "time_limit": 2.0, "memory_limit": 256.0, "rating": 800,
          "contest_start_year": 2020}


def write(path, rows):
    """Rows as a file of the path's suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        table = pyarrow.Table.from_pylist(rows)
        if path.suffix == ".parquet":
            pytest.importorskip("pyarrow.parquet").write_table(table, path)
        else:
            with pytest.importorskip("pyarrow.ipc").new_stream(str(path), table.schema) as sink:
                sink.write_table(table)
    return path


CASES = {
    # name: (file in the hub's layout, rows, (question, answer) of the problems, left out)
    "gsm8k": ("main/train-00000-of-00001.parquet",
              [{"question": "Eggs?", "answer": "16-3=13\n#### 1,450"}, {"question": "None?", "answer": "no mark"}],
              [("Eggs?", "1,450")], {"no answer": 1}),
    "math": ("algebra/train-00000-of-00001.parquet",
             [{"problem": "Half?", "solution": r"It is \boxed{1} or $\boxed{\frac{1}{2}}$.", "level": "Level 1",
               "type": "Algebra"}, {"problem": "Prove it.", "solution": "Clear.", "level": "", "type": ""}],
             [("Half?", r"\frac{1}{2}")], {"no boxed answer": 1}),
    "math_500": ("test.jsonl", [{"problem": "1+1", "answer": "2", "solution": "Two.", "level": 1}], [("1+1", "2")], {}),
    "aime_2024": ("data/train-00000-of-00001.parquet", [{"id": 60, "problem": "N?", "answer": "073", "year": "2024"}],
                  [("N?", "073")], {}),
    "aime_2025": ("data/train-00000-of-00001.parquet", [{"problem_idx": 1, "problem": "N?", "answer": 70}],
                  [("N?", "70")], {}),
    "dapo_math_17k": ("all/train-00000-of-00001.parquet",
                      [{"prompt": "In triangle ABC?", "solution": "34"}, {"prompt": "求和？", "solution": "5"},
                       {"prompt": "Solve the following math problem step by step. The last line of your response "
                        "should be of the form Answer: $Answer (without quotes) where $Answer is the answer to the "
                        "problem.\n\nHow many?\n\nRemember to put your answer on its own line after \"Answer:\".",
                        "solution": "3"}],
                      [("In triangle ABC?", "34"), ("求和？", "5"), ("How many?", "3")], {}),
    "big_math": ("data/train-00000-of-00001.parquet",
                 [{"problem": "1+1?", "answer": "2", "source": "cn_k12", "domain": ["A"], "llama8b_solve_rate": 0.5},
                  {"problem": "2+2?", "answer": "4", "source": "aops", "domain": ["A"], "llama8b_solve_rate": None}],
                 [("1+1?", "2"), ("2+2?", "4")], {}),
    "taco": ("train/data-00000-of-00009.arrow",
             [{"question": "Add.", "input_output": IO, "starter_code": "", "time_limit": "2.0 seconds",
               "memory_limit": "256.0 megabytes", "picture_num": None, "difficulty": "EASY"},
              {"question": "See?", "input_output": IO, "starter_code": "", "time_limit": None, "memory_limit": None,
               "picture_num": "2", "difficulty": "EASY"},
              {"question": "Odd.", "input_output": "{", "starter_code": "", "time_limit": None, "memory_limit": None,
               "picture_num": "0", "difficulty": "EASY"},
              {"question": "No.", "input_output": '{"inputs": [], "outputs": []}', "starter_code": "",
               "time_limit": None, "memory_limit": None, "picture_num": "0", "difficulty": "EASY"}],
             [("Add.", "")], {"needs a picture": 1, "unreadable tests": 1, "no tests": 1}),
    "apps": ("train.jsonl", [{"problem_id": 1, "question": "Sum.", "input_output": CALLS,
                              "starter_code": "def add(a, b):\n\t"}],
             [("Sum.\n\nStarter code:\n```python\ndef add(a, b):\n```", "")], {}),
    "codeforces": ("data/train-00000-of-00002.parquet",
                   [FORCES, {**FORCES, "generated_checker": "import sys"}, {**FORCES, "official_tests_complete": False},
                    {**FORCES, "input_mode": "file"}, {**FORCES, "interaction_format": "Ask."}],
                   [("Add.\n\nInput\nTwo numbers.\n\nOutput\nTheir sum.\n\nExample 1: input\n1 2\n\n"
                     "Example 1: output\n3", "")],
                   {"several right answers": 1, "tests cut off": 1, "not on standard input and output": 1,
                    "interactive": 1}),
    "livecodebench": ("test5.jsonl", [LCB, METHOD, {**LCB, "contest_date": "2025-02-01T00:00:00"},
                                      {**LCB, "contest_date": "2024-07-31T23:00:00"}],
                      [("Add.", ""), ("Sum.\n\nStarter code:\n```python\n" + METHOD["starter_code"].strip() + "\n```",
                                      "")], {"outside of the window": 2}),
    "gpqa_diamond": ("gpqa_diamond.csv", [{"Record ID": "r", "Question": "Which?", "Correct Answer": "right\n",
                                           "Incorrect Answer 1": "w1", "Incorrect Answer 2": "w2",
                                           "Incorrect Answer 3": "w3", "Explanation": "Since."}], None, {}),
    "mmlu_pro": ("data/test-00000-of-00001.parquet",
                 [{"question_id": 70, "question": "Which?", "options": ["x", "y", "z"], "answer": "C",
                   "answer_index": 2, "category": "law"},
                  {"question_id": 71, "question": "Bad?", "options": ["x", "y", "z"], "answer": "C",
                   "answer_index": 1, "category": "law"}],
                 [("Which?\n\nA) x\nB) y\nC) z", "C")], {"letter and answer differ": 1}),
    "sciq": ("data/train-00000-of-00001.parquet", [{"question": "Which?", "correct_answer": "right",
                                                    "distractor1": "w1", "distractor2": "w2", "distractor3": "w3",
                                                    "support": "It is right."}], None, {}),
    "supergpqa": ("SuperGPQA-all.jsonl",
                  [{"uuid": "u", "question": "Which?", "options": ["x", "y"], "answer": "y", "answer_letter": "B",
                    "discipline": "Science", "field": "Physics"},
                   {"uuid": "v", "question": "When?", "options": ["x", "y"], "answer": "y", "answer_letter": "B",
                    "discipline": "History", "field": "History"},
                   {"uuid": "w", "question": "Why?", "options": ["x", "y"], "answer": "y", "answer_letter": "A",
                    "discipline": "Science", "field": "Physics"}],
                  [("Which?\n\nA) x\nB) y", "B")], {"another discipline than STEM": 1, "letter and answer differ": 1}),
}


def test_every_set_has_a_case():
    assert set(CASES) == set(SETS)


@pytest.mark.parametrize("name", CASES)
def test_a_set_from_the_hubs_layout_a_folder_and_a_file(name, tmp_path, monkeypatch):
    place, rows, expected, left_out = CASES[name]
    file = write(tmp_path / "set" / place, rows)
    asked = []

    def download(repository, *, repo_type, allow_patterns):
        asked.append((repository, repo_type, allow_patterns))
        return str(tmp_path / "set")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    problems, why = load(name)
    assert asked == [(SETS[name].hub, "dataset", list(next(iter(SETS[name].splits.values()))))]
    assert why == left_out and {p.domain for p in problems} == {SETS[name].domain}
    assert load(f"{name}={tmp_path / 'set'}") == load(f"{name}={file}") == (problems, why)
    if expected is not None:
        assert [(p.question, p.answer) for p in problems] == expected
    assert all(p.id.startswith(f"{name}/") for p in problems) and json.dumps([dict(p.meta) for p in problems])


def test_what_graders_read(tmp_path):
    def first(name):
        place, rows, _, _ = CASES[name]
        return load(f"{name}={write(tmp_path / place, rows)}")[0]

    assert first("taco")[0].meta == {"tests": [["1 2\n", "3\n"]], "cpu_seconds": 2.0, "memory_bytes": 256 << 20,
                                     "difficulty": "EASY"}
    apps = first("apps")[0].meta
    assert (apps["tests"], apps["function"]) == ([[[1, 2], 3], [[3, 4], 7]], "add")
    assert first("codeforces")[0].meta["tests"] == [["1 2\n", "3\n"]]
    assert first("codeforces")[0].meta["memory_bytes"] == 268435456
    program, method = first("livecodebench")
    assert program.meta["tests"] == [["1 2\n", "3\n"]] and "function" not in program.meta
    assert (method.meta["tests"], method.meta["function"]) == ([[[1, 2], 3]], "Solution.add")
    assert method.meta["stem"] == "Sum." and first("supergpqa")[0].meta["stem"] == "Which?"
    assert first("gsm8k")[0].meta["solution"] == "16-3=13" and first("math")[0].meta["level"] == "Level 1"
    assert [p.meta.get("pass_rate") for p in first("big_math")] == [0.5, None]
    assert [p.language for p in first("dapo_math_17k")] == ["en", "zh", "en"]


@pytest.mark.parametrize(("packed", "meta"), [
    ({"inputs": ["1", "2"], "outputs": ["0.5\n", "1\n"]},
     {"tests": [["1", "0.5\n"], ["2", "1\n"]], "checker": "floats"}),
    ({"inputs": ["1", "2"], "outputs": [" \n", "v1.2.3 a.5b"]}, {"tests": [["2", "v1.2.3 a.5b"]]}),
    ({"inputs": ["1"], "outputs": [""]}, "no tests"),
    ({"fn_name": "a b", "inputs": [[1]], "outputs": [2]}, "unreadable tests"),
    ({"fn_name": "lambda", "inputs": [[1]], "outputs": [2]}, "unreadable tests"),
    ({"fn_name": "half", "inputs": [[1], [2]], "outputs": [[0.5], [1.0]]},
     {"tests": [[[1], [0.5]], [[2], [1.0]]], "function": "half", "starter_code": "", "stem": "Q",
      "or_unwrapped": True}),
])
def test_which_tests_of_a_program_are_kept(packed, meta):
    found = programs.apps_form("apps")({"question": "Q", "input_output": json.dumps(packed)})
    assert (found if isinstance(found, str) else found.meta) == meta
    if "half" in json.dumps(packed):
        assert found.question == "Q\n\nWrite the function `half`."


@pytest.mark.parametrize("name", ["gpqa_diamond", "sciq"])
def test_options_stand_in_an_order_of_the_question(name, tmp_path):
    place, rows, _, _ = CASES[name]
    right = "Correct Answer" if name == "gpqa_diamond" else "correct_answer"
    key = "Question" if name == "gpqa_diamond" else "question"
    # sha256sum of "Which?\nw3" begins with 092d, of w1 with 23ed, of right with 37d4, of w2 with 9619
    order = ["w3", "w1", "right", "w2"]
    problem = load(f"{name}={write(tmp_path / place, rows)}")[0][0]
    assert problem.meta["options"] == order and problem.answer == "C"
    assert problem.question == "Which?\n\nA) w3\nB) w1\nC) right\nD) w2"
    many = [{**rows[0], key: f"Question {i}?"} for i in range(200)]
    letters = [p.answer for p in load(f"{name}={write(tmp_path / place, many)}")[0]]
    assert all(30 <= letters.count(letter) <= 72 for letter in "ABCD")  # 50 expected, standard deviation 6.1
    twice = [{**rows[0], right: "w1"}, rows[0]]
    assert load(f"{name}={write(tmp_path / place, twice)}")[1] == {"the right option is given twice": 1}


def test_options_have_one_convention():
    assert choices.with_options("Q", ["a", "b"]) == "Q\n\nA) a\nB) b"
    assert choices.choice("x", "Q", list("abcdefghijk"), 0) == "options missing or too many"
    assert choices.choice("x", "Q", ["a"], 0) == "options missing or too many"
    assert choices.choice("x", "", ["a", "b"], 0) == "no question"
    assert choices.mmlu_pro({"question": "Q", "options": [None, "y"], "answer": "B"}) == "options missing or too many"
    padded = {"question": "Q", "options": ["x", "y", "N/A", "N/A"], "answer": "B", "answer_index": "1"}
    assert choices.mmlu_pro(padded).meta["options"] == ["x", "y"]
    assert choices.mmlu_pro({**padded, "answer": "C"}) == choices.mmlu_pro({**padded, "answer": ""}) == "no answer"


@pytest.mark.parametrize(("solution", "answer"), [
    (r"\boxed{2}", "2"), (r"\boxed{\frac{1}{2}} and \boxed{ x^{2} }", "x^{2}"), (r"\fbox{7}", "7"),
    (r"$\boxed 9$.", "9"), (r"\boxed{\{1,2\}}", r"\{1,2\}"), ("nothing", ""), (r"\boxed{open", ""), (r"\boxed{}", ""),
    (r"\boxed{a\\}", r"a\\"), (r"\boxed\pi$", r"\pi"),
])
def test_the_last_box(solution, answer):
    assert mathematics.last_boxed(solution) == answer


@pytest.mark.parametrize(("day", "window", "outside"), [
    ("2024-08-01", "2024-08..2025-01", False), ("2025-01-31", "2024-08..2025-01", False),
    ("2024-07-31", "2024-08..2025-01", True), ("2025-02-01", "2024-08..2025-01", True),
    ("2024-08-15", "2024-08-15..2024-08-15", False), ("2024-08-16", "2024-08-10..2024-08-15", True),
    ("1999-01-01", "all", False),
])
def test_windows_hold_whole_months(day, window, outside):
    assert programs.outside_window({"contest_date": f"{day}T00:00:00"}, window) is outside


@pytest.mark.parametrize(("text", "units", "value"), [
    ("2 seconds", "s", 2.0), ("1.5 second", "s", 1.5), ("500 ms", "s", 0.5), ("", "s", None), ("fast", "s", None),
    ("9" * 400 + " seconds", "s", None), ("9" * 400 + " mb", "b", None),
    ("256.0 megabytes", "b", 268435456), ("64 MB", "b", 67108864), ("3 parsecs", "s", None), ("0 seconds", "s", None),
])
def test_limits_in_words(text, units, value):
    assert programs.quantity(text, programs._SECONDS if units == "s" else programs._BYTES) == value


@pytest.mark.parametrize(("source", "message"), [
    ("gsmk8", "There is no set 'gsmk8'. Did you mean gsm8k?"), ("gsm8k:tset", "has no split 'tset'; its splits are"),
    ("logic:many", "'many' is no number of puzzles"), ("logic:0", "no number of puzzles"),
    ("gsm8k=nowhere.jsonl", "nowhere.jsonl does not exist"),
])
def test_names_that_are_none(source, message):
    with pytest.raises(DataError, match=message):
        load(source)


def test_files_that_are_not_the_sets(tmp_path):
    wrong = write(tmp_path / "wrong.jsonl", [{"problem": "1", "answer": "2"}])
    with pytest.raises(DataError, match="no column 'question'; the columns are 'problem', 'answer'"):
        load(f"gsm8k={wrong}")
    with pytest.raises(DataError, match="no problem that can be used .no answer: 1.; check the file"):
        load(f"gsm8k={write(tmp_path / 'plain.jsonl', [{'question': '1+1', 'answer': '2'}])}")
    with pytest.raises(DataError, match="its files have no rows"):
        load(f"gsm8k={write(tmp_path / 'empty.jsonl', [])}")
    with pytest.raises(DataError, match="line 1: column 'answer' holds list, not text"):
        load(f"gsm8k={write(tmp_path / 'list.jsonl', [{'question': '1+1', 'answer': []}])}")
    with pytest.raises(DataError, match="line 1: could not convert string to float: 'often'"):
        rows = [{"problem": "1", "answer": "2", "llama8b_solve_rate": "often"}]
        load(f"big_math={write(tmp_path / 'rate.jsonl', rows)}")
    with pytest.raises(DataError, match="line 1: 'spring' is no window"):
        load(f"livecodebench:spring={write(tmp_path / 'test.jsonl', [LCB])}")
    with pytest.raises(DataError, match="line 1: the tests call a function but column 'metadata' has no func_name"):
        load(f"livecodebench={write(tmp_path / 'test.jsonl', [{**METHOD, 'metadata': '{}'}])}")
    for name in ("5", '"a.b.c"', '"lambda"', '"Solution.add"'):
        with pytest.raises(DataError, match="no func_name that can be a function's"):
            row = {**METHOD, "metadata": '{"func_name": ' + name + "}"}
            load(f"livecodebench={write(tmp_path / 'test.jsonl', [row])}")
    with pytest.raises(DataError, match="line 1: the public tests are no list"):
        load(f"livecodebench={write(tmp_path / 'test.jsonl', [{**LCB, 'public_test_cases': '[1, 2]'}])}")
    with pytest.raises(DataError, match="the pickle holds|neither JSON nor packed"):
        load(f"livecodebench={write(tmp_path / 'test.jsonl', [{**LCB, 'private_test_cases': 'aGk='}])}")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match="has no file of the split 'train'"):
        load(f"gsm8k={tmp_path / 'folder'}")


def test_repeated_rows_are_one_problem_and_ids_outlive_versions(tmp_path):
    row = {"question": "1+1", "answer": "so\n#### 2"}
    problems, left_out = load(f"gsm8k={write(tmp_path / 'a.jsonl', [row, row])}")
    assert left_out == {"repeated": 1}
    assert problems[0].id == "gsm8k/645b6bf44b44b997"  # sha256 of '["1+1", "2"]'


def test_splits_and_folders(tmp_path):
    write(tmp_path / "gsm8k_train.jsonl", [{"question": "train?", "answer": "#### 1"}])
    write(tmp_path / "test.jsonl", [{"question": "test?", "answer": "#### 1"}])
    assert load(f"gsm8k:test={tmp_path}")[0][0].question == "test?"
    assert sources.paths(f"gsm8k:test={tmp_path}") == [tmp_path / "test.jsonl"] and sources.paths("gsm8k") == []
    assert hub.matching(tmp_path, ["x*", "test*", "*.jsonl"]) == [tmp_path / "test.jsonl"]


@pytest.mark.parametrize(("name", "rows", "domains", "meta", "lost"), [
    ("helpful", [{"question": "Write a poem ."}, {"question": ""}], {"general"}, {"set": "helpful"},
     {"no question": 1}),
    ("harmless", [{"question": "写一首诗", "answer": "x"}], {"general"}, {"set": "harmless"}, {}),
    ("open", [{"question": "Why ?", "answer": "So ."}, {"question": "Why ?", "answer": ""}], {"open"}, {},
     {"no answer": 1}),
])
def test_files_of_your_own(tmp_path, name, rows, domains, meta, lost):
    file = tmp_path / "own.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems, left_out = load(f"{name}={file}")
    assert {p.domain for p in problems} == domains and all(p.meta == meta for p in problems) and left_out == lost
    (found,) = problems
    assert (found.question, found.answer) == (rows[0]["question"], rows[0].get("answer", ""))
    assert found.language == ("zh" if name == "harmless" else "en")
    with pytest.raises(DataError, match=f"{name} is no public set but a file of your own: name it, as in {name}=FILE"):
        load(name)


def test_what_is_a_name():
    named = ["gsm8k", "gsm8k:test", "math=a/b.jsonl", "livecodebench:2024-08..2025-01", "logic", "logic:30"]
    assert all(map(is_named, named))
    assert not any(map(is_named, ["world", "gsm8k.jsonl", "gsm8k/test.jsonl", "hub:openai/gsm8k/main:test", "", "x"]))


def test_records_are_complete():
    for name, record in SETS.items():
        assert record.name == name and set(name) <= set(string.ascii_lowercase + string.digits + "_")
        assert record.domain in ("math", "code", "stem") and record.licence and record.columns and record.splits
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.name = "other"


@pytest.mark.parametrize(("source", "count"), [("gsm8k:test", 1319), ("gsm8k", 7473), ("math_500", 500),
                                               ("aime_2024", 30)])
def test_public_files(source, count):
    file = {"gsm8k:test": "gsm8k_test", "gsm8k": "gsm8k_train"}.get(source, source)
    path = SHARED / f"{file}.jsonl"
    if not path.is_file():
        pytest.skip("the shared data sets are not here")
    problems, left_out = load(f"{source}={path}")
    assert len(problems) + left_out.get("repeated", 0) == count and set(left_out) <= {"repeated"}


def test_the_boxed_answers_of_math_500_are_its_answers():
    path = SHARED / "math_500.jsonl"
    if not path.is_file():
        pytest.skip("the shared data sets are not here")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [mathematics.last_boxed(row["solution"]) for row in rows] == [row["answer"] for row in rows]
