"""The training loop, its checkpoints and its evaluations.

    for each step:  windows of (seed, step) -> loss -> gradients -> clip -> optimizer at the rate of the step
    now and then:   a row of metrics.jsonl; evaluation, curves, a sample story, a checkpoint

All that a step depends on is the weights, the optimizer's state and the number of the step; so a run that was
stopped and resumed is the run that was not, bit for bit on CPU. Nothing waits for the device between two rows
of the log. No thread prepares batches: at the reference size drawing one takes half a millisecond, a step
about a second on two CPU cores.
"""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lm import checkpoint as ckpt
from lm.cli import escape
from lm.config import Config, ConfigError, differences
from lm.data import Sampler, TokenFile, TokenFileError, check_length, to_device
from lm.devices import memory_mb, peak_flops, synchronize
from lm.evaluation import Evaluation, count_bytes, evaluate
from lm.folders import CheckpointError, replace_file, steps
from lm.model import TransformerLM
from lm.optim import clip_gradients, make_optimizer, rate_factor
from lm.plot import draw, read_metrics
from lm.processes import average, largest, rank, world_size
from lm.runlog import Metrics, say, show_progress
from lm.sampling_settings import Sampling
from lm.text import stream_text
from lm.tokenizer import find_tokenizer

COUNTERS = ("step", "loss_count", "best", "elapsed_s")  # attributes that a checkpoint's state holds
RESUMED = (*COUNTERS, "config", "identity", "loss_sum", "threads")


class Interrupted(Exception):  # noqa: N818 - not an error
    """The run was asked to stop by a signal."""


class DivergedError(RuntimeError):
    """The loss or the gradient is no longer a finite number."""


