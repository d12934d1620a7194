"""Words by script, mixing, consistency and reflection words, counted by hand."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.core.errors import DataError
from r1jax.core.records import Completion, Problem
from r1jax.rewards.language import (
    LATIN,
    REFLECTION_WORDS,
    SCRIPT_OF_LANGUAGE,
    consistency,
    detect,
    language_consistency,
    mixed,
    reflection_count,
    scripts,
    target_of,
)

MATH = Path(__file__).parents[2] / "../shared/data/math_500.jsonl"


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
    assert consistency("try 不对 again", "en") == 0.5  # two English words; jieba cuts 不 and 对
    assert consistency("try 不对 again", "zh") == 0.5
    assert consistency("wait 检查 检查", "zh") == pytest.approx(2 / 3)
    assert consistency("wait", "zh") == 0.0
    assert consistency("选 A", "zh") == 1.0
    assert consistency("ok мир", "en") == consistency("ok мир", "ru") == 0.5
    assert consistency("3 * 5 = 15", "en") is None
    assert consistency("<think> </think>", "zh") is None


def test_an_unknown_language_is_an_error():
    with pytest.raises(DataError, match="'xx'.*en, fr.*zh"):
        consistency("bonjour", "xx")


# each of them nine to ten words a sentence
LATIN_TEXTS = {
    "en": "So the sum of these numbers must be fifteen. Wait, we should check that every number is used once. "
          "If it does not hold, then there are no such pairs.",
    "fr": "Bon, commençons par relire cet énoncé encore une fois. Donc la somme des trois nombres doit être quinze. "
          "Si cela ne marche pas, alors il faut recommencer.",
    "de": "Also lesen wir die Aufgabe noch einmal ganz genau. Daher muss die Summe der drei Zahlen fünfzehn sein. "
          "Wenn das nicht stimmt, müssen wir von vorn anfangen.",
    "es": "Bueno, primero leamos otra vez el enunciado con calma. Por lo tanto la suma de los números debe ser quince. "
          "Si esto no funciona, entonces hay que empezar de nuevo.",
    "it": "Allora, per prima cosa leggiamo di nuovo il testo. Quindi la somma dei tre numeri deve essere quindici. "
          "Se questo non funziona, allora dobbiamo ricominciare da capo.",
    "pt": "Bem, primeiro vamos ler o enunciado mais uma vez. Portanto a soma dos três números deve ser quinze. "
          "Se isto não funcionar, então temos que começar outra vez.",
    "nl": "Goed, eerst lezen we de opgave nog een keer. Dus de som van de drie getallen moet vijftien zijn. "
          "Als dit niet klopt, dan moeten we opnieuw beginnen.",
}


@pytest.mark.parametrize("language", LATIN)
@pytest.mark.parametrize("target", LATIN)
def test_languages_of_one_script_are_told_apart(language, target):
    assert consistency(LATIN_TEXTS[language], target) == float(language == target)
    assert detect(LATIN_TEXTS[language]) == language


def test_half_in_another_language_of_the_script_is_half():
    english = "The number of pairs that we can choose from these is therefore at most twenty."  # 14 words, the last 1
    french = "Donc la somme des trois nombres est égale à quinze et la réponse est juste."  # à is one letter
    assert consistency(f"{english} {french}", "en") == pytest.approx(15 / 29)
    assert consistency(f"{english} {french}", "fr") == pytest.approx(14 / 29)


def test_few_words_have_no_language_but_their_script():
    assert consistency("Donc x = 3", "en") == 1.0
    assert consistency("Donc la somme est", "en") == 1.0
    assert consistency("Donc la somme des trois nombres est juste", "en") == 0.0


OTHERS = {
    "zh": "等等，我们再检查一下这个方程的解。分母不能为零，所以答案是五。",
    "ja": "もう一度この方程式を確認しましょう。分母はゼロではないので、答えは五です。",
    "ko": "이 방정식을 다시 확인해 봅시다. 분모는 영이 아니므로 답은 오입니다.",
    "ru": "Проверим это уравнение ещё раз. Знаменатель не равен нулю, значит ответ пять.",
    "el": "Ας ελέγξουμε ξανά αυτή την εξίσωση. Η απάντηση είναι πέντε.",
    "ar": "لنتحقق من هذه المعادلة مرة أخرى. الجواب هو خمسة.",
    "he": "נבדוק את המשוואה הזאת שוב. התשובה היא חמש.",
    "hi": "आइए इस समीकरण को फिर से जाँचें। उत्तर पाँच है।",
    "th": "ลองตรวจสอบสมการนี้อีกครั้ง คำตอบคือห้า",
}


@pytest.mark.parametrize("language", OTHERS)
def test_languages_of_their_own_script(language):
    for target in SCRIPT_OF_LANGUAGE:
        assert consistency(OTHERS[language], target) == float(target == language)
    assert detect(OTHERS[language]) == language


@pytest.mark.parametrize(
    ("thought", "share"),
    [
        ("好 the answer is five", 1 / 5),
        ("好 $the answer is five$", 1 / 5),
        ("好 $\\text{the answer is five}$", 1 / 5),
        ("好 `the` `answer` `is` `five`", 1 / 5),
        ("好 ```the answer is five```", 1 / 5),
        ("好 ｔｈｅ ａｎｓｗｅｒ ｉｓ ｆｉｖｅ", 1 / 5),
        ("好 𝐭𝐡𝐞 𝐚𝐧𝐬𝐰𝐞𝐫 𝐢𝐬 𝐟𝐢𝐯𝐞", 1 / 5),
        ("好 t\u200bh\u200be answer is five", 1 / 5),
        ("好 thе аnswer iѕ fivе", 1 / 5),  # Cyrillic letters among them
        ("好 the.answer.is.five", 1 / 5),
        ("好 the'answer'is'five", 1 / 5),
        ("好 the-answer-is-five", 1 / 5),
        ("好 The Answer Is Five", 1 / 5),
        ("好 Wait 好 So 好", 3 / 5),
        ("好 theAnswerIsProbablyFive", 1 / 6),
        ("好 the_answer_is_probably_five", 1 / 6),
        ("好 t h e a n s w e r i s f i v e", 1 / 5),  # thea nswe risf, and ive of the last four letters
        ("好 これは 答え です", 0.0),
        ("好 # ответ пять", 1 / 3),
        ("好 $ответ$ `пять`", 1 / 3),
        ("$x$ 好", 1.0),
        ("由 Cauchy 不等式，设 $\\gcd(m,n)=1$", 1.0),
    ],
)
def test_hiding_english_in_a_chinese_thought(thought, share):
    assert consistency(thought, "zh") == pytest.approx(share)


HIDDEN = [f"{a}{b}" for a in "riv mo bre sto gra lam tun".split() for b in "er an ad ne ss op".split()]


@pytest.mark.parametrize("way", ["${}$", "`{}`", "{}(1)", "x_{}", "{}2", "\\{}", "{}="])
def test_what_is_hidden_word_by_word_is_bounded(way):
    thought = " + ".join(way.format(word) for word in HIDDEN) if way != "{}=" else "$" + "=".join(HIDDEN) + "$"
    assert consistency("好", "zh") == 1.0
    # 42 different words left out, one that counts: 16 are spare, 26 count
    assert consistency(f"好 {thought}", "zh") == pytest.approx(1 / 27)
    # beside twenty words that count, twenty are spare
    assert consistency(f"{'好 ' * 20}{thought}", "zh") == pytest.approx(20 / 42)
    # a program of few different words is no prose, however long
    assert consistency("好 " + "$value=total$ `count` " * 50, "zh") == 1.0


def test_the_questions_names_may_be_used():
    question = "小明 mailed 25 letters，Alice 寄了 30 封，用 python 计算一共多少。"
    assert consistency("先用 python 算 letters", "zh") == 3 / 5
    assert consistency("先用 python 算 letters", "zh", question) == 1.0
    assert consistency("先用 python 算 numbers", "zh", question) == 0.75
    assert consistency("so 小明 wins", "en") == pytest.approx(2 / 3)
    assert consistency("so 小明 wins", "en", "If 小明 has five apples and Ann four, who has more?") == 1.0


def test_a_question_in_another_language_is_no_list_of_names():
    question = "How many letters did Alice mail in all, if she mailed thirty?"
    assert consistency("她 mailed 三十", "zh", question) == pytest.approx(2 / 3)


def test_names_of_one_script_have_no_language():
    question = "Dan older than Ann . Cat older than Dan . Ann older than Finn . who is oldest ? A Finn B Dan"
    assert consistency("Cat > Dan > Ann > Finn . Cat .", "en", question) is None
    assert consistency("so Cat > Dan > Ann > Finn . Cat .", "en", question) == 1.0


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("Find the value of $x$.", "en"),
        ("$x^2 = 4$", "en"),
        ("", "en"),
        ("求 $x$ 的值。", "zh"),
        ("用 Python 计算 total 的值", "zh"),
        ("Janet’s ducks lay 16 eggs per day. She eats three for breakfast every morning.", "en"),
        ("Trouver tous les entiers positifs qui divisent la somme de leurs chiffres.", "fr"),
        ("方程式を解きなさい。", "ja"),
    ],
)
def test_the_questions_language(question, language):
    assert detect(question) == language
    assert target_of(Problem("a", "math", question, "", language="")) == language
    assert target_of(Problem("a", "math", question, "", language="ko")) == "ko"


@pytest.mark.parametrize(
    ("suffix", "text", "language", "reward"),
    [
        ("<think>", "等等，再算</think> <answer> the answer </answer>", "zh", 1.0),  # only the thought is read
        ("<think>", "wait , 再 算</think> 答", "zh", pytest.approx(2 / 3)),
        ("<think>", "so it is cut off by the budget", "en", 1.0),
        ("", "no thought at all", "en", 0.0),
        ("<think>", "</think> no thought", "en", 0.0),
        ("<think>", " \u3164 ... 👍 </think> no thought", "en", 0.0),
        ("<think>", " 3 * 5 = 15 </think> nothing in another language", "zh", 1.0),
        ("<think>", "等等</think>", "", 0.0),  # the question is English
        ("", "<think>等等</think>", "zh", 1.0),
    ],
)
def test_the_reward(suffix, text, language, reward):
    problem = Problem("a", "math", "What is the sum of all the numbers?", "15", language=language)
    assert language_consistency(problem, Completion(text, suffix, (), 0, False)) == reward


@pytest.mark.parametrize(("text", "reward"), [
    ("it is a small town", 1.0), ("it is 一 个", pytest.approx(2 / 4)), ("<answer> town </answer>", 0.0), ("...", 0.0),
    ("<think> 一 个 </think> it is", 0.0),
])
def test_a_general_question_may_be_answered_without_a_thought(text, reward):
    problem = Problem("a", "general", "Where do you live?", "", language="en")
    assert language_consistency(problem, Completion(text, "", (), 0, False)) == reward


ASKED = Problem("a", "math", "What is the sum of the first ten numbers? Find it.", "55")


def reward_of(thought):
    return language_consistency(ASKED, Completion(f"<think>{thought}</think> <answer>5</answer>", "", (), 0, False))


@pytest.mark.parametrize("start", ["www.", "http://", "https://", "https://x.y/", "https://x.y/a-b?q="])
def test_an_address_ends_at_the_first_character_that_is_not_ascii(start):
    assert reward_of(f"{start}我们需要把一到十的数字加起来，然后用公式检查结果是否正确。\n" * 20) < 0.2
    assert consistency(f"{start}我们需要", "zh") == 1.0


def test_prose_in_an_address_is_prose():
    assert reward_of("See https://wir-muessen-die-zahlen-von-eins-bis-zehn-addieren-und-dann-pruefen") < 0.2
    assert consistency("好 https://the-answer-is-five", "zh") == pytest.approx(1 / 5)
    assert consistency("好 https://en.example.org/page2", "zh") == 1.0


FOREIGN_TEXTS = {
    "de": "Wir müssen die Zahlen von eins bis zehn addieren und dann das Ergebnis mit der Formel überprüfen",
    "fr": "Donc la somme des trois nombres doit être quinze et la réponse est bien juste",
    "id": "Kita perlu menjumlahkan angka dari satu sampai sepuluh lalu memeriksa hasilnya dengan rumus",
    "tr": "Birden ona kadar olan sayıları toplamamız ve sonucu formülle kontrol etmemiz gerekiyor",
    "vi": "Chúng ta cần cộng các số từ một đến mười rồi kiểm tra kết quả bằng công thức",
    "nonsense": "blorp znarf qwix glemp frob narp zib tolk blorp znarf qwix glemp",
}


@pytest.mark.parametrize("language", FOREIGN_TEXTS)
@pytest.mark.parametrize("strewn", ["", "with the", "the with the with"])
def test_small_words_of_english_make_no_other_language_english(language, strewn):
    assert reward_of(f"{FOREIGN_TEXTS[language]} {strewn}. " * 5) < 0.25  # the words strewn in are English


@pytest.mark.skipif(not MATH.is_file(), reason="the shared MATH-500 set is not here")
def test_solutions_of_math_are_english():
    solutions = [json.loads(line)["solution"] for line in MATH.open(encoding="utf-8")][:100]
    shares = [share for text in solutions if (share := consistency(text, "en")) is not None]
    assert len(shares) > 95 and sum(shares) / len(shares) > 0.98
    for other in LATIN[1:]:
        assert sum(consistency(text, other) or 0.0 for text in solutions) / len(solutions) < 0.2


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
@given(st.text(max_size=400) | st.text(st.characters(categories=("Cs", "Ll")), max_size=40)
       | st.text(alphabet="aA'’ 不对\u0301<think>/\\я", max_size=400))
def test_no_text_raises(text):
    counts = scripts(text)
    assert set(counts) <= {"Han", "Latin", "Other"} and all(n > 0 for n in counts.values())
    assert mixed(text) == ({"Han", "Latin"} <= set(counts))
    for language in SCRIPT_OF_LANGUAGE:
        share = consistency(text, language, question=text[::-1])
        assert share is None or 0 <= share <= 1
    assert detect(text) in SCRIPT_OF_LANGUAGE
    assert reflection_count(text) >= 0
