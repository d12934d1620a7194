"""Preference rewards for too long: the reward rises, and what it stands for does not.

Paper: DeepSeek-R1, arXiv 2501.12948v2, section B.5 and figure 6: with the helpful reward model the reward keeps rising
while the score on Codeforces falls, which is why preference rewards have only the last 400 of 1,700 steps. The paper
has no truth about its general questions; the tiny world has (data/world/general.py), and no reward reads it.

    r1jax run experiments/ablations/reward_hacking.py:tiny           two CPU cores; needs dev3, helpful-rm, safety-rm
    python experiments/ablations/reward_hacking.py --store DIR       rewards and true quality side by side, as JSON
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from runpy import run_path

from r1jax.core.config import Experiment
from r1jax.core.settings import DataConfig
from r1jax.stages.hacking import rollouts
from r1jax.store import Store

SCALES = ("tiny",)
FINAL_RL = Path(__file__).parent.parent / "final_rl.py"


def get_config(scale: str) -> Experiment:
    """The experiment at one of SCALES."""
    return {"tiny": tiny}[scale]()


def tiny() -> Experiment:
    """The last part of experiments/final_rl.py from the first step on, and four times as long; every sample kept."""
    base = run_path(str(FINAL_RL))["tiny"]()
    last = base.rl.last_part
    return replace(
        base, name="reward-hacking", data=DataConfig(domains=last.domains),
        rl=replace(base.rl, steps=4 * last.steps, rewards=last.rewards, last_part=None,
                   keep_rollouts=base.rl.questions * base.rl.group_size))


def main(arguments: list[str] | None = None) -> None:
    """Prints the rows of a finished or running artifact as JSON, with the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", required=True)
    parser.add_argument("--artifact", default="reward-hacking")
    given = parser.parse_args(arguments)
    artifact = Store(given.store, create=False).get(given.artifact)
    json.dump({"command": "python experiments/ablations/reward_hacking.py --store DIR --artifact " + artifact.ref,
               "fingerprint": artifact.fingerprint, "rollouts": rollouts(artifact)}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
