"""The whole recipe: every artifact of DeepSeek-R1's graph, in the order in which they need one another.

Paper: DeepSeek-R1, arXiv 2501.12948; the pipeline is figure 2 of version 2. R1-Zero gives the cold start's long chains
of thought, dev1 to dev3 are fine-tuned and reinforced in turn, r1 is the last of them, and its data teach students.

    r1jax run experiments/recipe.py:tiny                    on two CPU cores
    r1jax run experiments/recipe.py:quick                   the same graph in a few minutes, which shows how it works
    r1jax run experiments/recipe.py:tiny --dry-run          states, sizes and times, before anything is run
    r1jax run experiments/recipe.py:tiny --until r1-zero    R1-Zero and what it is made from
    r1jax run experiments/recipe.py:paper --dry-run --flops-per-second 4e14
    r1jax run experiments/recipe.py:paper --dry-run --prompt-tokens 160 --response-tokens 5400

With prompts and responses of these lengths (about the paper's means, tables 4 and 5) the whole graph on DeepSeek-V3,
whose tokens go through 37 of its 671 billion parameters, takes 1.38e11 tokens and 3.2e22 operations: R1-Zero 1.5e22,
dev2 3.6e21, reasoning-data 1.9e21, dev3 2.3e21, r1 2.6e21, the largest students 1.8e21 and 3.9e21. small and paper need
a chat model's endpoint: --set chat.endpoint=http://localhost:8000/v1#deepseek-v3. The paper: 147K hours of an H800 in
all (its table 7).

A run that was stopped goes on with the same command. Seeds live side by side: --set seed=1 --version tiny-seed1.
"""

from dataclasses import replace
from pathlib import Path

from r1jax.core.config import load
from r1jax.core.recipe import Recipe, override_recipe

SCALES = ("tiny", "small", "paper", "quick")
FOLDER = Path(__file__).parent
STAGES = ("r1_zero", "cold_start_data", "cold_start", "reasoning_rl", "rejection_data", "general_data", "rejection_sft",
          "preferences", "safety_labels", "reward_models", "safety_model", "final_rl")
FILES = {
    "tiny": (*STAGES, "distill_qwen", "distill_llama"),
    "small": (*STAGES, "distill_qwen", "distill_llama"),
    "paper": (*STAGES, "distill_qwen", "distill_llama"),
}
"""Scale -> the experiment files of the graph, in their order."""

SECONDS = {
    "tiny": (("r1-zero", 255.0), ("cold-start-data", 51.0), ("dev1", 52.0), ("dev2", 210.0), ("reasoning-data", 78.0),
             ("general-data", 13.0), ("dev3", 104.0), ("preference-data", 24.0), ("safety-data", 5.0),
             ("helpful-rm", 12.0), ("safety-rm", 15.0), ("r1", 183.0), ("distill-qwen", 90.0), ("distill-llama", 93.0)),
    "small": (),
    "paper": (),
}
"""Scale -> (artifact, measured seconds); tiny: two CPU cores (AMD EPYC, AVX-512), an empty compilation cache."""

QUICK = (
    # one token budget and one length of rows, so that stages share their compiled programs
    "evaluation.max_new_tokens=192", "rl.max_new_tokens=((0, 192),)", "rl.max_prompt_tokens=48", "rl.row_length=256",
    "sft.row_length=256", "cold-start-data.collect.max_new_tokens=192", "reasoning-data.collect.max_new_tokens=192",
    "collect.slots=24", "evaluation.problems=8", "evaluation.samples=3",
    # two rollouts; of r1 the second has the general questions
    "rl.steps=4", "rl.minibatches=2", "rl.questions=16", "rl.group_size=8", "rl.checkpoint_every=2",
    "rl.reference_every=2", "r1.rl.last_part.steps=2", "optim.warmup_steps=0", "evaluation.every=4",
    # every data set in two files; few general questions are helpful, and fewer requests
    "collect.questions=64", "collect.questions_per_file=32",
    "preference-data.collect.questions=128", "preference-data.collect.questions_per_file=64",
    "safety-data.collect.questions=256", "safety-data.collect.questions_per_file=128",
    # little data, seen so often that what learns from them keeps to R1's form
    "sft.batch=8", "sft.epochs=8", "sft.checkpoint_every=20", "sft.log_every=10", "dev3.optim.learning_rate=1e-3",
    "distill-qwen.sft.epochs=4", "distill-llama.sft.epochs=4",
    "reward_model.batch=8", "reward_model.epochs=6", "safety-rm.reward_model.epochs=3",
    "reward_model.checkpoint_every=20",
)
"""What the quick form changes of the tiny one, as with --set."""


def get_config(scale: str) -> Recipe:
    """The recipe at one of SCALES."""
    if scale == "quick":
        return quick()
    experiments = tuple(load(f"{FOLDER / name}.py:{scale}") for name in FILES[scale])
    return Recipe("recipe", scale, experiments, SECONDS[scale])


def quick() -> Recipe:
    """The tiny recipe with few questions and few updates: it shows every stage at work, and no results."""
    tiny = override_recipe(get_config("tiny"), QUICK)
    return replace(tiny, scale="quick", seconds=(),
                   experiments=tuple(replace(experiment, scale="quick") for experiment in tiny.experiments))
