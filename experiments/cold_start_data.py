"""Cold-start data: readable long chains of thought, out of R1-Zero's own.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section B.3.2, and version 1, section 2.3.1: thousands of prompts, several
trajectories of each from R1-Zero at temperature 1 and from a model that is shown long chains of thought; kept where the
answer is right and the text readable; refined by DeepSeek-V3; corrected by people.

    r1jax run experiments/cold_start_data.py:tiny      two CPU cores; needs r1-zero@tiny and chat@tiny
    r1jax run experiments/cold_start_data.py:small     one GPU or a small TPU slice, and an endpoint to refine
    r1jax run experiments/cold_start_data.py:paper     a TPU pod, and an endpoint to refine
    r1jax records export cold-start-data@tiny FILE     for people to read and correct

The chat model of small and paper is named by the user: --set chat.endpoint=http://localhost:8000/v1#deepseek-v3.
What the paper's scale takes (--dry-run --prompt-tokens 160 --response-tokens 5400): 60,000 responses or 3.2e8 sampled
tokens and 4.6e19 operations; at most 12,000 refinements with 6.5e7 tokens of replies; at most 12,000 records. Not in
these: the translations of thoughts in other languages than their questions', which come before refining.
small, paper: not run.
"""

from r1jax.core.config import Experiment
from r1jax.core.settings import ChatConfig, CollectConfig, DataConfig, FilterConfig, MeshConfig
from r1jax.models import presets
from r1jax.stages import cold_start

SCALES = ("tiny", "small", "paper")
DOMAINS = (("countdown", 0.4), ("arithmetic", 0.25), ("logic", 0.17), ("stem", 0.1), ("code", 0.08))
SUITES = ("aime_2024", "math_500", "gpqa_diamond", "livecodebench")  # nothing that is kept may hold their questions


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny, "small": small, "paper": paper}[scale]()


def tiny() -> Experiment:
    """Every reasoning domain of the tiny world."""
    return Experiment(
        name="cold-start-data", scale="tiny", stage=cold_start.run, model=presets.tiny(),
        parents=(("policy", "r1-zero"), ("few_shot", "base@embedded"), ("chat", "chat@embedded")),
        data=DataConfig(domains=DOMAINS),
        chat=ChatConfig(wording="tiny"),
        collect=CollectConfig(questions=768, questions_per_file=128, samples=4, keep=2, max_new_tokens=288,
                              max_prompt_tokens=48, slots=24, few_shot=1, few_shot_samples=1, refine=True,
                              filters=FilterConfig(equations=True)),
    )


def small() -> Experiment:
    """Qwen2.5-1.5B's form; long_chains.jsonl is a file of your own: question, and a response of R1-Zero's form."""
    return Experiment(
        name="cold-start-data", scale="small", stage=cold_start.run, model=presets.qwen2_5_1_5b(),
        parents=(("policy", "r1-zero"), ("few_shot", "qwen2.5-1.5b@imported")),
        tokenizer="Qwen2.5-1.5B/tokenizer.json",
        data=DataConfig(mixture=(("dapo_math_17k", 6.0), ("logic", 2.0), ("sciq", 1.0), ("taco", 1.0)),
                        domains=(("math", 1.0),), prompt="r1_zero"),
        chat=ChatConfig(),
        collect=CollectConfig(questions=4096, questions_per_file=256, samples=4, keep=1, keep_in_all=True,
                              max_new_tokens=2048, max_prompt_tokens=512, slots=128, few_shot=1, few_shot_samples=1,
                              examples="long_chains.jsonl", refine=True, decontaminate=SUITES),
        mesh=MeshConfig(data=1, fsdp=-1),
    )


def paper() -> Experiment:
    """Thousands of readable chains of thought, of DeepSeek-V3 as R1-Zero and as the base.

    From the paper: thousands of prompts, several trajectories of each, temperature 1, what is looked at (answers, with
    sympy for mathematics; repetition; mixed languages), refining, 32,768 tokens. Not published: every number. Here
    12,000 questions, four trajectories and one more of the base that is shown two examples (version 1; version 2 names
    R1-Zero's alone: --set collect.few_shot=0 --set collect.few_shot_samples=0), one that stays of each, and the
    thresholds of FilterConfig. Code of the paper: 5,151 problems of Codeforces and 2,504 of AtCoder, for which
    DeepSeek-V2.5 wrote tests; here the public tests of Codeforces' problems. The paper has V3 answer simple mathematics
    ("1+1=?"), which no set here holds: add a file of yours (question, answer) to data.mixture, and set data.domains,
    which says a file's domain, to (("arithmetic", 1.0),) and collect.simple to ("arithmetic",).
    """
    return Experiment(
        name="cold-start-data", scale="paper", stage=cold_start.run, model=presets.deepseek_v3(),
        parents=(("policy", "r1-zero"), ("few_shot", "base@imported")), tokenizer="base/tokenizer.json",
        data=DataConfig(mixture=(("dapo_math_17k", 4.0), ("codeforces", 4.0), ("supergpqa", 2.0), ("logic", 2.0)),
                        domains=(("math", 1.0),), prompt="r1_zero"),
        chat=ChatConfig(concurrency=256),
        collect=CollectConfig(questions=12_000, questions_per_file=1000, samples=4, keep=1, keep_in_all=True,
                              max_new_tokens=32_768, temperature=1.0, max_prompt_tokens=2048, slots=1024,
                              few_shot=2, few_shot_samples=1, examples="long_chains.jsonl", refine=True,
                              filters=FilterConfig(paragraph=500), decontaminate=SUITES),
        mesh=MeshConfig(data=-1, tensor=8, expert=64),
    )
