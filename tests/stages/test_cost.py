"""What stages take, counted by hand for a model of a few weights."""

from dataclasses import replace
from pathlib import Path

import pytest

from r1jax.core.config import Experiment, load
from r1jax.core.settings import (
    ChatConfig,
    CollectConfig,
    DataConfig,
    EvalConfig,
    LastPart,
    LoRA,
    PairsConfig,
    PretrainConfig,
    RewardModelConfig,
    RLConfig,
    SFTConfig,
)
from r1jax.losses.policy import grpo
from r1jax.models.config import ModelConfig
from r1jax.stages.cost import Lengths, Work, cost, reading, sampling, training

# V = 10, L = 2, D = 4, N = 2, K = 1, H = 4, F = 5: 624 operations a token, 64 for each token that it sees, 80 a row of
# logits
MODEL = ModelConfig(vocab=10, layers=2, width=4, heads=2, kv_heads=1, head_dim=4, ffn=5)
RL = RLConfig(steps=8, questions=3, group_size=4, minibatches=2, loss=grpo, rewards=(("accuracy", 1.0),),
              max_new_tokens=((0, 10), (4, 20)), max_prompt_tokens=6)
COLLECT = CollectConfig(questions=10, samples=4, keep=2, max_new_tokens=20, max_prompt_tokens=8)
R1_ZERO = Path(__file__).resolve().parents[2] / "experiments" / "r1_zero.py"
NO_EVALUATION = EvalConfig(problems=0, samples=0)


def experiment(*parents, **changes):
    return Experiment("test", "tiny", print, MODEL, parents=tuple(parents), **({"evaluation": NO_EVALUATION} | changes))


def test_parameters_are_all_weights():
    # a layer: 156 weights in matrices and two norms of 4; the embedding 10 x 4, which is the head too, and a norm of 4
    assert cost(experiment()).parameters == 2 * (156 + 8) + 40 + 4


def test_sampling_by_hand():
    # a prompt of 3 once: 3 x 624, seen 1 + 2 + 3; each of 4 responses of 5: 4 tokens fed back, at 3 to 6: seen
    # 4 + 5 + 6 + 7, and 5 rows of logits
    one = (3 * 624 + 64 * 6) + 4 * (4 * 624 + 64 * 22 + 5 * 80)
    assert sampling(MODEL, 3, 5, questions=2, samples=4) == Work(8, 40, 2 * one)
    assert sampling(MODEL, 3, 5, questions=2, samples=0) == Work(0, 0, 0)


def test_reading_and_training_by_hand():
    # 8 tokens, seen 1 + ... + 8 = 36, 5 of them scored
    assert reading(MODEL, 3, 5, 2) == Work(2, 16, 2 * (8 * 624 + 64 * 36 + 5 * 80))
    assert reading(MODEL, 3, 5, 2, scored=False) == Work(2, 16, 2 * (8 * 624 + 64 * 36))
    assert training(MODEL, 3, 5, 2).flops == 3 * reading(MODEL, 3, 5, 2).flops


def test_adapters_save_the_gradients_of_what_is_frozen_by_hand():
    # a layer's matrices have 12 + 8 + 8 + 12 + 9 + 9 + 9 rows and columns: 2 x 67 x 3 numbers, three products each
    adapters = 3 * 2 * 402
    found = training(MODEL, 3, 5, 2, adapters=LoRA(rank=3))
    assert found == Work(2, 16, 2 * (2 * 8 * 624 + 3 * 64 * 36 + 2 * 5 * 80 + 8 * adapters))
    unscored = training(MODEL, 3, 5, 2, scored=False, adapters=LoRA(rank=3))
    assert unscored.flops == 2 * (2 * 8 * 624 + 3 * 64 * 36 + 8 * adapters)
    chosen = experiment(("weights", "base"), rl=RL, lora=LoRA(rank=3))
    assert cost(chosen).trained.flops == 24 * sum(training(MODEL, 3, response, 1, adapters=LoRA(rank=3)).flops
                                                  for response in (5, 10))


def test_reinforcement_counts_rollouts_by_their_budget():
    found = cost(experiment(("weights", "base"), rl=RL))
    # four rollouts of 12: two with responses of 5, two of 10; prompts of 3
    assert found.sampled[:2] == (48, 24 * 5 + 24 * 10) and found.updates == 8
    assert found.trained[:2] == (48, 24 * 8 + 24 * 13)
    assert found.scored[:2] == (96, 2 * (24 * 8 + 24 * 13))  # the reference and the trainer's own
    assert found.evaluated == Work() == found.asked
    expected = 6 * (sampling(MODEL, 3, 5, 1, 4).flops + sampling(MODEL, 3, 10, 1, 4).flops)
    assert found.sampled.flops == expected
    assert found.flops == found.sampled.flops + found.scored.flops + found.trained.flops


