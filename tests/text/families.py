"""Small tokenizers of the same construction as each family's tokenizer.json, and a mixed text to hold them against.

Normalizer, pre-tokenizer, post-processor, decoder and the added tokens with their published ids are those of the
released files; the merges are a few hundred (golden/merges.json, made by golden/make.py), and the rest of the
vocabulary are entries that no text can reach, so that the added tokens stand at their ids. Needs the standard library
alone: golden/make.py runs where r1jax is not installed.
"""

import json
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"
QWEN_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
              r"|\s+(?!\S)|\s+")
LLAMA_SPLIT = QWEN_SPLIT.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
DEEPSEEK_SPLITS = (
    r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
    r"|\s*[\r\n]+|\s+(?!\S)|\s+")
BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
REAL = {"qwen2.5": "Qwen2.5", "qwen3": "Qwen3", "llama3": "Llama-3.1", "deepseek-r1": "DeepSeek-R1",
        "distill-qwen": "DeepSeek-R1-Distill-Qwen", "distill-llama": "DeepSeek-R1-Distill-Llama"}
MERGES = {"qwen2.5": "qwen", "qwen3": "qwen", "distill-qwen": "qwen", "llama3": "llama", "distill-llama": "llama",
          "deepseek-r1": "deepseek"}
BASE = {"qwen": 151643, "llama": 128000, "deepseek": 128000}  # entries of the vocabulary, without added tokens


def _numbered(first, contents, special=True):
    return [(first + n, content, special) for n, content in enumerate(contents)]


def _reserved(first, last):
    return [f"<|reserved_special_token_{n}|>" for n in range(first, last + 1)]


_VISION = ["object_ref_start", "object_ref_end", "box_start", "box_end", "quad_start", "quad_end", "vision_start",
           "vision_end", "vision_pad", "image_pad", "video_pad"]
_FIM = ["fim_prefix", "fim_middle", "fim_suffix", "fim_pad", "repo_name", "file_sep"]
_QWEN = [*_numbered(151643, ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|{name}|>" for name in _VISION)]),
         *_numbered(151657, ["<tool_call>", "</tool_call>", *(f"<|{name}|>" for name in _FIM)], special=False)]
_LLAMA = _numbered(128000, [
    "<|begin_of_text|>", "<|end_of_text|>", *_reserved(0, 1), "<|finetune_right_pad_id|>", *_reserved(2, 2),
    "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>", *_reserved(3, 247)])
_TOOLS = ["calls▁begin", "calls▁end", "call▁begin", "call▁end", "outputs▁begin", "outputs▁end", "output▁begin",
          "output▁end", "sep"]


def _replaced(tokens, new):
    """Added tokens of which those with the ids of `new` have another content, and are marked as it says."""
    return [(i, *new.get(i, (content, special))) for i, content, special in tokens]


ADDED = {
    "qwen2.5": _QWEN,
    "qwen3": _QWEN + _numbered(151665, ["<tool_response>", "</tool_response>", "<think>", "</think>"], special=False),
    "llama3": _LLAMA,
    "deepseek-r1": [
        *_numbered(0, [BOS, EOS, "<｜▁pad▁｜>"]),
        *_numbered(128000, [f"<｜place▁holder▁no▁{n}｜>" for n in range(798)]),
        *_numbered(128798, ["<think>", "</think>", "<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>", "<｜User｜>",
                            "<｜Assistant｜>"], special=False),
        (128805, "<|EOT|>", True), *_numbered(128806, [f"<｜tool▁{name}｜>" for name in _TOOLS], special=False)],
    "distill-qwen": _replaced(_QWEN, {
        151643: (EOS, True), 151644: ("<｜User｜>", False), 151645: ("<｜Assistant｜>", False), 151646: (BOS, True),
        151647: ("<|EOT|>", False), 151648: ("<think>", False), 151649: ("</think>", False)}),
    "distill-llama": _replaced(_LLAMA, {
        128000: (BOS, True), 128001: (EOS, True), 128011: ("<｜User｜>", False), 128012: ("<｜Assistant｜>", False),
        128013: ("<think>", False), 128014: ("</think>", False), 128015: ("<｜▁pad▁｜>", True)}),
}
assert len(ADDED["deepseek-r1"]) == 818 and len(ADDED["llama3"]) == 256  # as published


def alphabet():
    """The printable character that stands for each byte, by GPT-2's rule: itself, or one from 256 on."""
    plain = {*range(33, 127), *range(161, 173), *range(174, 256)}
    other = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(other)) for byte in range(256)]


