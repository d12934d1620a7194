"""TRL's GRPO step: trl.GRPOTrainer with transformers' `generate`, on PyTorch.

Configuration: float32, scaled-dot-product attention, a dynamic cache, no gradient checkpointing (TRL's default is on),
no mixed precision (its default on CPU is bfloat16), beta 0 and so no reference model, one update a rollout and so no
separate pass for old log-probabilities, nothing logged or saved. The samples are trained on in `MICRO_BATCHES` parts.

Generation: `GRPOTrainer._generate_single_turn`, from prompt ids to completion ids. Training: the step without what
prepares its inputs (generation, decoding to text, rewards, advantages). Whole step: from on_step_begin to on_step_end.
"""

from __future__ import annotations

import os
import time

import torch
import transformers
import trl
import workload
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback

MICRO_BATCHES = int(os.environ.get("TRL_MICRO_BATCHES", "1"))


class Stopwatch(TrainerCallback):
    """Opens a Step when the trainer begins one, and closes it when the weights are updated."""

    def __init__(self):
        self.steps: list[workload.Step] = []
        self.prepared = 0.0

    def on_step_begin(self, *args, **kwargs):
        """Starts the clock of a step."""
        self.steps.append(workload.Step())
        self.prepared, self.began = 0.0, time.perf_counter()

    def on_step_end(self, *args, **kwargs):
        """Stops it; what was not preparation was training."""
        step = self.steps[-1]
        step.step_seconds = time.perf_counter() - self.began
        step.train_seconds = step.step_seconds - self.prepared

    def watch(self, trainer) -> None:
        """Wraps the trainer's preparation and generation."""
        prepare, generate = trainer._prepare_inputs, trainer._generate_single_turn

        def timed_prepare(batch):
            began = time.perf_counter()
            out = prepare(batch)
            self.prepared += time.perf_counter() - began
            return out

        def timed_generate(prompt_ids, *args, **kwargs):
            workload.check_prompts([len(ids) for ids in prompt_ids])
            with workload.clock(self.steps[-1], "generate_seconds"):
                out = generate(prompt_ids, *args, **kwargs)
            self.steps[-1].count([len(ids) for ids in out[0]])
            return out

        trainer._prepare_inputs, trainer._generate_single_turn = timed_prepare, timed_generate
        trainer.add_callback(self)


def share_of_even_ids(completions, completion_ids, **kwargs) -> list[float]:
    """TRL's form of workload.reward."""
    return [workload.reward(ids) for ids in completion_ids]


def make_trainer(args, model: workload.Model, load: workload.Load, path):
    """The GRPOTrainer of a load."""
    stop = list(workload.stop_ids(model, load))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(path / "tokenizer.json"), eos_token="<end>",
                                        pad_token="<pad>", padding_side="left")
    policy = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    policy.generation_config.eos_token_id = stop
    samples = workload.PROMPTS * workload.GROUP
    config = trl.GRPOConfig(
        output_dir=str(args.folder / "trl-output"), use_cpu=True, bf16=False, fp16=False, seed=args.seed,
        gradient_checkpointing=False, per_device_train_batch_size=samples // MICRO_BATCHES,
        gradient_accumulation_steps=MICRO_BATCHES, num_generations=workload.GROUP, num_iterations=1,
        max_completion_length=load.max_new_tokens, max_steps=workload.WARMUP + args.steps, beta=0.0, loss_type="grpo",
        temperature=1.0, learning_rate=workload.LEARNING_RATE, lr_scheduler_type="constant",
        adam_beta1=workload.ADAM["b1"], adam_beta2=workload.ADAM["b2"], weight_decay=workload.ADAM["weight_decay"],
        max_grad_norm=workload.CLIP_NORM, logging_strategy="no", save_strategy="no", report_to="none",
        disable_tqdm=True, dataloader_pin_memory=False,
        use_transformers_continuous_batching=bool(os.environ.get("TRL_CONTINUOUS")))
    data = Dataset.from_list([{"prompt": workload.words(ids)} for ids in workload.prompts(model)])
    return trl.GRPOTrainer(policy, share_of_even_ids, args=config, train_dataset=data, processing_class=tokenizer)


def main() -> None:
    """Runs the steps and prints the worker's line."""
    args = workload.arguments()
    torch.set_num_threads(workload.threads())
    transformers.utils.logging.set_verbosity_error()
    model, load = workload.MODELS[args.model], workload.LOADS[args.load]
    trainer = make_trainer(args, model, load, workload.checkpoint(args.model, args.folder))
    stopwatch = Stopwatch()
    stopwatch.watch(trainer)
    trainer.train()
    versions = {"trl": trl.__version__, "torch": torch.__version__, "transformers": transformers.__version__}
    workload.emit("trl", args, stopwatch.steps, versions=versions, parameters=trainer.model.num_parameters(),
                  threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