def test_an_assumed_length_takes_the_place_of_half_the_budget():
    found = cost(experiment(rl=RL), Lengths(prompt=2, response=7))
    assert (found.prompt, found.response) == (2, 7)
    assert found.sampled[:2] == (48, 48 * 7) and found.trained[:2] == (48, 48 * 9)


def test_scoring_follows_the_loss_and_the_rewards():
    lean = replace(RL, loss=replace(grpo, beta=0.0), old_logp="sampler")
    assert cost(experiment(rl=lean)).scored == Work()


MODELS = (("reward", "helpful-rm"), ("reward", "safety-rm"))
LEAN = replace(RL, loss=replace(grpo, beta=0.0), old_logp="sampler")


def test_one_reward_model_reads_what_is_general():
    """Of a world with a quarter of general questions, 3 of the 12 responses of each of four rollouts."""
    world = DataConfig(domains=(("countdown", 3.0), ("general", 1.0)))
    preferred = replace(LEAN, rewards=(("preference", 1.0),))
    found = cost(experiment(*MODELS, rl=preferred, data=world))
    assert found.scored[:2] == (12, 6 * 8 + 6 * 13)
    # 8 tokens, seen 36 times, and 13, seen 91 times; no row of logits
    assert found.scored.flops == 6 * (8 * 624 + 64 * 36) + 6 * (13 * 624 + 64 * 91)
    assert cost(experiment(*MODELS, rl=LEAN, data=world)).scored == Work()  # none of its rewards is a model's
    assert cost(experiment(*MODELS, rl=preferred, data=DataConfig(domains=(("countdown", 1.0),)))).scored == Work()


def test_reward_models_of_a_last_part_read_its_general_questions():
    last = LastPart(steps=2, rewards=(("rule", 1.0), ("preference", 1.0)), domains=(("logic", 1.0), ("general", 2.0)))
    found = cost(experiment(*MODELS, rl=replace(LEAN, last_part=last), data=DataConfig(domains=(("logic", 1.0),))))
    assert found.scored[:2] == (8, 8 * 13)  # two thirds of the 12 of the last rollout
    files = replace(last, domains=(), mixture=(("dapo_math_17k", 6.0), ("helpful=a.jsonl", 2.0),
                                               ("harmless=b.jsonl", 1.0), ("own.jsonl", 3.0)))
    mixed = DataConfig(mixture=(("dapo_math_17k", 1.0),), domains=(("math", 1.0),))
    assert cost(experiment(*MODELS, rl=replace(LEAN, last_part=files), data=mixed)).scored[:2] == (3, 3 * 13)


def test_what_the_reward_models_of_the_paper_read():
    """Of table 4's numbers 66 + 12 of 158 are general, hence 101,104 of the 25 last rollouts' 204,800 responses."""
    shared = Lengths(160, 5400)
    paper = load(f"{R1_ZERO.parent / 'final_rl.py'}:paper")
    ruled = replace(paper, rl=replace(paper.rl, last_part=replace(paper.rl.last_part, rewards=(("rule", 1.0),))))
    read = cost(paper, shared).scored.sequences - cost(ruled, shared).scored.sequences
    assert read == pytest.approx(101_104, abs=25)


def test_evaluations_are_those_that_are_due():
    found = cost(experiment(rl=RL, evaluation=EvalConfig(every=4, problems=2, samples=5)))
    # before the first update, after 4, and after 8, where the budget is 20
    assert found.evaluated[:2] == (30, 10 * 5 + 10 * 5 + 10 * 10)
    odd = cost(experiment(rl=replace(RL, steps=6), evaluation=EvalConfig(every=4, problems=2, samples=5)))
    assert odd.evaluated.sequences == 30  # after 0, 4 and, as the last, 6


def test_pretraining_counts_full_rows_and_its_gate():
    found = cost(experiment(pretrain=PretrainConfig(steps=5, rows=3, row_length=16),
                            evaluation=EvalConfig(problems=2, samples=3)))
    assert found.trained == Work(15, 240, 15 * 3 * (16 * 624 + 64 * 136 + 16 * 80))
    assert found.evaluated.sequences == 6 and found.updates == 5


def test_fine_tuning_counts_the_records_of_its_parents():
    tuned = experiment(("weights", "base"), ("data", "a@tiny"), ("data", "b"),
                       sft=SFTConfig(epochs=2, batch=4, row_length=64))
    found = cost(tuned, records={"a": 10, "b": 7})
    assert (found.prompt, found.response) == (8, 28)  # an eighth of the row, and half of the rest
    assert found.trained[:2] == (34, 34 * 36) and found.updates == 10 and found.unknown == ()
    partly = cost(tuned, records={"a": 10})
    assert partly.unknown == ("b",) and partly.trained.sequences == 20
    drawn = replace(tuned, sft=replace(tuned.sft, samples=(("math", 5), ("code", 3))))
    assert cost(drawn).trained.sequences == 16 and cost(drawn).unknown == () and cost(drawn).updates == 4
    taught = replace(tuned, sft=replace(tuned.sft, teacher=0.5))
    assert cost(taught, records={"a": 10, "b": 7}).scored[:2] == (34, 34 * 36)


