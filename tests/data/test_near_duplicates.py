"""MinHash and bands against exact similarities of texts whose n-grams are counted by hand."""

import itertools
import os
import random
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.errors import ConfigError
from r1jax.data.near_duplicates import HASHES, NearDuplicates, jaccard, words

WORDS = ["".join(letters) for letters in itertools.product("bcdfghklmnpr", repeat=3)]  # 1728
EN = ("First I add the two numbers and get twenty one. Then I take nine away again to see whether twelve is left. "
      "It is, so the sum that I found must be right and nothing remains to be done.")
ZH = "首先我把两个数字加起来得到二十一。然后我再减去九,看看是不是剩下十二。确实如此,所以答案是正确的。"


def numbered(*numbers):
    return " ".join(WORDS[i] for i in numbers)


def estimate(one, other):
    texts = NearDuplicates()
    return float((texts._read(words(one))[0] == texts._read(words(other))[0]).mean())


@pytest.mark.parametrize(
    ("one", "other", "ngram", "expected"),
    [
        ("a b c d e", "a b c d e", 5, 1), ("a b c d e", "A, b; C d e!", 5, 1), ("a b c d e f", "a b c d e g", 5, 1 / 3),
        ("a b c d", "a b c e", 2, 2 / 4), ("a b c", "c b a", 1, 1), ("a b a b a b", "a b a b", 2, 1),
        ("a b c d e", "f g h i j", 5, 0), ("我们可以得到", "我们可以得出", 2, 4 / 6), ("a b", "a b", 5, 1),
        ("a b", "a c", 5, 0), ("a b", "a b c d e", 5, 0), ("", "", 5, 1), ("", " ", 5, 1), ("?", "!", 5, 0),
        ("a+b", "a-b", 2, 0),
        (numbered(*range(24)), numbered(*range(23), 99), 5, 19 / 21),  # 20 each, the last one differs
        (numbered(*range(24)), numbered(*range(12), 99, *range(13, 24)), 5, 15 / 25),  # five hold the word
    ],
)
def test_exact_similarity_by_hand(one, other, ngram, expected):
    assert jaccard(one, other, ngram) == pytest.approx(expected) == jaccard(other, one, ngram)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", ["hello", "world"]), ("2 + 3*x = 5", ["2", "+", "3", "*", "x", "=", "5"]),
        ("我有 3.5 个", ["我", "有", "3.5", "个"]), ("ＡＢＣ １２", ["abc", "12"]), ("Straße", ["strasse"]),
        ("...", []),
        ("C++", ["c", "+", "+"]), ("50%", ["50", "%"]), ("ありがとう", ["あ", "り", "が", "と", "う"]), ("\ud800", []),
    ],
)
def test_what_a_word_is(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("first", "second", "new"),
    [
        (EN, EN, False), (EN, EN.upper(), False), (EN, EN.replace(" ", "\n\n"), False),
        (EN, EN.replace(".", " ;"), False),
        (EN, EN + " Done.", False),  # 35 n-grams of 36
        (EN, EN.replace("nine", "ten").replace("right", "wrong"), True),  # ten of 35 are each one's own: 25/45
        (EN, ZH, True), (EN, EN[len(EN) // 2 :], True), (EN, " ".join(reversed(EN.split())), True),
        (ZH, ZH, False), (ZH, ZH.replace("。", ""), False), (ZH, ZH + "好", False), (ZH, ZH[: len(ZH) // 2], True),
        # shorter than an n-gram: the same words
        ("42", "42", False), ("42", " 42.", False), ("42", "43", True), ("2 + 3", "2 * 3", True),
        ("Yes", "yes!", False),
        ("好的", "好的。", False), ("好的", "好", True), ("", "", False), ("", "\n", False), ("?", "!", True),
        ("?", " ?", False),
        ("a b", "b a", True), ("a b c d e", "a b c d", True), ("a b c d e", "a b c d e", False),
        ("a b c d e", "a b c d f", True), ("\0", "\1", True), ("-5", "5", True), ("1.5", "1 5", True),
    ],
)
def test_what_is_new_by_hand(first, second, new):
    texts = NearDuplicates()
    assert texts.find(first) is None and texts.add(first) and texts.find(first) == 0 and not texts.add(first)
    assert texts.find(second) == (None if new else 0)
    assert texts.add(second) == new and len(texts) == 1 + new


def test_a_thousand_words_more_or_less_alike():
    # A word replaced every k words makes 5 of k n-grams differ: similarity (k - 5) / (k + 5).
    rng = random.Random(0)
    for k, new in ((400, False), (95, False), (20, True), (10, True), (5, True)):  # 0.975, 0.9; 0.6, 0.33, 0
        for _ in range(5):
            said = rng.choices(WORDS, k=1000)
            other = ["z" + WORDS[i] if i % k == k - 1 else word for i, word in enumerate(said)]
            exact = jaccard(" ".join(said), " ".join(other))
            assert exact == pytest.approx((k - 5) / (k + 5), abs=0.015)
            texts = NearDuplicates()
            assert texts.add(" ".join(said)) and texts.add(" ".join(other)) == new


def test_the_estimate_is_unbiased_with_the_stated_deviation():
    rng = random.Random(3)
    errors = []
    for _ in range(200):
        said = rng.choices(WORDS, k=rng.choice((20, 60, 200)))
        other = [rng.choice(WORDS) if rng.random() < 0.04 else word for word in said]
        one, two = " ".join(said), " ".join(other)
        errors.append(estimate(one, two) - jaccard(one, two))
    mean, deviation = sum(errors) / 200, (sum(e * e for e in errors) / 200) ** 0.5
    assert abs(mean) < 0.01 and 0.01 < deviation < 0.05  # 0.5 / sqrt(128) = 0.044 at most, 0.0031 of a mean of 200


@pytest.mark.parametrize(("threshold", "rows"), [(0.1, 1), (0.5, 3), (0.8, 6), (0.9, 10), (1.0, HASHES)])
def test_bands_find_what_is_as_alike_as_the_threshold(threshold, rows):
    texts = NearDuplicates(threshold)
    assert texts.rows == rows and texts.bands == HASHES // rows
    assert 1 - (1 - threshold**rows) ** texts.bands >= 0.99


def test_the_likest_of_several_is_named_by_its_number_among_the_new():
    texts = NearDuplicates(0.5)
    assert [texts.add(text) for text in ("short", numbered(*range(40)), numbered(*range(40)))] == [True, True, False]
    assert texts.add(numbered(*range(20), *range(100, 130)))  # 16 of 36 + 46 - 16
    assert texts.find(numbered(*range(20), *range(100, 129))) == 2
    assert texts.find(numbered(*range(39))) == 1 and texts.find("Short.") == 0 and texts.find("long") is None


def test_more_texts_than_there_was_room_for_at_first():
    rng = random.Random(4)
    said = [" ".join(rng.choices(WORDS, k=30)) for _ in range(300)]
    texts = NearDuplicates()
    assert all(texts.add(text) for text in said) and len(texts) == 300
    assert [texts.find(text) for text in said] == list(range(300))
    assert not any(texts.add(text) for text in said)


def test_the_same_in_every_process():
    program = ("from r1jax.data.near_duplicates import NearDuplicates, words\n"
               "texts = NearDuplicates()\n"
               "signature, keys = texts._read(words('one two three four five six 七 八 九'))\n"
               "print(signature.tolist(), keys)")
    said = {subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
                           capture_output=True, text=True).stdout for seed in ("1", "2")}
    assert len(said) == 1
    signature, keys = NearDuplicates()._read(words("one two three four five six 七 八 九"))
    assert said == {f"{signature.tolist()} {keys}\n"}


@pytest.mark.parametrize(("arguments", "named"), [((0.05,), "similarity of 0.05"), ((1.1,), "similarity of 1.1"),
                                                  ((float("nan"),), "similarity of nan"), ((0.8, 0), "n-grams of 0")])
def test_impossible_settings_are_refused(arguments, named):
    with pytest.raises(ConfigError, match=named):
        NearDuplicates(*arguments)


@settings(deadline=None, max_examples=100)
@given(st.text(st.one_of(st.characters(), st.sampled_from("ab 我.1+\ud800"))), st.text(st.sampled_from("ab 我.1+")))
def test_two_texts_are_alike_in_either_order_and_whatever_else_is_there(one, other):
    def new(*texts):
        seen = NearDuplicates()
        return [seen.add(text) for text in texts]

    assert new(one, other)[0] and new(one, one) == [True, False]
    assert new(one, other) == new(other, one)
    if new(one, other)[1]:
        assert new(EN, ZH, "zzz", one, other)[3:] == [True, True] == new(other, EN, one)[::2]
    if jaccard(one, other) == 1:
        assert new(one, other) == [True, False]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([EN, ZH, "42", "42.", "", EN.lower(), "好的"]), max_size=12), st.randoms())
def test_of_equal_texts_one_stays_in_any_order(texts, rng):
    kept = NearDuplicates()
    count = sum(kept.add(text) for text in texts)
    rng.shuffle(texts)
    again = NearDuplicates()
    assert sum(again.add(text) for text in texts) == count == len(again) == len({" ".join(words(t)) for t in texts})


@pytest.mark.parametrize("unit", ["no ", "我", "a\u0301", "\u0301", "\n", "1,", "🎉", "\ufdfa", "\u0f71\u0f72",
                                  "a b c d e "])
def test_time_grows_with_the_text_alone(unit):
    texts = NearDuplicates()
    start = time.process_time()
    texts.add(unit * (100_000 // len(unit)) + "end")
    assert time.process_time() - start < 4
