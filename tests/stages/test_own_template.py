"""data.prompt="chat": a checkpoint's own chat template, in training and in what is done with its artifact."""

import json
from dataclasses import replace

import pytest
import tokenizers as library

from r1jax.core.errors import ConfigError, DataError, StoreError
from r1jax.core.mesh import make_mesh
from r1jax.core.settings import MeshConfig, SFTConfig
from r1jax.stages import policies, rl, sft
from r1jax.store import Store
from r1jax.text import tokenizer as tokenizers

TINY = tokenizers.load("builtin:tiny")
TEMPLATE = ("{{ bos_token }}User : {{ messages[0].content }} Assistant :"
            "{% if add_generation_prompt %} <think>{% endif %}")


@pytest.fixture
def folder(tmp_path):
    """The tiny world's words with their own ids as a checkpoint has them, and a template that opens the thought."""
    pieces = [TINY._processor.id_to_piece(i) for i in range(TINY.vocab)]
    words = {piece: i for i, piece in enumerate(pieces) if not piece.startswith(tokenizers.SPACE)}
    words |= {piece[1:]: i for i, piece in enumerate(pieces) if piece.startswith(tokenizers.SPACE)}
    made = library.Tokenizer(library.models.WordLevel(words, unk_token="<unk>"))
    made.pre_tokenizer = library.pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<s>", "</s>"])
    target = tmp_path / "Tiny-Distill"
    target.mkdir()
    made.save(str(target / "tokenizer.json"))
    (target / "chat_template.jinja").write_text(TEMPLATE)
    (target / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>",
                                                              "add_bos_token": True}))
    return target


def test_a_distill_is_reinforced_and_asked_with_its_own_template(train, micro, store, folder):
    experiment = micro(f"tokenizer={folder}", "data.prompt=chat", "rl.steps=2", "evaluation.every=2")
    artifact = train(experiment)
    words = tokenizers.load(str(folder))
    think, bos = words.token_id("<think>"), words.token_id("<s>")
    rows = artifact.samples(0, "rollouts")
    assert len(rows) == 32 and {row["prompt_ids"][-1] for row in rows} == {think} != {None}
    assert {row["prompt_ids"].count(bos) for row in rows} == {1}
    for row in rows:  # the tag is the prompt's, and the grader sees it
        assert row["text"] == "<think>" + words.decode(row["completion_ids"]) and row["completion_ids"][0] != think
    earned = [row["scores"]["format"] for row in rows]
    formed = [row["text"].count("<think>") == 1 and not row["truncated"] and row["text"].endswith("</answer>")
              for row in rows]
    assert 0 < sum(earned) and all(good for good, value in zip(formed, earned, strict=True) if value)
    digest = artifact.lineage()["digests"]["chat_template"]

    policy = policies.artifact_policy(Store(store).get(artifact.ref), make_mesh(MeshConfig()), slots=8)
    assert policy.prompt.suffix == "<think>" and policy.identity["chat_template"] == digest
    (folder / "chat_template.jinja").write_text(TEMPLATE.replace("User", "user"))
    with pytest.raises(ConfigError, match=f"was trained with a chat template of digest {digest}, and the one beside"):
        policies.artifact_policy(Store(store).get(artifact.ref), make_mesh(MeshConfig()), slots=8)
    with pytest.raises(StoreError, match="what differs: digests.chat_template"):  # another run of the same name
        train(experiment)


def test_checks_name_the_template(micro, context, folder):
    words = tokenizers.load(str(folder))
    context = replace(context, tokenizer=words)
    experiment = micro(f"tokenizer={folder}", "data.prompt=chat")
    tuning = SFTConfig(epochs=1, batch=2, row_length=32)
    rl.check(experiment, context)
    with pytest.raises(ConfigError, match="data.prompt='chat' ends its prompts with '<think>', .* such as 'r1', R1's"):
        sft.check(replace(experiment, sft=tuning), context)
    sft.check(replace(experiment, sft=tuning, data=replace(experiment.data, prompt="r1")), context)
    (folder / "chat_template.jinja").write_text("{{ ''.__class__ }}")
    context = replace(context, tokenizer=tokenizers.load(str(folder)))
    for check, changed in ((rl.check, experiment), (sft.check, replace(experiment, sft=tuning))):
        with pytest.raises(DataError, match="Tiny-Distill/chat_template.jinja cannot be rendered: it reaches for"):
            check(changed, context)