def test_a_reward_model_reads_both_of_a_pair():
    config = RewardModelConfig(kind="pairs", part="summary", sets=("helpful",), batch=4, row_length=64, held_out=0.1)
    judged = experiment(("weights", "dev3"), ("data", "preference-data"), reward_model=config)
    found = cost(judged, records={"preference-data": 20})
    assert found.trained.sequences == 36 and found.updates == 5
    labels = replace(judged, reward_model=replace(config, kind="labels"))
    assert cost(labels, records={"preference-data": 20}).trained.sequences == 18


def test_collecting_counts_samples_judgements_and_refinements():
    world = DataConfig(domains=(("countdown", 3.0), ("open", 1.0)))
    found = cost(experiment(("policy", "dev2"), ("chat", "chat"), data=world, chat=ChatConfig(),
                            collect=replace(COLLECT, judged=("open",), refine=True)), Lengths(reply=6))
    assert found.sampled[:2] == (40, 40 * 10) and found.records == 20
    # a quarter of 40 judged with replies of 6, and 20 refined to 10 tokens
    assert found.asked[:2] == (30, 10 * 6 + 20 * 10)
    few = cost(experiment(("policy", "dev2"), collect=replace(COLLECT, targets=(("math", 6), ("code", 3)))))
    assert few.records == 9 and few.asked == Work()


def test_few_shot_prompts_are_as_long_as_their_examples():
    found = cost(experiment(("policy", "zero"), collect=replace(COLLECT, samples=1, few_shot=2, few_shot_samples=3)))
    # shown 2 x (4 + 10) tokens and the question's 4
    assert found.sampled.sequences == 40
    assert found.sampled.flops == sampling(MODEL, 4, 10, 10, 1).flops + sampling(MODEL, 32, 10, 10, 3).flops


def test_pairs_take_two_samples_each_and_labels_one():
    parents = (("policy", "dev3"), ("chat", "chat"))
    found = cost(experiment(*parents, chat=ChatConfig(), collect=COLLECT, pairs=PairsConfig(votes=4)),
                 Lengths(reply=6))
    assert found.records == 20 and found.asked[:2] == (80, 480)
    labels = cost(experiment(*parents, chat=ChatConfig(), collect=replace(COLLECT, keep=1),
                             pairs=PairsConfig(labels="safety")))
    assert labels.records == 10 and labels.asked.sequences == 10


def test_an_endpoints_operations_are_its_own():
    asked = cost(experiment(collect=COLLECT, chat=ChatConfig(endpoint="http://h/v1#m")))
    assert asked.sampled.sequences == 40 and asked.sampled.flops == 0
    written = cost(experiment(collect=COLLECT))  # by a program: nothing is sampled
    assert written.sampled == Work() and written.records == 20


def test_operations_are_ours_only_where_the_chat_model_is_a_parent():
    """An endpoint that is still to be named counts as one."""
    collect = replace(COLLECT, refine=True)
    ours = cost(experiment(("chat", "chat"), collect=collect, chat=ChatConfig()))
    assert ours.sampled.flops > 0 and ours.asked.flops > 0
    for chat, parents in ((ChatConfig(), ()), (ChatConfig(endpoint="http://h/v1#m"), ()),
                          (ChatConfig(endpoint="http://h/v1#m"), (("chat", "chat"),))):
        theirs = cost(experiment(*parents, collect=collect, chat=chat))
        assert theirs.sampled[:2] == ours.sampled[:2] and theirs.asked[:2] == ours.asked[:2]
        assert theirs.sampled.flops == 0 == theirs.asked.flops
    policy = cost(experiment(("policy", "dev2"), collect=collect, chat=ChatConfig()))
    assert policy.sampled == ours.sampled and policy.asked == ours.asked._replace(flops=0)


def test_general_data_at_paper_scale_takes_no_operations_of_ours():
    found = cost(load(f"{R1_ZERO.parent / 'general_data.py'}:paper"), Lengths(160, 5400))
    assert found.sampled.sequences == 200_000 and found.flops == 0


@pytest.mark.parametrize(("scale", "sampled", "updates"), [
    ("tiny", 64 // 4 * 64 * 16, 64), ("paper", 650 * 8192, 10_400)])
def test_r1_zero_at_its_scales(scale, sampled, updates):
    found = cost(load(f"{R1_ZERO}:{scale}"), Lengths(prompt=122, response=200))
    assert (found.sampled.sequences, found.updates) == (sampled, updates)
    assert found.trained.tokens == sampled * 322
