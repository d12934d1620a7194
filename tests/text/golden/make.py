"""Makes merges.json and ids.json: what transformers' tokenizers say of the mixed text, for tests that run without it.

    python tests/text/golden/make.py      in an environment with transformers 5; what r1jax depends on is not needed

merges.json: a byte-level BPE of each pre-tokenizer, trained on the text of tests/text/families.py. ids.json: family ->
ids of its texts. chat.json: family -> ids of a conversation by the template of R1's distilled models.
"""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

import tokenizers  # noqa: E402
import transformers  # noqa: E402

from r1jax.text.templates import R1_DISTILL  # noqa: E402
from tests.text import families  # noqa: E402

MERGES = 420


def merges(kind):
    """The merges of one pre-tokenizer, each as "left right"."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    state = json.loads(made.to_str()) | {"normalizer": families.normalizer(kind),
                                         "pre_tokenizer": families.pre_tokenizer(kind)}
    made = tokenizers.Tokenizer.from_str(json.dumps(state))
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=256 + MERGES, initial_alphabet=families.alphabet(),
                                             show_progress=False)
    made.train_from_iterator(families.TRAINING * 3, trainer)
    return [" ".join(pair) for pair in json.loads(made.to_str())["model"]["merges"]]


def ids(family, folder):
    """(of each text, without a beginning; of the conversation), by the class that the folder asks for.

    The general class, which takes tokenizer.json as it is, must agree: it does so from transformers 5 on, which no
    longer makes a SentencePiece tokenizer of every LlamaTokenizerFast.
    """
    families.write(family, folder)
    own = transformers.AutoTokenizer.from_pretrained(str(folder))
    general = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    found = [own(text, add_special_tokens=False)["input_ids"] for text in families.TEXTS]
    assert found == [general(text, add_special_tokens=False)["input_ids"] for text in families.TEXTS], family
    talk = own.apply_chat_template(families.CONVERSATION, chat_template=R1_DISTILL, add_generation_prompt=True,
                                   tokenize=True, return_dict=False)
    return found, talk


def main():
    """Writes both files."""
    write = {"ensure_ascii": False, "separators": (",", ":")}
    made = {kind: merges(kind) for kind in families.BASE}
    (families.GOLDEN / "merges.json").write_text(json.dumps(made, **write) + "\n", encoding="utf-8")
    with tempfile.TemporaryDirectory() as root:
        found = {family: ids(family, Path(root) / family) for family in families.ADDED}
    for n, name in enumerate(("ids", "chat")):
        text = json.dumps({family: pair[n] for family, pair in found.items()}, **write)
        (families.GOLDEN / f"{name}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
