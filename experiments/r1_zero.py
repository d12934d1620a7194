"""R1-Zero: reinforcement learning on a base model, with accuracy and format rewards only.

Paper: DeepSeek-R1, arXiv 2501.12948; hyper-parameters in version 2, section 2.1. GRPO without any supervised
fine-tuning: accuracy, response length and reflection grow by themselves, and the languages of a thought mix.

    r1jax run experiments/r1_zero.py:tiny      Countdown on the embedded base; two CPU cores, 4.3 minutes
    r1jax run experiments/r1_zero.py:small --set model=Qwen/Qwen2.5-1.5B       DAPO-Math-17k; one GPU or a small slice
    r1jax run experiments/r1_zero.py:paper     the paper's values; a TPU pod; needs base@imported, weights of your own

Paper (AIME 2024, DeepSeek-V3-Base): pass@1 15.6 % at step 200, 71.0 % at 8,400; cons@16 25.3 % and 86.7 %.
Here (tiny, held-out Countdown, median of three seeds, range): pass@1 from 20.2 % (18.5 to 22.1) to 94.5 % (91.2 to
96.0), cons@16 from 48.6 % to 100 %, length from 35 to 116 tokens over 64 steps. small, paper: not run. RESULTS.md.
What the paper's scale takes (r1jax run experiments/recipe.py:paper --dry-run --prompt-tokens 160 --response-tokens
5400): 332,800 draws of questions from four public sets (DAPO-Math, TACO, SuperGPQA, logic), 5,324,800 responses in 650
rollouts, 2.9e10 sampled tokens, 1.5e22 operations, of which half are training.
"""

from dataclasses import replace

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig, EvalConfig, MeshConfig, OptimConfig, RLConfig
from r1jax.losses.policy import grpo, truncate
from r1jax.models import presets
from r1jax.stages import rl

SCALES = ("tiny", "small", "paper")
REWARDS = (("accuracy", 1.0), ("format", 1.0))  # the same weight: version 2, equation 4
CORRECTED = replace(grpo, correction=truncate(2.0))  # in bfloat16 sampler and trainer differ


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny, "small": small, "paper": paper}[scale]()


def tiny() -> Experiment:
    """Countdown with three numbers on the embedded base."""
    return Experiment(
        name="r1-zero",
        scale="tiny",
        stage=rl.run,
        parents=(("weights", "base@embedded"),),
        model=presets.tiny(),
        data=DataConfig(domains=(("countdown", 1.0),)),
        optim=OptimConfig(learning_rate=3e-4, b2=0.95),
        rl=RLConfig(steps=64, questions=64, group_size=16, minibatches=4, loss=grpo, rewards=REWARDS,
                    max_new_tokens=((0, 288),), max_prompt_tokens=20, old_logp="sampler", reference_every=32,
                    row_length=320, rows_per_micro_batch=4, slots=24, checkpoint_every=4),
        evaluation=EvalConfig(every=8, problems=64, samples=16),
    )


def small() -> Experiment:
    """Qwen2.5-1.5B's form on mathematics prompts with whole-number answers (DAPO-Math-17k, from the hub).

    --set model=Qwen/Qwen2.5-1.5B (or a folder) brings weights and tokenizer, and architecture where it is another's.
    Without it they are the user's: `parents` names an artifact of the store, `tokenizer` a file.
    Another set: --set data.source=gsm8k, or --set data.source=gsm8k=PATH for one that is downloaded. A file of your own
    with the columns question and answer: --set data.source=FILE; data.question_field and data.answer_field name others.
    """
    return Experiment(
        name="r1-zero",
        scale="small",
        stage=rl.run,
        parents=(("weights", "qwen2.5-1.5b@imported"),),
        model=presets.qwen2_5_1_5b(),
        tokenizer="Qwen2.5-1.5B/tokenizer.json",
        data=DataConfig(source="dapo_math_17k", domains=(("math", 1.0),), prompt="r1_zero", languages=(("en", 1.0),)),
        optim=OptimConfig(learning_rate=2e-6, warmup_steps=10),
        rl=RLConfig(steps=1000, questions=64, group_size=16, minibatches=4, loss=CORRECTED, rewards=REWARDS,
                    max_new_tokens=((0, 2048),), max_prompt_tokens=512, row_length=4096, rows_per_micro_batch=8,
                    slots=128, checkpoint_every=40),
        evaluation=EvalConfig(every=50, problems=64, samples=16),
        mesh=MeshConfig(data=1, fsdp=-1),
    )


def paper() -> Experiment:
    """The paper's values (version 2, section 2.1), on its own model: DeepSeek-V3-Base, 671 billion parameters.

    From the paper: learning rate 3e-6, KL coefficient 0.001, temperature 1, 16 outputs a question, 32 questions a
    step (batch 512), rollouts of 8,192 outputs in 16 minibatches with one inner epoch, at most 32,768 tokens until
    step 8.2k (8,208, the next end of a rollout) and 65,536 after it, the reference replaced every 400 steps, 10,400
    steps. Not published: optimizer, warm-up, the clip bound (0.2 here), the length of prompts; weights of at most 2 for
    the sampler's mismatch in bfloat16 (experiments/ablations/low_precision.py) are added here. Nor is it known what
    became of the routers' bias and balance loss, which go on here as in V3's pre-training, and of multi-token
    prediction, which is off. The same recipe on Qwen2.5-32B is experiments/ablations/small_model_rl.py. The prompts
    are not published: public sets stand in for them, in the shares of its table 4 (26K mathematics, 17K code, 22K STEM,
    15K logic), which is of all its reinforcement learning; the set of R1-Zero alone is not identified.

    512 devices: experts over 64, what is inside a layer over 8. Of a TPU v5p's 95 GB the state (masters, gradient, two
    moments) takes 21.2 and the reference 5.3; while sampling, the latents of 512 rows that are as long as they may be
    take 38, while training, the 61 layers' inputs of one row of 67,584 tokens 59.

    Departures of these sets from that table and the text around it: SuperGPQA's questions have 4 to 10 options (the
    paper's 4 to 8); mathematics is not restricted to competitions before 2023; there are no bug-fixing prompts (8K);
    and the run does not decontaminate: `r1jax decontaminate` does, of a downloaded file, which NAME=FILE then reads.
    """
    return Experiment(
        name="r1-zero",
        scale="paper",
        stage=rl.run,
        parents=(("weights", "base@imported"),),
        model=presets.deepseek_v3(),
        tokenizer="base/tokenizer.json",
        data=DataConfig(mixture=(("dapo_math_17k", 26.0), ("taco", 17.0), ("supergpqa", 22.0), ("logic", 15.0)),
                        domains=(("math", 1.0),), prompt="r1_zero"),
        optim=OptimConfig(learning_rate=3e-6),
        rl=RLConfig(steps=10_400, questions=512, group_size=16, minibatches=16, loss=CORRECTED, rewards=REWARDS,
                    max_new_tokens=((0, 32_768), (8_208, 65_536)), max_prompt_tokens=2048, temperature=1.0,
                    reference_every=400, row_length=67_584, rows_per_micro_batch=64, slots=512, checkpoint_every=400),
        evaluation=EvalConfig(every=200, problems=30, samples=16, temperature=0.6, top_p=0.95, max_new_tokens=32_768),
        mesh=MeshConfig(data=-1, tensor=8, expert=64),
    )