class Trainer:
    """A run: model, data, optimizer, and the folder they are kept in; UserError if these do not fit."""

    def __init__(self, config: Config, run: Path, device: torch.device) -> None:
        self.config, self.run, self.device = config, run, device
        model, data, settings = config.model, config.data, config.run
        shared = f"{world_size()} processes x {settings.accumulate} micro-batches"
        fits = data.batch_size % (world_size() * settings.accumulate) == 0
        ConfigError.unless(fits, f"`--batch-size` {data.batch_size} is not a multiple of {shared}")
        if data.train_bin is None or data.valid_bin is None:
            raise ConfigError("give both `--train-bin` and `--valid-bin`")
        self.train_tokens = TokenFile(data.train_bin, dtype=data.dtype, vocab_size=model.vocab_size)
        self.valid_tokens = TokenFile(data.valid_bin, dtype=data.dtype, vocab_size=model.vocab_size)
        digests = {self.train_tokens.tokenizer_sha256, self.valid_tokens.tokenizer_sha256} - {None}
        other = f"{self.train_tokens.name} and {self.valid_tokens.name} were made with different tokenizers"
        TokenFileError.unless(len(digests) < 2, other)
        num_tokens, length = self.train_tokens.num_tokens, model.context_length
        check_length(self.valid_tokens.name, self.valid_tokens.num_tokens, length)
        self.sampler = Sampler(num_tokens, length, data.batch_size, settings.seed, data.sampler)
        torch.manual_seed(settings.seed)
        self.model = TransformerLM(model).to(device)
        self.model.checkpoint_activations = settings.checkpoint_activations
        self.forward: Any = self.model  # may be replaced by what computes the same, compiled or distributed
        self.optimizer = make_optimizer(self.model, config.optim)
        found = find_tokenizer(data.tokenizer, self.train_tokens, run / "tokenizer")
        self.tokenizer, self.tokenizer_note = found
        self.byte_lengths = count_bytes(self.tokenizer, model.vocab_size) if self.tokenizer else None
        self.tokenizer_sha256 = self.tokenizer.sha256 if self.tokenizer else next(iter(digests), None)
        self.metrics = Metrics(run / "metrics.jsonl", rank() == 0, settings.tensorboard)
        # what has to be equal for a checkpoint to be continued
        self.identity = {f"model.{k}": v for k, v in asdict(model).items() if k != "attention"}
        self.identity |= {f"train data {k}": v for k, v in self.train_tokens.fingerprint().items()}
        self.identity |= {"optimizer": config.optim.optimizer, "seed": settings.seed}
        self.identity |= {"batch_size": data.batch_size, "sampler": data.sampler}
        self.peak_flops = math.nan  # a second; measured when training begins
        self.step = 0
        self.loss_sum = torch.zeros((), device=device)
        self.loss_count = 0
        self.best: Sequence[Any] | None = None  # lowest validation loss and its step
        self.elapsed_s = 0.0
        self.stop_signal = 0
        self.save_failed = False

    # -- checkpoints --

    def save(self) -> None:
        """Write a checkpoint; if that fails twice, say so and go on."""
        average(self.loss_sum)
        if rank() > 0:
            return
        loss_sum = float(self.loss_sum)
        self.check_finite("loss", loss_sum)
        state = {
            **{name: getattr(self, name) for name in COUNTERS},
            "config": asdict(self.config),
            "identity": self.identity,
            "tokenizer_sha256": self.tokenizer_sha256,
            "loss_sum": loss_sum,
            "threads": torch.get_num_threads(),
            "device": self.device.type,
            "num_parameters": self.model.num_parameters(),
        }
        optimizer = {**self.optimizer.state, "random_state": torch.get_rng_state()}
        weights: dict[str, Tensor] = dict(self.model.named_parameters())
        for attempt in (1, 2):
            try:
                ckpt.save(self.run, ckpt.Checkpoint(model=weights, optimizer=optimizer, state=state))
                ckpt.prune(self.run, self.config.run.keep_last, self.best[1] if self.best else None)
                return
            except OSError as error:
                say(f"warning: no checkpoint at step {self.step}: {error.strerror} (attempt {attempt})")
        self.save_failed = True

    def restore(self, mode: str) -> None:
        """Continue from the newest checkpoint; with "auto" from the newest whole one, or from the start."""
        folders = steps(self.run)[::-1]
        if not folders and mode != "auto":
            raise CheckpointError(f"no checkpoint in {self.run}; `--resume auto` would begin anew")
        for folder in folders:
            try:
                held = ckpt.load(folder)
            except (CheckpointError, OSError) as error:
                if mode != "auto":
                    raise
                say(f"WARNING: {error}; falling back to the checkpoint before it")
                continue
            self.continue_from(folder, held)
            return
        say("no checkpoint to resume from: starting from the beginning")
        self.metrics.keep_until(0)

    def continue_from(self, folder: Path, held: ckpt.Checkpoint) -> None:
        """Take over weights, optimizer, sums and random state."""
        state = held.state
        if state.get("imported"):
            self.begin_with(folder, held)
            return
        if changed := differences(state.get("identity", {}), self.identity):
            raise CheckpointError("\n  - ".join([f"{folder} is of another run:", *changed]))
        if missing := [name for name in RESUMED if name not in state]:
            raise CheckpointError(f"{folder} is no checkpoint of a run: its state has no {missing[0]}")
        held_config = state["config"] if isinstance(state["config"], dict) else {}
        before = {k: v for part in held_config.values() if isinstance(part, dict) for k, v in part.items()}
        for line in differences(before, self.config.flat()):
            say(f"changed since the checkpoint: {line}")
        ckpt.load_weights(self.model, held.model, folder)
        torch.set_rng_state(held.optimizer.pop("random_state"))
        if held.optimizer.keys() != self.optimizer.state.keys():
            raise CheckpointError(f"{folder}: the optimizer's state is of other parameters")
        for name, tensor in held.optimizer.items():
            self.optimizer.state[name].copy_(tensor)
        for name in COUNTERS:
            setattr(self, name, state[name])
        self.optimizer.num_steps = self.step
        self.loss_sum.fill_(state["loss_sum"])
        self.metrics.keep_until(self.step)
        if state["threads"] != torch.get_num_threads():
            say("other number of threads than before: the loss will be close, not equal in the last bit")
        say(f"resumed   {folder} at step {self.step}")

    def begin_with(self, folder: Path, held: ckpt.Checkpoint) -> None:
        """Take over the weights of another program's model, which is trained from step 0."""
        digests = {held.state.get("tokenizer_sha256"), self.tokenizer_sha256} - {None}
        if len(digests) > 1:
            name = self.train_tokens.name
            raise TokenFileError(f"{name} was made with another tokenizer than the model in {folder}")
        ckpt.load_weights(self.model, held.model, folder)
        self.metrics.keep_until(0)
        say(f"begins    with the imported weights of {folder}")

    # -- training --

    def train_step(self) -> Tensor:
        """Do one optimizer step; return the gradient norm, on the device."""
        accumulate, size = self.config.run.accumulate, world_size()
        length = self.config.model.context_length + 1
        windows = self.train_tokens.windows(self.sampler.starts(self.step), length)
        micro_batches = windows.reshape(accumulate, size, -1, length)
        for index, part in enumerate(micro_batches[:, rank()]):
            inputs, targets = to_device(part, self.device)
            more = index + 1 < accumulate  # only the last backward pass of a step averages over processes
            with self.forward.no_sync() if more and size > 1 else nullcontext():
                loss = self.forward(inputs, targets) / accumulate
                loss.backward()
            self.loss_sum += loss.detach()
        norm = clip_gradients(self.model.parameters(), self.config.optim.grad_clip)
        self.optimizer.step(rate_factor(self.step, self.config.optim))
        self.optimizer.zero_grad()
        self.step += 1
        self.loss_count += 1
        return norm

    @property
    def last_lr(self) -> float:
        """The learning rate of the step before."""
        return self.config.optim.lr * rate_factor(self.step - 1, self.config.optim)

    def check_finite(self, what: str, value: float) -> None:
        """Raise DivergedError if a number is not finite."""
        if not math.isfinite(value):
            raise DivergedError(
                f"{what} is not finite at step {self.step} (lr {self.last_lr:.2e}, first window at token "
                f"{self.sampler.starts(self.step - 1)[0]}); the last checkpoint is kept. "
                "Try a lower `--lr`, more `--warmup-iters`, or `--matmul fp32`"
            )

    def log(self, norm: Tensor, num_steps: int, seconds: float) -> None:
        """Write and show a row of the last steps; the only place in the loop that waits for the device."""
        average(self.loss_sum)
        row = {"step": self.step, "loss": float(self.loss_sum) / self.loss_count}
        row |= {"lr": self.last_lr, "grad_norm": float(norm)}
        self.check_finite("loss", row["loss"])
        self.check_finite("gradient", row["grad_norm"])
        rate = num_steps * self.config.data.batch_size * self.config.model.context_length / seconds
        flops = rate * self.model.flops_per_token() / world_size()
        # A machine that was busy while the peak was measured can do more.
        self.peak_flops = max(self.peak_flops, flops)
        mfu = round(flops / self.peak_flops, 3)
        row |= {"tokens_per_s": round(rate), "mfu": mfu, "memory_mb": memory_mb(self.device)}
        row |= {"epoch": round(self.sampler.epoch(self.step), 4), "elapsed_s": round(self.elapsed_s, 2)}
        self.loss_sum.zero_()
        self.loss_count = 0
        self.metrics.write(row)
        left = self.config.run.max_iters - self.step
        on_cpu = self.device.type == "cpu"
        show_progress(row, self.config.run.max_iters, left * seconds / num_steps, on_cpu=on_cpu)

    def run_steps(self) -> None:
        """Train to the last step, logging, evaluating and saving on the way.

        Raises:
            Interrupted: a signal came; the checkpoint is written.
            DivergedError: loss or gradient not finite; nothing was saved over.
        """
        settings = self.config.run
        self.peak_flops = peak_flops(self.device)
        mark_s, mark_step = time.monotonic(), self.step
        while self.step < settings.max_iters:
            norm = self.train_step()
            last = self.step == settings.max_iters
            self.stop_signal = largest(self.stop_signal)
            if self.step % settings.log_every == 0 or last:
                synchronize(self.device)
                seconds = time.monotonic() - mark_s
                self.elapsed_s += seconds
                self.log(norm, self.step - mark_step, max(seconds, 1e-9))
                mark_s, mark_step = time.monotonic(), self.step
            if self.step % settings.eval_every == 0 or last:
                if rank() == 0:
                    self.evaluate_and_show()
                self.save()
                mark_s, mark_step = time.monotonic(), self.step
            elif self.stop_signal:
                self.save()
            self.poll()

    def poll(self) -> None:
        """Raise Interrupted if a signal has come."""
        if self.stop_signal:
            raise Interrupted

    def evaluate_and_show(self) -> None:
        """Evaluate on a fixed sample of the validation file, draw the curves, write a sample story."""
        with self.optimizer.averaged():
            result = self.evaluate(num_windows=self.config.run.eval_iters * self.config.data.batch_size)
            self.write_sample()
        self.check_finite("validation loss", result.loss)
        if self.best is None or result.loss < self.best[0]:
            self.best = (result.loss, self.step)
        self.metrics.write({"step": self.step, **result.row("valid")})
        say(f"step {self.step}: validation {result}" + ("  (best)" if self.best[1] == self.step else ""))
        try:
            draw(self.run)
        except OSError as error:
            say(f"warning: curves not drawn: {error}")

    def evaluate(self, **options: Any) -> Evaluation:
        """Evaluate on the validation file; see `evaluate.evaluate`."""
        return evaluate(self.model, self.valid_tokens, self.device, byte_lengths=self.byte_lengths, **options)

    def write_sample(self) -> None:
        """Write a story to samples/, and its first line to the screen."""
        prompt, num_tokens = self.config.run.prompt, self.config.run.sample_tokens
        if self.tokenizer is None or num_tokens == 0:
            return
        try:
            how = Sampling(temperature=0.8, top_p=0.95)
            story = prompt + "".join(stream_text(self.model, self.tokenizer, prompt, num_tokens, how))
            path = self.run / "samples" / f"step-{self.step:08d}.txt"
            path.parent.mkdir(exist_ok=True)
            replace_file(path, (story + "\n").encode())
            first = escape(" ".join(story.split()))
            say(f"  {first[:76]}{'…' if len(first) > 76 else ''}")
        except (OSError, ValueError) as error:
            say(f"warning: no sample: {error}")

    def finish(self) -> Evaluation:
        """Evaluate on the whole validation file and add the result to the metrics, once."""
        with self.optimizer.averaged():
            result = self.evaluate(poll=self.poll)
        rows = read_metrics(self.metrics.path)
        if not any("whole_valid_loss" in row and row["step"] == self.step for row in rows):
            self.metrics.write({"step": self.step, **result.row("whole_valid")})
        return result
