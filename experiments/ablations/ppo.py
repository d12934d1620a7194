"""PPO beside GRPO: a critic and generalised advantage estimation in the place of the group's mean.

Paper: DeepSeek-R1, version 2, appendix A.3 (figure 4, DeepSeek-Coder-V2-Lite on MATH): PPO with lambda 0.95, the value
that libraries default to, is considerably worse than GRPO; with lambda 1.0 it nearly equals it.

    r1jax run experiments/ablations/ppo.py:tiny --version lambda-1                                  two CPU cores
    r1jax run experiments/ablations/ppo.py:tiny --version lambda-0.95 --set rl.loss.critic.lam=0.95

Here (one seed, pass@1 on held-out Countdown after 64 steps): GRPO 92.9 %, lambda 1.0 90.0 %, lambda 0.95 6.4 %, with a
poor critic; 6.5 and 1.3 minutes on one core each. RESULTS.md.

The GRPO of the comparison is experiments/r1_zero.py:tiny: the same base, questions, samples, learning rate and steps.
PPO here has its critic as a head on the policy's states (no second model), which learns from the same rollouts.
"""

from dataclasses import replace
from pathlib import Path
from runpy import run_path

from r1jax.core.config import Experiment
from r1jax.losses.policy import ppo
from r1jax.models import presets

SCALES = ("tiny",)
R1_ZERO = Path(__file__).parent.parent / "r1_zero.py"


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """Lambda 1: every token of a response is credited with all of its reward, less what the critic expected."""
    base = run_path(str(R1_ZERO))["tiny"]()
    return replace(base, name="ppo", model=presets.tiny(heads_out=("value",)), rl=replace(base.rl, loss=ppo(lam=1.0)),
                   optim=replace(base.optim, critic_learning_rate=3e-3))
