"""Words by script, mixing, consistency and reflection words, counted by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.errors import DataError
from r1jax.rewards.language import REFLECTION_WORDS, consistency, mixed, reflection_count, scripts


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("", {}),
        ("3 * 5 = 15 , 7 × 2 ÷ 1 ≠ 9", {}),
        ("try again", {"Latin": 2}),
        ("don't", {"Latin": 1}),
        ("再试 一次", {"Han": 4}),
        ("试try试", {"Han": 2, "Latin": 1}),
        ("option A or x , y", {"Latin": 2}),
        ("<think> wait </think> <answer> 3 </answer>", {"Latin": 1}),
        ("答案 \\boxed{3} \\frac{1}{2}", {"Han": 2}),
        ("naïve café", {"Latin": 2}),
        ("cafe\u0301 s", {"Latin": 1}),
        ("привет мир ok", {"Other": 2, "Latin": 1}),
        ("αβγ мир", {"Other": 2}),
        ("，。！", {}),
        ("２３", {}),
    ],
)
def test_words_by_script(text, counts):
    assert scripts(text) == counts


@pytest.mark.parametrize(
    ("text", "is_mixed"),
    [
        ("wait , 不对", True),
        ("等等 try", True),
        ("the option is A", False),
        ("选 A , 设 x = 3", False),
        ("<think> 不对 , 再试 </think> <answer> 3 * 5 </answer>", False),
        ("<think> wrong </think>", False),
        ("", False),
        ("3 + 5", False),
        ("мир 不对", False),
    ],
)
def test_mixing_is_han_beside_latin_words(text, is_mixed):
    assert mixed(text) is is_mixed


def test_consistency_is_the_share_of_words():
    assert consistency("try 不对 again", "en") == 0.5  # two Latin words, two Han characters
    assert consistency("try 不对 again", "zh") == 0.5
    assert consistency("wait 检查 检查", "zh") == pytest.approx(4 / 5)
    assert consistency("wait", "zh") == 0.0
    assert consistency("选 A", "zh") == 1.0
    assert consistency("ok мир", "en") == 0.5
    assert consistency("3 * 5 = 15", "en") is None
    assert consistency("<think> </think>", "zh") is None


def test_an_unknown_language_is_an_error():
    with pytest.raises(DataError, match="'fr'.*en, zh"):
        consistency("bonjour", "fr")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Wait , wait . WAIT !", 3),
        ("waiting rechecks checked butter errors", 0),
        ("wrong , check : 3 * 5 = 15 but retry", 4),
        ("check_sum check2", 0),
        ("不对 , 等等 , 再试 检查", 4),
        ("等等wait不对but", 4),
        ("right", 0),
        ("", 0),
    ],
)
def test_reflection_words_are_counted_whole(text, count):
    assert reflection_count(text) == count


def test_the_papers_words_and_their_counterparts():
    assert reflection_count(" ".join(REFLECTION_WORDS)) == len(REFLECTION_WORDS) == 14


@settings(deadline=None)  # the machine may be busy
@given(st.text(max_size=400) | st.text(alphabet="aA'’ 不对\u0301<think>/\\я", max_size=400))
def test_no_text_raises(text):
    counts = scripts(text)
    assert set(counts) <= {"Han", "Latin", "Other"} and all(n > 0 for n in counts.values())
    assert mixed(text) == ({"Han", "Latin"} <= set(counts))
    shares = [consistency(text, language) for language in ("en", "zh")]
    assert shares == [None, None] if not counts else 0 <= sum(shares) <= 1 + 1e-12
    assert reflection_count(text) >= 0
