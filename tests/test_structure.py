"""The source itself under test: layers, owners of libraries, budgets, and habits that are refused.

Every rule is a function of source text that returns the complaints it has; the last part of this
file shows each of them a text that breaks it.
"""

import ast
import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES, FUNCTION_LINES = 350, 60

TIERS = {"core": 0, "assets": 0, "ops": 1, "text": 1, "models": 2, "data": 2, "losses": 3, "rewards": 3, "sampler": 3,
         "train": 4, "store": 4, "search": 4, "eval": 4, "stages": 5, "plan": 6, "serve": 6, "report": 6, "cli": 7}
OWNERS = {"orbax": "store", "tensorstore": "store", "grain": "data", "array_record": "data", "sentencepiece": "text",
          "tokenizers": "text"}
FORBIDDEN = {("losses", "models")}  # lower, yet not to be imported: a loss takes arrays
JAX_LIBRARIES = {"jax", "jaxlib", "flax", "optax", "chex", "orbax"}
JAX_FREE = ("r1jax/core/records.py", "r1jax/core/errors.py", "r1jax/core/config.py", "r1jax/core/settings.py",
            "r1jax/core/override.py", "r1jax/core/recipe.py", "r1jax/text/wording.py", "r1jax/rewards/")
JAX_ALLOWED = ("r1jax/rewards/learned.py",)
MESH_AXES = {"data", "fsdp", "tensor", "expert"}
AXIS_CALLS = {"P", "PartitionSpec", "Mesh", "make_mesh", "AbstractMesh", "psum", "pmean", "pmax", "pmin", "all_gather",
              "all_to_all", "ppermute", "psum_scatter", "axis_index", "axis_size"}
IMPORT_NAMES = {"orbax-checkpoint": "orbax", "lingua-language-detector": "lingua"}


def tracked(*suffixes):
    """Files of the repository (not ignored ones) with one of the suffixes, as relative paths."""
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:  # an unpacked archive
        names = [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if ".venv" not in p.parts]
    else:
        names = listed.stdout.splitlines()
    return sorted({n for n in names if n.endswith(suffixes) and (ROOT / n).is_file()})


def sources(*folders):
    """(path, text) of the Python files under folders of the repository."""
    return [(n, (ROOT / n).read_text(encoding="utf-8")) for n in tracked(".py") if n.startswith(folders)]


@functools.cache
def parse(text):
    """The syntax tree of a text; every rule reads the same one."""
    return ast.parse(text)