def _split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _bytes(prefix=False, trim=False, regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": regex}


def pre_tokenizer(kind):
    """Of "qwen", "llama" or "deepseek", as in tokenizer.json."""
    patterns = {"qwen": (QWEN_SPLIT,), "llama": (LLAMA_SPLIT,), "deepseek": DEEPSEEK_SPLITS}[kind]
    return {"type": "Sequence", "pretokenizers": [*map(_split, patterns), _bytes(trim=kind != "qwen")]}


def normalizer(kind):
    """See pre_tokenizer."""
    return {"qwen": {"type": "NFC"}, "llama": None, "deepseek": {"type": "Sequence", "normalizers": []}}[kind]


def _post_processor(kind, bos):
    if kind == "qwen":
        return _bytes()
    if kind == "deepseek":
        return _bytes(prefix=True, regex=True)
    first, text = {"SpecialToken": {"id": bos, "type_id": 0}}, [{"Sequence": {"id": name, "type_id": n}}
                                                              for n, name in enumerate("AB")]
    template = {"type": "TemplateProcessing", "single": [first, text[0]],
                "pair": [first, text[0], {"SpecialToken": {"id": bos, "type_id": 1}}, text[1]],
                "special_tokens": {bos: {"id": bos, "ids": [128000], "tokens": [bos]}}}
    return {"type": "Sequence", "processors": [_bytes(prefix=True, regex=True), template]}


def _vocabulary(family, kind, merges):
    """Content -> id: the bytes and what merges make of them, then entries with a space in them, which no text has."""
    first = [content for i, content, _ in ADDED[family] if i < BASE[kind]]  # DeepSeek's first three
    made = [*first, *alphabet(), *(merge.replace(" ", "") for merge in merges)]
    if kind == "llama":  # reached whole or not at all: no merge makes it
        made.append("Ġreinforcement")
    return {content: i for i, content in enumerate([*made, *(f"no {n}" for n in range(BASE[kind] - len(made)))])}


def tokenizer_json(family):
    """A family's tokenizer.json as a dictionary."""
    kind = MERGES[family]
    merges = json.loads((GOLDEN / "merges.json").read_text(encoding="utf-8"))[kind]
    added = [{"id": i, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": special} for i, content, special in ADDED[family]]
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
             "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": kind == "llama",
             "vocab": _vocabulary(family, kind, merges), "merges": [merge.split(" ") for merge in merges]}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": normalizer(kind), "pre_tokenizer": pre_tokenizer(kind),
            "post_processor": _post_processor(kind, ADDED[family][0][1]),
            "decoder": _bytes() if kind == "qwen" else _bytes(prefix=True, trim=True, regex=True), "model": model}


CONFIGS = {
    "qwen2.5": {"add_bos_token": False, "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
                "tokenizer_class": "Qwen2Tokenizer"},
    "llama3": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>",
               "tokenizer_class": "PreTrainedTokenizerFast"},
    "deepseek-r1": {"add_bos_token": True, "add_eos_token": False, "tokenizer_class": "LlamaTokenizerFast",
                    "bos_token": {"__type": "AddedToken", "content": BOS}, "pad_token": EOS,
                    "eos_token": {"__type": "AddedToken", "content": EOS}},
}
CONFIGS |= {"qwen3": CONFIGS["qwen2.5"], "distill-qwen": CONFIGS["deepseek-r1"],
            "distill-llama": CONFIGS["deepseek-r1"]}
ENDS = {"qwen2.5": [151645, 151643], "qwen3": [151645, 151643], "llama3": [128001, 128008, 128009], "deepseek-r1": 1,
        "distill-qwen": 151643, "distill-llama": 128001}


