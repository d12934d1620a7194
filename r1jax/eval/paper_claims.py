"""The thirteen claims of DeepSeek-R1 (arXiv 2501.12948) that the tiny world is to show, and one beside them.

With the paper's figures.

Names of values are ARTIFACT/MEASURE, where measures are those of eval/stage_table.py, or what stages/claims.py takes
from a run's own metrics. Bounds other than 0, and what counts as "far" or "a little", are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from r1jax.eval.claims import Claim, Contrast, Number, Shown, Values

FAR = 0.2  # of pass@1: "far above"
LITTLE = 0.05  # of pass@1: "a little", and "without losing"

_PASS, _QUALITY, _READABLE = "countdown/pass@1", "general/quality", "countdown/readable"
_CONSISTENT = "countdown/consistency"


def _minus(first: str, second: str) -> Callable[[Values], float]:
    return lambda values: values[first] - values[second]


def _value(name: str) -> Callable[[Values], float]:
    return lambda values: values[name]


def _shown(measure: str, *names: str) -> tuple[Shown, ...]:
    """One measure of several artifacts."""
    return tuple(Shown(f"{name}/{measure}", name) for name in names)


CLAIMS: Mapping[Number, Claim] = MappingProxyType({claim.number: claim for claim in (
    Claim(1, "Reinforcement alone lifts reasoning far above the base.",
          "AIME 2024 pass@1 15.6 % to 71.0 % (v1, figure 2), 77.9 % at the end (v2, table 3)",
          _shown("pass@1", "base", "r1-zero"),
          (Contrast("gain", _minus("r1-zero/pass@1", "base/pass@1"), least=FAR),), ("r1-zero",)),
    Claim(2, "It keeps rising with steps; majority vote stays above pass@1.",
          "cons@16 86.7 % beside pass@1 71.0 % at step 8,400, pass@1 60.0 % at step 4,000 (v1, figure 2)",
          (Shown("pass@1/middle", "pass@1 half-way"), Shown("pass@1/last", "at the end"),
           Shown("cons/last", "majority vote at the end")),
          (Contrast("second half", _minus("pass@1/last", "pass@1/middle")),
           Contrast("vote above pass@1, mean over evaluations", _value("cons_above_pass"))), ("r1-zero",)),
    Claim(3, "Responses grow longer as accuracy rises.",
          "mean length about 550 to 9,650 tokens by step 8,350 (v1, figure 3)",
          (Shown("length/first", "at first", 1.0, " tokens"), Shown("length/last", "at the end", 1.0, " tokens")),
          (Contrast("growth", _minus("length/last", "length/first"), scale=1.0, unit=" tokens"),
           Contrast("rank correlation with pass@1", _value("length_with_pass@1"), scale=1.0, unit="")), ("r1-zero",)),
    Claim(4, "Reflection words grow.",
          "five to seven times as many (v2, appendix C)",
          (Shown("reflection/first", "at first", 1.0, " a response"),
           Shown("reflection/last", "at the end", 1.0, " a response"),
           Shown("reflection_per_100/first", "of 100 tokens at first", 1.0, ""),
           Shown("reflection_per_100/last", "and at the end", 1.0, "")),
          (Contrast("growth", _minus("reflection/last", "reflection/first"), scale=1.0, unit=" a response"),),
          ("r1-zero",)),
    Claim(5, "R1-Zero mixes languages and reads badly.",
          "no figure: \"poor readability, and language mixing\" (v1, abstract)",
          (Shown("base/countdown/mixed", "mixed: base"), Shown("r1-zero/countdown/mixed", "r1-zero"),
           Shown("base/countdown/readable", "readable: base"), Shown("r1-zero/countdown/readable", "r1-zero")),
          (Contrast("more mixed than the base", _minus("r1-zero/countdown/mixed", "base/countdown/mixed")),
           Contrast("less readable than the base", _minus("base/countdown/readable", "r1-zero/countdown/readable"))),
          ("base", "r1-zero")),
    Claim(6, "A cold start makes it readable and starts reinforcement higher.",
          "dev1 beside R1-Zero: IF-Eval 71.7 and 46.6, ArenaHard 77.0 and 53.6 (v2, table 3)",
          (Shown("r1-zero/countdown/readable", "readable: r1-zero"), Shown("dev1/countdown/readable", "dev1"),
           Shown("r1-zero/start", "pass@1 before reinforcement: r1-zero"), Shown("dev2/start", "dev2")),
          (Contrast("more readable", _minus("dev1/countdown/readable", "r1-zero/countdown/readable")),
           Contrast("higher start", _minus("dev2/start", "r1-zero/start"))), ("r1-zero", "dev1", "dev2")),
    Claim(7, "The language reward raises consistency and costs a little accuracy.",
          "with it consistency is stable, without it falls; AIME comparable, LiveCodeBench slightly lower "
          "(v2, figure 7)",
          (Shown("with/consistency", "consistency with it"), Shown("without/consistency", "without"),
           Shown("with/pass@1", "pass@1 with it"), Shown("without/pass@1", "without")),
          (Contrast("consistency", _minus("with/consistency", "without/consistency")),
           Contrast("cost of accuracy", _minus("without/pass@1", "with/pass@1")),
           Contrast("accuracy kept", _minus("with/pass@1", "without/pass@1"), least=-LITTLE)),
          ("dev2", "dev2-no-language")),
    Claim(8, "dev1 is weaker at reasoning than R1-Zero, dev2 makes up for it, dev3 and r1 add general ability.",
          "AIME 2024 77.9, 59.0, 74.0 (R1-Zero, dev1, dev2); AlpacaEval 2.0 55.8, 62.1, 87.6 (dev2, dev3, R1) "
          "(v2, table 3)",
          (*(Shown(f"{name}/{measure}", f"{label}: {name}") for measure, label in (
              (_PASS, "Countdown"), ("reasoning", "five domains")) for name in ("r1-zero", "dev1", "dev2")),
           *(Shown(f"{name}/{_QUALITY}", f"general quality: {name}") for name in ("dev2", "dev3", "r1"))),
          (Contrast("Countdown, r1-zero above dev1", _minus(f"r1-zero/{_PASS}", f"dev1/{_PASS}")),
           Contrast("dev2 above dev1", _minus(f"dev2/{_PASS}", f"dev1/{_PASS}")),
           Contrast("dev2 beside r1-zero", _minus(f"dev2/{_PASS}", f"r1-zero/{_PASS}"), least=-LITTLE),
           Contrast("general, dev3 above dev2", _minus(f"dev3/{_QUALITY}", f"dev2/{_QUALITY}")),
           Contrast("general, r1 above dev2", _minus(f"r1/{_QUALITY}", f"dev2/{_QUALITY}"))),
          ("r1-zero", "dev1", "dev2", "dev3", "r1")),
    Claim(9, "The last reinforcement lifts helpfulness and safety without losing reasoning.",
          "dev3 to R1: AlpacaEval 2.0 62.1 to 87.6, ArenaHard 75.6 to 92.3, AIME 2024 78.1 to 79.8 (v2, table 3)",
          tuple(Shown(f"{name}/{measure}", f"{label} {name}") for measure, label in (
              (_QUALITY, "quality"), ("safety/safe", "safe"), ("reasoning", "reasoning")) for name in ("dev3", "r1")),
          (Contrast("quality", _minus(f"r1/{_QUALITY}", f"dev3/{_QUALITY}")),
           Contrast("safety", _minus("r1/safety/safe", "dev3/safety/safe")),
           Contrast("reasoning", _minus("r1/reasoning", "dev3/reasoning"), least=-LITTLE)), ("dev3", "r1")),
    Claim(10, "Preference reward for too long gets hacked: reward rises while true quality falls.",
          "the helpful reward rises while Codeforces performance falls (v2, figure 6)",
          tuple(Shown(f"{name}/{part}", label.format(name), *how) for name, how in (
              ("reward", (1.0, "")), ("quality", ()), ("accuracy", ()))
                for part, label in (("quarter", "{} a quarter into the run"), ("last", "over its last quarter"))),
          (Contrast("reward gained", _minus("reward/last", "reward/quarter"), scale=1.0, unit=""),
           Contrast("quality lost", _minus("quality/quarter", "quality/last"))), ("reward-hacking",)),
    Claim(11, "A distilled small model beats the same model trained by reinforcement.",
          "AIME 2024: distilled Qwen-32B 72.6, reinforced 47.0 (v1, table 6)",
          tuple(shown for family in ("qwen", "llama") for shown in (
              Shown(f"distill-{family}/reasoning", f"distill-{family}"),
              Shown(f"zero-{family}/reasoning", f"zero-{family}"),
              Shown(f"distill-{family}/{_PASS}", f"Countdown alone: distill-{family}"),
              Shown(f"zero-{family}/{_PASS}", f"zero-{family}"),
              Shown(f"distill-{family}/operations", "operations of training: distilled", 1e-12, "e12"),
              Shown(f"zero-{family}/operations", "reinforced", 1e-12, "e12"))),
          (Contrast("distilled above reinforced, Qwen's form", _minus("distill-qwen/reasoning", "zero-qwen/reasoning")),
           Contrast("Llama's form", _minus("distill-llama/reasoning", "zero-llama/reasoning"))),
          ("distill-qwen", "zero-qwen", "distill-llama", "zero-llama")),
    Claim(12, "Reinforcement on top of a distilled model helps further.",
          "no figure: it \"could substantially boost\" it (v2, appendix B.4.3)",
          (*_shown("reasoning", "distill-qwen", "distill-qwen-rl"),
           Shown(f"distill-qwen/{_PASS}", "Countdown alone: distill-qwen"),
           Shown(f"distill-qwen-rl/{_PASS}", "distill-qwen-rl")),
          (Contrast("gain", _minus("distill-qwen-rl/reasoning", "distill-qwen/reasoning")),),
          ("distill-qwen", "distill-qwen-rl")),
    Claim(13, "Two kinds of rejection filter each matter: the judge, and readability.",
          "no figure: both filters are described (v1, section 2.3.3)",
          (Shown("dev3/open/agrees", "open questions right: dev3"),
           Shown("dev3-no-judge/open/agrees", "without the judge"),
           Shown(f"dev3/{_READABLE}", "readable: dev3"), Shown(f"dev3-no-filters/{_READABLE}", "without the filters"),
           Shown(f"dev3/{_CONSISTENT}", "language consistency: dev3"),
           Shown(f"dev3-no-filters/{_CONSISTENT}", "without the filters")),
          (Contrast("by the judge", _minus("dev3/open/agrees", "dev3-no-judge/open/agrees")),
           Contrast("by readability", _minus(f"dev3/{_READABLE}", f"dev3-no-filters/{_READABLE}"))),
          ("dev3", "dev3-no-judge", "dev3-no-filters")),
)})
"""Number -> claim."""

BESIDE: Mapping[Number, Claim] = MappingProxyType({claim.number: claim for claim in (
    Claim("clip", "The clip of 10 serves better than PPO's usual 0.2.",
          "no figure: a lower clip truncates the gradients of many tokens and degrades the model (v2, section 3.2.1)",
          _shown("reasoning", "dev2", "dev2-small-clip"),
          (Contrast("by the wide clip", _minus("dev2/reasoning", "dev2-small-clip/reasoning")),),
          ("dev2", "dev2-small-clip")),
)})
"""Name -> a claim that is not among the thirteen."""

KNOWN: Mapping[Number, Claim] = MappingProxyType({**CLAIMS, **BESIDE})