def imports(path, text):
    """(line, dotted name) of everything a file imports, inside functions too, relative ones resolved."""
    package = path.removesuffix(".py").split("/")[:-1]
    found = []
    for node in ast.walk(parse(text)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[:len(package) - node.level + 1] if node.level else []
            base = ".".join(above + ([node.module] if node.module else []))
            found += [(node.lineno, f"{base}.{alias.name}") for alias in node.names]
        elif isinstance(node, ast.Call) and called(node) in ("import_module", "__import__"):
            names = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            found += [(node.lineno, name) for name in names[:1]]
    return found


def called(node):
    """The last name of what a call calls: psum for jax.lax.psum(...)."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def unit(dotted):
    """core for r1jax.core.mesh, store for r1jax.store; None outside of r1jax and for r1jax itself."""
    parts = dotted.removesuffix(".py").replace("/", ".").split(".")
    return parts[1] if parts[0] == "r1jax" and len(parts) > 1 and not parts[1].startswith("__") else None


def layer_complaints(path, text):
    """Imports go to a lower tier or stay in their own folder, and losses import no models."""
    here, complaints = unit(path), []
    if here is not None and here not in TIERS:
        return [f"{path}: {here} has no layer; give it one in tests/test_structure.py"]
    for line, name in imports(path, text):
        there = unit(name)
        if here is None or there in (None, here) or (there not in TIERS and name.count(".") == 1):
            continue  # outside the package, the same folder, or a plain name of r1jax/__init__.py
        if TIERS.get(there, 99) >= TIERS[here] or (here, there) in FORBIDDEN:
            complaints.append(f"{path}:{line}: {here} may not import {name}")
    return complaints


def owner_complaints(path, text):
    """Some libraries have one folder that may import them."""
    return [f"{path}:{line}: only {OWNERS[top]} imports {top}" for line, name in imports(path, text)
            if (top := name.split(".")[0]) in OWNERS and unit(path) != OWNERS[top]]


def jax_complaints(path, text):
    """Reward and grading code imports no jax."""
    if not path.startswith(JAX_FREE) or path in JAX_ALLOWED:
        return []
    return [f"{path}:{line}: imports {name}" for line, name in imports(path, text)
            if name.split(".")[0] in JAX_LIBRARIES]


def axis_complaints(path, text):
    """Only core/mesh.py writes mesh axes as text."""
    if path == "r1jax/core/mesh.py":
        return []
    complaints = []
    for node in ast.walk(parse(text)):
        if isinstance(node, ast.Call) and called(node) in AXIS_CALLS:
            given = [*node.args, *[keyword.value for keyword in node.keywords]]
            texts = {n.value for value in given for n in ast.walk(value) if isinstance(n, ast.Constant)}
            complaints += [f"{path}:{node.lineno}: names the mesh axis {axis!r}"
                           for axis in sorted(MESH_AXES & {t for t in texts if isinstance(t, str)})]
    return complaints


def reader_complaints(path, text):
    """Weights are read by one function, since some artifacts hold adapters alone."""
    if path == "r1jax/stages/weights_of.py" or not path.startswith("r1jax/"):
        return []
    return [f"{path}:{node.lineno}: reads weights; use load_weights of r1jax/stages/weights_of.py"
            for node in ast.walk(parse(text)) if isinstance(node, ast.Call) and called(node) == "load_params"]


def budget_complaints(path, text):
    """A file at most 350 lines (tests may have more), a function at most 60."""
    lines, complaints = text.count("\n"), []
    if lines > FILE_LINES and not path.startswith("tests/"):
        complaints.append(f"{path}: {lines} lines, more than {FILE_LINES}")
    for node in ast.walk(parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_LINES:
                complaints.append(f"{path}:{node.lineno}: {node.name} has {length} lines, more than {FUNCTION_LINES}")
    return complaints


def danger_complaints(path, text):
    """No evaluation of text, no unpickling."""
    complaints = []
    for node in ast.walk(parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in ("eval", "exec", "builtins.eval", "builtins.exec"):
            complaints.append(f"{path}:{node.lineno}: calls {name}")
        if re.fullmatch(r"(pickle|cloudpickle|dill|marshal|_pickle)\.(load|loads|Unpickler)", name):
            complaints.append(f"{path}:{node.lineno}: calls {name}")
    for line, name in imports(path, text):
        if re.fullmatch(r"(pickle|cloudpickle|dill|marshal|_pickle)\.(load|loads|Unpickler)", name):
            complaints.append(f"{path}:{line}: imports {name}")
    return complaints


def except_complaints(path, text):
    """No bare except, and no broad one that passes over the error in silence."""
    broad, complaints = ("Exception", "BaseException"), []
    for node in ast.walk(parse(text)):
        if isinstance(node, ast.ExceptHandler):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            silent = all(isinstance(s, (ast.Pass, ast.Continue)) or
                         (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant)) for s in node.body)
            if node.type is None:
                complaints.append(f"{path}:{node.lineno}: bare except")
            elif silent and any(ast.unparse(kind) in broad for kind in kinds):
                complaints.append(f"{path}:{node.lineno}: swallows every exception")
        elif isinstance(node, ast.Call) and called(node) == "suppress":
            if any(ast.unparse(a) in broad for a in node.args):
                complaints.append(f"{path}:{node.lineno}: suppresses every exception")
    return complaints


def docstring_complaints(path, text):
    """Modules, public functions, classes and methods say what they are; properties may leave it to the class."""
    tree = parse(text)
    complaints = [] if ast.get_docstring(tree) or not tree.body else [f"{path}: no module docstring"]
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")]
    public += [m for n in public if isinstance(n, ast.ClassDef) for m in n.body
               if isinstance(m, kinds) and not m.name.startswith("_")
               and not any("property" in ast.unparse(d) for d in m.decorator_list)]
    return complaints + [f"{path}:{n.lineno}: {n.name} has no docstring" for n in public if not ast.get_docstring(n)]


def text_complaints(path, text):
    """No promises to do something later, no paths of somebody's machine."""
    patterns = {"an open end": r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b",
                "a machine's path": r"(?<![\w.~/])/(work|root|home/\w+|Users/\w+|tmp/\w+)(/|\b)"}
    return [f"{path}:{number}: {what}: {found.group(0)}" for number, line in enumerate(text.splitlines(), 1)
            for what, pattern in patterns.items() if (found := re.search(pattern, line))]


def declared(setup_text):
    """Import names of install_requires and of each extra in a setup.py."""
    def top(requirement):
        name = re.match(r"[A-Za-z0-9_.-]+", requirement).group(0)
        return IMPORT_NAMES.get(name, name.replace("-", "_"))

    calls = [n for n in ast.walk(ast.parse(setup_text)) if isinstance(n, ast.Call) and called(n) == "setup"]
    keywords = {k.arg: ast.literal_eval(k.value) for k in calls[0].keywords
                if k.arg in ("install_requires", "extras_require")}
    extras = {extra: {top(r) for r in rows} for extra, rows in keywords["extras_require"].items()}
    return {top(r) for r in keywords["install_requires"]}, extras


def dependency_complaints(setup_text, files):
    """Every declared package is imported somewhere, and every imported one is declared."""
    required, extras = declared(setup_text)
    runtime = required.union(*(names for extra, names in extras.items() if extra != "dev"))
    used = {name.split(".")[0]: path for path, text in files for _, name in imports(path, text)}
    unused = [f"setup.py: nothing imports {name}" for name in sorted(runtime - set(used))]
    own = {"r1jax", *sys.stdlib_module_names}
    return unused + [f"{used[name]}: {name} is not in setup.py" for name in sorted(set(used) - own - runtime)]


@pytest.mark.parametrize("complaints", [layer_complaints, owner_complaints, jax_complaints, reader_complaints,
                                        docstring_complaints])
def test_package(complaints):
    assert [c for path, text in sources("r1jax/") for c in complaints(path, text)] == []


@pytest.mark.parametrize("complaints", [axis_complaints, budget_complaints, danger_complaints, except_complaints])
def test_all_source(complaints):
    files = sources("r1jax/", "experiments/", "benchmarks/", "tests/", "setup.py")
    if complaints is axis_complaints:  # the tests of core/mesh.py name what they test
        files = [(path, text) for path, text in files if not path.startswith("tests/")]
    assert [c for path, text in files for c in complaints(path, text)] == []


def test_all_text():
    names = tracked(".py", ".md", ".toml", ".yaml", ".yml", ".ipynb", ".txt", "Makefile", ".ci/run", ".gitignore")
    assert [c for n in names for c in text_complaints(n, (ROOT / n).read_text(encoding="utf-8"))] == []


def test_dependencies():
    setup_text = (ROOT / "setup.py").read_text(encoding="utf-8")
    assert dependency_complaints(setup_text, sources("r1jax/", "experiments/")) == []


IMPORT_EVERYTHING = """
import importlib, os, pkgutil, sys
def load(prefix):
    package = importlib.import_module(prefix)
    for found in pkgutil.walk_packages(package.__path__, prefix + "."):
        if found.name not in ("r1jax.rewards.learned",) and not found.name.endswith("__main__"):
            importlib.import_module(found.name)
before = dict(os.environ)
load("r1jax.rewards")
for name in ("records", "errors", "config", "override"):
    importlib.import_module("r1jax.core." + name)
assert "jax" not in sys.modules, "reward code imports jax"
load("r1jax")
from jax._src import xla_bridge
assert not xla_bridge.backends_are_initialized(), "an import touched the devices"
assert dict(os.environ) == before, "an import changed the environment"
"""


def test_imports_do_no_work_and_rewards_load_no_jax():
    done = subprocess.run([sys.executable, "-c", IMPORT_EVERYTHING], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


BAD = [
    (layer_complaints, "r1jax/core/a.py", "from r1jax.models import config\n"),
    (layer_complaints, "r1jax/losses/a.py", "import r1jax.models.transformer\n"),
    (layer_complaints, "r1jax/losses/a.py", "from ..rewards.format import think\n"),
    (layer_complaints, "r1jax/ops/a.py", "from r1jax import text\n"),
    (layer_complaints, "r1jax/train/a.py", "def late():\n    from r1jax.store import Store\n"),
    (layer_complaints, "r1jax/stages/a.py", "import importlib\nimportlib.import_module('r1jax.cli')\n"),
    (layer_complaints, "r1jax/report/a.py", "from r1jax.serve import app\n"),
    (layer_complaints, "r1jax/core/a.py", "from r1jax.newfolder.x import y\n"),
    (layer_complaints, "r1jax/newfolder/a.py", "import os\n"),
    (owner_complaints, "r1jax/train/a.py", "import orbax.checkpoint as ocp\n"),
    (owner_complaints, "r1jax/stages/a.py", "def late():\n    import tensorstore\n"),
    (owner_complaints, "r1jax/text/a.py", "from grain import python\n"),
    (owner_complaints, "r1jax/data/world/a.py", "import sentencepiece\n"),
    (owner_complaints, "r1jax/eval/a.py", "from tokenizers import Tokenizer\n"),
    (jax_complaints, "r1jax/rewards/format.py", "import jax.numpy as jnp\n"),
    (jax_complaints, "r1jax/core/records.py", "from flax import struct\n"),
    (axis_complaints, "r1jax/train/a.py", "spec = P(None, 'fsdp')\n"),
    (axis_complaints, "r1jax/train/a.py", "spec = jax.sharding.PartitionSpec(('data', 'fsdp'))\n"),
    (axis_complaints, "r1jax/losses/a.py", "total = jax.lax.psum(x, axis_name='data')\n"),
    (reader_complaints, "r1jax/stages/a.py", "params = parent.load_params(spec.abstract(model, mesh))\n"),
    (budget_complaints, "r1jax/core/a.py", "x = 1\n" * 351),
    (budget_complaints, "tests/a.py", "def f():\n" + "    x = 1\n" * 60),
    (danger_complaints, "r1jax/rewards/a.py", "value = eval(text)\n"),
    (danger_complaints, "r1jax/rewards/a.py", "exec(text)\n"),
    (danger_complaints, "r1jax/store.py", "import pickle\npickle.loads(data)\n"),
    (danger_complaints, "r1jax/store.py", "from pickle import loads\n"),
    (except_complaints, "r1jax/a.py", "try:\n    f()\nexcept:\n    g()\n"),
    (except_complaints, "r1jax/a.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
    (except_complaints, "r1jax/a.py", "try:\n    f()\nexcept (OSError, Exception):\n    ...\n"),
    (except_complaints, "r1jax/a.py", "with contextlib.suppress(Exception):\n    f()\n"),
    (docstring_complaints, "r1jax/a.py", "'''Module.'''\ndef f():\n    pass\n"),
    (docstring_complaints, "r1jax/a.py", "'''Module.'''\nclass A:\n    '''Class.'''\n    def f(self):\n        pass\n"),
    (docstring_complaints, "r1jax/a.py", "x = 1\n"),
    (text_complaints, "README.md", "# TO" "DO: write this\n"),
    (text_complaints, "r1jax/a.py", "x = 1  # FIX" "ME\n"),
    (text_complaints, "README.md", "see /ho" "me/someone/notes.txt\n"),
    (text_complaints, "Makefile", "cd /wo" "rk/main\n"),
]


@pytest.mark.parametrize(("complaints", "path", "text"), BAD)
def test_each_rule_can_fail(complaints, path, text):
    assert complaints(path, text) != []


GOOD = [
    (layer_complaints, "r1jax/losses/a.py", "from r1jax.ops import masked\nfrom . import lm\n"),
    (layer_complaints, "r1jax/store.py", "from r1jax import __version__\n"),
    (layer_complaints, "r1jax/cli.py", "from r1jax.report import write_report\n"),
    (owner_complaints, "r1jax/store/a.py", "import orbax.checkpoint\nimport tensorstore\n"),
    (jax_complaints, "r1jax/rewards/learned.py", "import jax\n"),
    (axis_complaints, "r1jax/core/mesh.py", "spec = P('fsdp')\n"),
    (axis_complaints, "r1jax/train/a.py", "spec = logical('batch')\nx = field('data')\n"),
    (reader_complaints, "r1jax/stages/weights_of.py", "params = artifact.load_params(tree)\n"),
    (reader_complaints, "r1jax/stages/a.py", "params = load_weights(store, artifact, mesh)\n"),
    (budget_complaints, "r1jax/core/a.py", "x = 1\n" * 350),
    (budget_complaints, "r1jax/core/a.py", "def f():\n" + "    x = 1\n" * 59),
    (danger_complaints, "r1jax/a.py", "jax.eval_shape(f)\nmodel.eval()\njson.loads(x)\n"),
    (except_complaints, "r1jax/a.py", "try:\n    f()\nexcept OSError:\n    pass\n"),
    (docstring_complaints, "r1jax/a.py", ""),
    (docstring_complaints, "r1jax/a.py",
     "'''M.'''\nclass A:\n    '''C.'''\n    @property\n    def x(self):\n        pass\n"),
    (text_complaints, "README.md", "open ./store/work/x and https://example.org/home/page\n"),
]


@pytest.mark.parametrize(("complaints", "path", "text"), GOOD)
def test_each_rule_can_pass(complaints, path, text):
    assert complaints(path, text) == []


def test_dependency_rule_can_fail():
    setup_text = "setup(install_requires=['numpy>=2', 'orbax-checkpoint'], extras_require={'dev': ['ruff']})"
    files = [("r1jax/a.py", "import numpy\nimport scipy.stats\nimport os\n")]
    assert dependency_complaints(setup_text, files) == [
        "setup.py: nothing imports orbax", "r1jax/a.py: scipy is not in setup.py"]