def write(family, folder, chat_template=None):
    """A folder with a family's tokenizer files, as a checkpoint has them."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = CONFIGS[family] | ({"chat_template": chat_template} if chat_template else {})
    for name, value in (("tokenizer", tokenizer_json(family)), ("tokenizer_config", settings),
                        ("generation_config", {"eos_token_id": ENDS[family]})):
        (folder / f"{name}.json").write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return folder


TEXTS = [
    "", " ", "a", "Hello world", "  two  spaces   here ", "tabs\tand\n\nlines\r\n\r\n  x\n \n", "trailing   \n",
    "We're sure it's what they'd want, isn't it? I'LL say I'VE SEEN 'em.",
    "Reinforcement learning lifts reasoning; reinforcement alone, without demonstrations, is enough.",
    "The quick brown fox jumps over the lazy dog. THE QUICK BROWN FOX!",
    "1 12 123 1234 12345 3.14159 1,000,000 2^10 = 1024, ½ + ¼ = ¾, Ⅻ ٣٤ 第3章",
    "强化学习可以提升推理能力。模型先思考,然后回答问题:一加一等于几?",
    "这是“引号”、顿号和——破折号……还有ABC和123混在一起。",
    "日本語のテキストもあります。カタカナとひらがな、漢字。", "한국어 문장도 있습니다.",
    "Русский текст и ещё немного слов.",
    "العربية من اليمين إلى اليسار ١٢٣", "हिन्दी में एक वाक्य", "ภาษาไทยไม่มีช่องว่าง", "עברית",
    "caf\u00e9 cafe\u0301 na\u00efve nai\u0308ve \u212b A\u030a \ufb01 \u2126",  # some of it is not in NFC
    "\uac00 \u1100\u1161\u11a8 \u0915\u093c \u0958",
    "ZWJ: \U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 👍🏽 😀😃😄 🇩🇪🇨🇳",
    "emoji in 文字 between🙂words and 数字42🙂", "zero\u200bwidth\u00a0nbsp\u3000ideographic \ufeff bom",
    "def add(a: int, b: int) -> int:\n    \"\"\"Sum.\"\"\"\n    return a + b  # done\n\n\nprint(add(1, 2))\n",
    "for (int i = 0; i < n; ++i) {\n\tsum += a[i] * b[i];\n}\n", "SELECT * FROM t WHERE x >= 10 AND y != 'z';",
    "<div class=\"x\">&amp;</div>\n<!-- c -->", "https://example.org/a?b=c&d=%20e#f user@example.org",
    r"\frac{1}{2} + \sqrt{x^2 + y^2} = \int_0^\infty e^{-t}\,dt", r"so the answer is \boxed{\frac{3}{4}}.",
    r"$$\sum_{n=1}^{\infty} \frac{1}{n^2} = \frac{\pi^2}{6}$$ and $\alpha \le \beta$",
    "∀x∈ℝ: x² ≥ 0 ⇒ √(x²)=|x|, ≠ ≈ ∑∏∂",
    "{\"key\": [1, 2, {\"a\": null}], \"b\": \"\\u4e2d\"}", "a_b-c.d/e\\f:g;h|i~j`k^l", "!!!???...---===***+++",
    "((nested)) [[brackets]] {{braces}} <<angles>>", "camelCaseWord snake_case_word SCREAMING_CASE kebab-case",
    "<think>\nLet me see.\n</think>\n\n<answer> 4 </answer>", "<think>", "x</think>y", "< think > <Think>",
    "<｜User｜>1+1<｜Assistant｜>", f"{BOS}a{EOS}", "<|im_start|>user\nhi<|im_end|>\n", "<|eot_id|><|begin_of_text|>b",
    "<|EOT|> <|endoftext|>", "<tool_call>\n{}\n</tool_call>", "almost <|im_end |> <｜User|>",
    "a" * 40, "哈" * 20, "\n" * 5 + " " * 9, "𝒜𝓁𝑔𝑒𝒷𝓇𝒶 𐍈 𠮷野家", "\x00\x01\x7f control \x1b[0m", "Straße ǅ ŉ İstanbul",
]
CONVERSATION = [
    {"role": "system", "content": "Answer in the language of the question."},
    {"role": "user", "content": "What is 3/4 + 1/8? Use \\frac{}{}."},
    {"role": "assistant", "content": "<think>\n6/8 + 1/8.\n</think>\n\n$\\frac{7}{8}$ 🙂"},
    {"role": "user", "content": "那么 1/3 呢?\n"},
]
TRAINING = [text for text in TEXTS if "<" not in text and len(text) > 8] + [
    "First we add the two numbers, then we check whether the answer is right. Wait, let me try that again.",
    "首先我们把两个数相加,然后检查答案是否正确。等等,让我再试一次。", "the that there this then than they them their",
    "的是在有和人这中大为上个国我以要",
    r"\frac{a}{b} \boxed{x} \left( \right) \cdot \times \text{so} \begin{align} \end{align}",
    "import os\nimport sys\n\ndef main():\n    for i in range(10):\n        if i % 2 == 0:\n            print(i)\n",
]
