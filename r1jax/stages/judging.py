"""Two evaluated models side by side: found in a store, and judged where questions have no checkable answer."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

import jax
from etils import epath

from r1jax.core import keys
from r1jax.core.errors import ConfigError, DataError
from r1jax.core.records import Problem
from r1jax.eval import results
from r1jax.eval import win_rate as winning
from r1jax.eval.results import Evaluation
from r1jax.rewards.chat import Chat, Request, Usage, in_process
from r1jax.rewards.endpoint import Endpoint
from r1jax.sampler.responses import respond
from r1jax.sampler.sampling import Sampling
from r1jax.stages.endpoints import endpoint_config, is_endpoint, kept_chat, spent
from r1jax.stages.policies import Policy, load_policy
from r1jax.store.evaluations import evaluation_folders, folder_name
from r1jax.store.files import write_json

PROMPT_STEP = 64  # tokens to a multiple of which questions are padded, so that calls share compiled programs
_SAMPLING = ("temperature", "top_p", "top_k", "max_new_tokens", "prompt")


def find_evaluation(root: str, model: str, suite: str, *, texts: bool = True) -> Evaluation:
    """The evaluation of a model, named as its folder or as name@version, on a suite, named as its folder.

    Args:
      texts: False leaves the responses' texts on the disk.

    Raises:
      DataError: there is none; the sentence names those there are.
    """
    folders = {f"{folder.parent.name} {folder.name}": folder for folder in evaluation_folders(root)}
    wanted = f"{model.replace('@', '-').replace(':', '-')} {suite}"
    if wanted not in folders:
        mine = [name for name in folders if name.startswith(wanted.partition(" ")[0] + " ")]
        if mine:
            raise DataError(f"{model} was not evaluated on {suite}: do it with r1jax eval. It was on "
                            f"{', '.join(name.partition(' ')[2] for name in mine)}.")
        near = difflib.get_close_matches(wanted, folders, 1, 0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise DataError(f"{root} has no evaluation of {model} on {suite}.{hint} It has (model and suite): "
                        f"{', '.join(folders) or 'none yet; make one with r1jax eval'}.")
    return results.load(folders[wanted], texts=texts)


def open_judge(reference: str, root: str, concurrency: int, key_variable: str,
               prices: tuple[float, float] = (0.0, 0.0)) -> tuple[Chat, Callable[[], Usage]]:
    """A judge, and what it has cost so far: an endpoint, whose replies are kept, a folder or an artifact."""
    if is_endpoint(reference):
        endpoint = Endpoint(endpoint_config(reference, concurrency, key_variable, prices))
        return kept_chat(endpoint, root, f"judge-{_slug(reference)}"), lambda: endpoint.usage
    return policy_chat(load_policy(root, reference)), Usage


def policy_chat(policy: Policy) -> Chat:
    """Our own engine as a chat model: what the messages say is one question, the system's first.

    A question that leaves no room for a reply in the model's context has an empty one that was cut off.
    """
    def generate(prompts, sampling: Request, seeds) -> list[tuple[str, bool]]:
        budget = min(sampling.max_tokens, policy.max_new_tokens)
        asked = [Problem(str(i), "general", "\n\n".join(content for _, content in messages), "")
                 for i, messages in enumerate(prompts)]
        lengths = [len(policy.prompt.ids(policy.tokenizer, problem.question)) for problem in asked]
        fitting = [i for i, length in enumerate(lengths) if length + budget <= policy.model.max_length]
        replies = [("", False)] * len(asked)
        if not fitting:
            return replies
        longest = max(lengths[i] for i in fitting)
        room = min(-(-longest // PROMPT_STEP) * PROMPT_STEP, policy.model.max_length - budget)
        with jax.set_mesh(policy.mesh):
            found = respond(policy.model, policy.params, policy.tokenizer, policy.prompt, [asked[i] for i in fitting],
                            keys.key_for(0, 0, "sample"), sampling=Sampling(policy.tokenizer.ends, sampling.temperature,
                                                                            sampling.top_p),
                            samples=1, max_new_tokens=budget, mesh=policy.mesh, slots=policy.slots,
                            max_prompt_tokens=room,
                            numbers=[i if seeds[i] is None else seeds[i] % 2**31 for i in fitting])
        for i, completion in zip(fitting, found.completions, strict=True):
            replies[i] = (completion.full_text, not completion.truncated)
        return replies

    return in_process(generate)


def win_rate(root: str, first: str, second: str, suite: str, judge: str, votes: int, concurrency: int,
             key_variable: str, prices: tuple[float, float] = (0.0, 0.0)) -> dict[str, Any]:
    """How often a judge prefers the first model's answers; of several samples of a question the first is judged.

    The result is written beside the first model's samples, with every question's outcome and votes.

    Raises:
      DataError: an evaluation that is not there, of other questions, unfinished, or without its questions.
      ConfigError: an odd number of votes.
    """
    if votes % 2:
        raise ConfigError(f"--votes={votes}: give an even number, so that each answer comes first as often.")
    ours, theirs = (find_evaluation(root, name, suite) for name in (first, second))
    for evaluation in (ours, theirs):
        if not evaluation.finished:
            raise DataError(f"{evaluation.settings['model']} on {suite} has {evaluation.kept} of {evaluation.asked} "
                            "samples: finish it with the same r1jax eval first.")
    if ours.settings.get("digest") != theirs.settings.get("digest"):
        raise DataError(f"{first} and {second} were asked other questions on {suite}: evaluate both on the same file.")
    common = [problem for problem in sorted(ours.rows) if problem in theirs.rows]
    if not common or any("question" not in ours.rows[problem][0] for problem in common):
        raise DataError(f"{first} and {second} have no question of {suite} in common; evaluate both on the same.")
    chat, usage = open_judge(judge, root, concurrency, key_variable, prices)
    rows = [(ours.rows[problem][0], theirs.rows[problem][0]) for problem in common]
    found = winning.win_rate(chat, [a["question"] for a, _ in rows], [a["text"] for a, _ in rows],
                             [b["text"] for _, b in rows], votes=votes)
    told = {"a": ours.settings["model"], "b": theirs.settings["model"], "suite": suite, "judge": judge, "votes": votes,
            "questions": len(common)} | found.to_dict() | spent(usage())
    told["warnings"] = [f"{key} differs: {ours.settings.get(key)} and {theirs.settings.get(key)}" for key in _SAMPLING
                        if ours.settings.get(key) != theirs.settings.get(key)]
    outcomes = [{"problem": problem, **vars(row)} for problem, row in zip(common, found.comparisons, strict=True)]
    path = epath.Path(ours.folder) / f"win-rate-{epath.Path(theirs.folder).parent.name}-by-{_slug(judge)}.json"
    write_json(path, told | {"comparisons": outcomes})
    return told | {"kept in": str(path)}


def _slug(judge: str) -> str:
    return folder_name(judge.rpartition("#")[2], "endpoint")
