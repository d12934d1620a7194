"""The page: self-contained, safe whatever a model wrote, right in its numbers, and honest about what is missing."""

import re
from html.parser import HTMLParser

import pytest

from r1jax.core.errors import StoreError
from r1jax.report import write_report
from r1jax.report.figures import THEME
from r1jax.report.markup import highlighted, safe
from r1jax.store import Store

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags that are open, attributes that were seen, visible text, and tables as rows of cells."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.text, self.rows = [], set(), [], "", []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture(scope="session")
def written(store_root, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "report"
    path = write_report(store_root, out)
    assert path == out / "report.html"
    return path


@pytest.fixture(scope="session")
def page(written):
    return Page(written.read_text(encoding="utf-8"))


def test_the_page_loads_nothing_and_runs_nothing(page):
    assert page.open == []
    assert not page.tags & {"script", "link", "iframe", "object", "img", "base", "form"}
    for name, value in page.attributes:
        assert not name.startswith("on") and name not in ("src", "srcset")
        if name in ("href", "xlink:href"):
            assert value.startswith("#")
        assert "url(" not in (value or "") or "url(#" in value


def test_links_within_the_page_have_their_targets(page):
    ids = [value for name, value in page.attributes if name == "id"]
    links = [value[1:] for name, value in page.attributes if name == "href" and value[1:2].isupper()]
    assert {"Lineage", "Configuration", "Commands"} <= set(links) <= set(ids)


def test_summary_has_first_and_last_scores(page):
    row = next(row for row in page.rows if row[0] == "r1-zero@tiny-beta")
    # 100 steps from the file: pass@1 at step 0 and 100, no cons@k, length, no time
    assert row == ["r1-zero@tiny-beta", "unfinished", "countdown", "100", "21.4 % → 35.2 %", "–", "33 → 50", "–"]
    assert next(row for row in page.rows if row[0] == "base@tiny")[-1] == "20"  # 39 steps of 0.5 s, rounded
    assert "6 artifacts, 4 finished." in page.text
    assert "r1-zero@tiny, tiny-seed1, tiny-seed2: over 240 updates, 3 seeds" in page.text


def test_seeds_share_plots_and_variants_do_not(written, page):
    names = {path.name for path in written.parent.glob("*.png")}
    assert "r1-zero_tiny_accuracy_countdown.png" in names and "r1-zero_tiny-beta_accuracy_countdown.png" in names
    assert not any("seed" in name for name in names)
    assert "Thick: median of 3 runs; band: their range" in page.text
    assert "Differs from r1-zero@tiny, tiny-seed1, tiny-seed2: rl.loss.beta 0.001 → 0.1." in page.text


def test_plots_beside_the_page_are_png_and_nothing_is_left_over(written):
    files = list(written.parent.iterdir())
    assert {path.suffix for path in files} == {".png", ".html"}
    assert all(path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" for path in files if path.suffix == ".png")


def test_plots_follow_the_theme(written):
    text = written.read_text(encoding="utf-8")
    drawn = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "var(--blue)" in drawn and not any(colour in drawn for colour in THEME)
    assert "prefers-color-scheme: dark" in text and 'name="viewport"' in text


def test_what_was_not_recorded_is_said(page):
    beta = page.text[page.text.index("r1-zero@tiny-beta", page.text.index("Differs from") - 60) :]
    said = re.search(r"Not recorded, so not shown: (.*?)\.", beta)[1]
    assert "language mixing" in said and "speed" in said and "cons@16 (eval/countdown/cons@16)" in said
    assert "held-out accuracy" not in said.lower()


def test_the_papers_curves_are_labelled_as_the_papers(page):
    assert page.text.count("Not ours: DeepSeek-R1-Zero (671B) as published in arXiv 2501.12948v1") == 2


def test_gate_config_and_commands(page):
    assert ["arithmetic", "0.991"] in page.rows and ["rl.loss.beta", "0.001"] in page.rows
    assert "r1jax run experiments/r1_zero.py:tiny --version tiny-seed1 --store demo-store --set seed=1" in page.text
    order = [page.text.index(f"experiments/{file}.py:tiny --store") for file in ("base", "r1_zero", "cold_start")]
    assert order == sorted(order)


HOSTILE = (
    '</pre></div><script>alert("x")</script><img src=x onerror=alert(1)>&lt;b&gt; $\\frac{1}{0}$ '
    "\x00\x1b[31m \u202egnorw\u202c \ud800 {0} {x} %s wait"
)


def test_hostile_text_stays_text(tmp_path, builders):
    root = tmp_path / "store"
    text = "<think> 1 + 1 = 3 . no , wait . 1 + 1 = 2 " + HOSTILE + "</think>"
    bad = builders.record(text=text, accuracy=1.0, question=HOSTILE, answer=HOSTILE, problem=HOSTILE)
    metrics = [{"step": 0, "eval/{0}$x$/pass@1": 0.5, "rollout/reward/<i>": 1.0, "rollout/reward": float("nan")}]
    config = {"rl": {"</td><script>": HOSTILE}}
    samples = {"rollouts": [(0, [bad])], "held_out": [(0, [bad])]}
    builders.artifact(root, "r1-zero@tiny", config=config, metrics=metrics, **samples)
    page = Page(write_report(root, tmp_path / "out").read_text(encoding="utf-8"))
    assert page.open == [] and not page.tags & {"script", "img", "b", "i"}
    assert '<script>alert("x")</script><img src=x onerror=alert(1)>&lt;b&gt;' in page.text
    assert "\u202e" not in page.text and "\x00" not in page.text and "␀␛[31m" in page.text
    assert "The aha moment" in page.text and "1 + 1 = 3" in page.text


def test_safe_escapes_quotes_and_keeps_other_scripts():
    assert safe("a<b & \"c\" 'd'") == "a&lt;b &amp; &quot;c&quot; &#x27;d&#x27;"
    assert safe("对了\n\tµ") == "对了\n\tµ"
    assert safe("\x07\x7f\ud83d") == "␇\ufffd\ufffd"


def test_highlighted_marks_spans_and_escapes_around_them():
    spans = [(2, 6, "reflection"), (4, 8, "reflection"), (9, 12, "failed")]
    text = "< wait > 1=2"
    assert highlighted(text, spans) == '&lt; <mark>wait</mark> &gt; <span class="failed">1=2</span>'


def test_the_same_store_gives_the_same_files(tmp_path, builders):
    root = tmp_path / "store"
    metrics = [{"step": step, "train/loss": 2.0 - step} for step in range(2)]
    builders.artifact(root, "base@tiny", config=builders.experiment("base", rl=False), metrics=metrics)
    first, second = (write_report(root, tmp_path / name).parent for name in ("one", "two"))
    files = sorted(path.name for path in first.iterdir())
    assert files == ["base_tiny_loss.png", "lineage.png", "report.html"]
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)


def test_a_store_without_artifacts_says_what_to_run(tmp_path):
    Store(tmp_path / "store")
    with pytest.raises(StoreError, match=r"has no artifacts yet.*r1jax run experiments/r1_zero\.py:tiny"):
        write_report(tmp_path / "store", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_store_is_refused_and_left_alone(tmp_path):
    with pytest.raises(StoreError):
        write_report(tmp_path / "nowhere", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_a_file_is_refused(tmp_path, builders):
    builders.artifact(tmp_path / "store", "base@tiny", config={})
    (tmp_path / "out").write_text("mine")
    with pytest.raises(StoreError, match="name another folder"):
        write_report(tmp_path / "store", tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"
