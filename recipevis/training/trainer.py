"""Fine-tuning the UNet and training the fuser on cached embeddings (section 2, section 3, A.3).

Weights, AdamW's moments and the loss are fp32. A lower precision is used in autocast only.
"""

import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from diffusers import DDPMScheduler
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from recipevis.config import CycleConfig, TrainConfig
from recipevis.core import checkpoints, files
from recipevis.core.devices import check_training
from recipevis.core.progress import meter
from recipevis.core.training_log import TrainingLog
from recipevis.embeddings.reader import Embeddings
from recipevis.errors import InputError, ParameterError
from recipevis.fusers.base import count_weights, matched_hidden
from recipevis.model import adapters
from recipevis.model.conditions import Conditioner
from recipevis.model.denoiser import Denoiser, widen
from recipevis.model.latents import LatentScaling
from recipevis.model.networks import Backbone
from recipevis.model.schedule import load_scheduler
from recipevis.model.shapes import fuser_shapes
from recipevis.randomness import seeded
from recipevis.training.batches import Batch, Batches, by_subset
from recipevis.training.cycle_loss import CycleLoss, make_cycle_loss, sample_weights
from recipevis.training.losses import losses, predicted
from recipevis.training.own_images import Drawing

HISTORY = ("step", "loss", "denoising", "cycle", "learning_rate", "validation_loss")
_LOG_EVERY = 10
_BINS = 5  # of timesteps, for a tracker


class Trainer:
    """A training run on one process or several, which can be stopped and resumed.

    The processes share a batch, and each works through its share in `settings.accumulation` parts. All of them know the
    random choices of the whole batch, so the result is that of one process up to rounding. Checkpoints depend on
    neither number: a run may resume with others.

    Attributes:
        denoiser: what is trained; after `run`, the result.
        batches: of the subsets `training` and `validation`.
        cycle: the cycle loss; None: off.
        optimizer: AdamW.

    Args:
        denoiser: what to train; its weights stay fp32.
        scheduler: the noise schedule.
        batches: of the subsets `training` and `validation`.
        settings: the parameters `train`.
        device: where it runs.
        cycle: the cycle loss; None: off.
        cycle_settings: the parameters `cycle`.
        drawing: draws previous images; None: all are true ones.

    Raises:
        ParameterError: the device does not support this precision, or the batch can't be divided.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        scheduler: DDPMScheduler,
        batches: dict[str, Batches],
        settings: TrainConfig,
        device: torch.device,
        cycle: CycleLoss | None,
        cycle_settings: CycleConfig,
        drawing: Drawing | None = None,
    ):
        check_training(device, settings.precision, settings.processes)
        # DDP keeps gradients in the buckets that it averages, not in a second copy.
        parallel = DistributedDataParallelKwargs(gradient_as_bucket_view=True)
        self._accelerator = Accelerator(
            cpu=device.type == "cpu",
            mixed_precision={"fp32": "no"}.get(settings.precision, settings.precision),
            kwargs_handlers=[parallel],
            log_with=settings.log_with,
            project_dir=settings.log_with and files.user_path(f"logs/{settings.log_with}"),
        )
        self._micro_batch_size = _micro_batch_size(settings, self._accelerator.num_processes)
        self._scheduler, self._settings = scheduler, settings
        self._dropout = _effective_dropout(settings, denoiser.conditioner)
        self.batches, self.cycle, self._cycle_settings = batches, cycle, cycle_settings
        if settings.gradient_checkpointing:
            denoiser.unet.enable_gradient_checkpointing()
        if settings.compile:
            denoiser.compile()
        fused = settings.fused or None  # None leaves the choice to torch
        groups = _parameter_groups(denoiser, settings)
        optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=fused)
        optimizer.register_load_state_dict_pre_hook(partial(_with_implementation, fused))
        self.denoiser, self._pool = denoiser, ThreadPoolExecutor(2)
        self._trained = [weight for weight in denoiser.parameters() if weight.requires_grad]
        self._model, self.optimizer = self._accelerator.prepare(denoiser, optimizer)
        self._lr_scheduler = get_cosine_schedule_with_warmup(self.optimizer, settings.warmup_steps, settings.steps)
        self._accelerator.register_for_checkpointing(self._lr_scheduler)
        self._accelerator.register_save_state_pre_hook(_without_frozen_weights)
        self._drawing = drawing
        if drawing:
            self._accelerator.register_for_checkpointing(batches["training"].pools)
        self._ema = EMAModel(self._trained, decay=settings.ema) if settings.ema else None
        if self._ema:
            self._accelerator.register_for_checkpointing(self._ema)

    @property
    def writes(self) -> bool:
        """Whether this process, among those of the run, writes the results."""
        return self._accelerator.is_main_process

    def run(self, work: Path, log: TrainingLog | None = None) -> pd.DataFrame:
        """Train to the last step, resuming from the newest checkpoint in `work`.

        If `settings.ema` is set, the denoiser has the averaged weights afterwards.

        Args:
            work: a folder that survives an interruption.
            log: shows the run while it goes on; None: nothing does.

        Returns:
            the history: a row a step with the columns `HISTORY`; the validation loss is missing where it was not
                computed.

        Raises:
            ParameterError: a loss is not finite.
            KeyboardInterrupt: Ctrl-C; a run on one process saves a checkpoint first.
        """
        self._accelerator.wait_for_everyone()  # until the main process holds the work folder
        history = checkpoints.resume(self._accelerator, self.denoiser, work)
        if history and self._ema:
            self._ema.to(self._accelerator.device)
        if history and self.writes:
            print(f"train: resuming from step {len(history)}", flush=True)
        log = log or TrainingLog(None, HISTORY)
        settings, steps = self._settings, self._settings.steps
        alone = self._accelerator.num_processes == 1  # several would have to agree on the step at which they stop
        pending: list[tuple[Tensor, float]] = []  # losses still on the device: fetching them synchronises
        with (
            meter("train", steps, len(history)) as progress,
            checkpoints.interrupted(alone) as interrupted,
            log.following(self._accelerator, history),
        ):
            for step, parts in enumerate(self.loaded(len(history), steps), start=len(history)):
                pending.append(self.step(parts))
                done, last, stops = step + 1, step + 1 == steps, interrupted.is_set()
                validates = last or done % settings.validate_every == 0
                saves = last or done % settings.checkpoint_every == 0 or stops
                if validates or saves or len(pending) == _LOG_EVERY:
                    self._log(history, pending)
                    progress.advance(len(pending), f"loss {history[-1]['loss']:.4f}")
                    pending.clear()
                if validates:
                    bins = [torch.zeros(2, _BINS, dtype=torch.float64)] if log.tracks else []
                    loss = self.validation_loss(*bins)
                    history[-1]["validation_loss"] = _finite(loss, "validation loss", step)
                log.add(history)
                if validates and log.tracks:
                    self._track(log, step, *bins)
                if validates and self._drawing and not last:
                    self._draw(done + 1)
                if saves:
                    checkpoints.save(self._accelerator, work, history)
                if stops:
                    print(f"train: saved at step {done}", flush=True)
                    raise KeyboardInterrupt
        if self._ema:
            self._ema.copy_to(self._trained)
            self._ema = None
        return pd.DataFrame(history, columns=HISTORY)

    def summary(self, history: pd.DataFrame) -> dict[str, float | int | None]:
        """The content of `training.json`. The loss is the mean of the last 100 steps, null without steps."""
        return {
            "steps": len(history),
            "loss": float(history["loss"].tail(100).mean()) if len(history) else None,
            "validation_loss": float(history["validation_loss"].iloc[-1]) if len(history) else self.validation_loss(),
            "fuser_parameters": count_weights(self.denoiser.conditioner),
            "unet_parameters": count_weights(self.denoiser.unet, trained=True),
        }

    def loaded(self, first: int, end: int) -> Iterator[list[tuple[Batch, Tensor | None]]]:
        """`load` for the steps `first` to `end`, one step ahead if the device is not the CPU."""
        if self._accelerator.device.type == "cpu":
            yield from map(self.load, range(first, end))
            return
        with ThreadPoolExecutor(1) as ahead:
            following = [ahead.submit(self._pinned, step) for step in range(first, min(first + 1, end))]
            for step in range(first, end):
                parts = following.pop().result()
                if step + 1 < end:
                    following.append(ahead.submit(self._pinned, step + 1))
                yield parts

    def _pinned(self, step: int) -> list[tuple[Batch, Tensor | None]]:
        """`load`, in pinned memory if a CUDA device reads it."""
        parts = self.load(step)
        if self._accelerator.device.type != "cuda":
            return parts
        return [(batch.pin_memory(), weights) for batch, weights in parts]

    def load(self, step: int) -> list[tuple[Batch, Tensor | None]]:
        """This process's share of a step's batch, in parts, each with its samples' weights in L_cyc."""
        settings, weights = self._settings, None
        batches = self.batches["training"]
        draws = batches.training(step, settings.batch_size, self._dropout)
        if self.cycle:
            eligible = self.cycle.eligible(draws.timesteps, draws.text_dropped)
            weights = sample_weights(eligible, draws.priorities, self._cycle_settings.images)
        first, size = self._accelerator.process_index * settings.accumulation, self._micro_batch_size
        parts = [slice(i * size, (i + 1) * size) for i in range(first, first + settings.accumulation)]
        return [(batches.load(draws, part), None if weights is None else weights[part]) for part in parts]

    def step(self, parts: list[tuple[Batch, Tensor | None]]) -> tuple[Tensor, float]:
        """One optimizer step on the parts that `load` returns. A part without weights is trained without L_cyc.

        Returns:
            the denoising loss and L_cyc, [2] on the device, and the learning rate.
        """
        count = len(parts)
        # On a CPU two parts run at the same time, on a core each. With two, the sum of the gradients is the same in
        # either order; with more it is not, so those run one after the other.
        at_once = count == 2 and self._accelerator.device.type == "cpu" and self._accelerator.num_processes == 1
        backward = self._pool.map if at_once else map
        terms = sum(backward(partial(self._backward, count=count), range(1, count + 1), parts))
        if self._settings.gradient_clip is not None:
            self._accelerator.clip_grad_norm_(self._trained, self._settings.gradient_clip)
        rate = self._lr_scheduler.get_last_lr()[0]
        self.optimizer.step()
        self._lr_scheduler.step()
        self.optimizer.zero_grad()
        if self._ema:
            self._ema.step(self._trained)
        return terms, rate

    def _backward(self, number: int, part: tuple[Batch, Tensor | None], count: int) -> Tensor:
        """Add the gradient of part `number` of `count`; returns its shares of the two losses, [2]."""
        batch, weights = part
        with self._accelerator.no_sync(self._model) if number < count else nullcontext():
            with self._accelerator.autocast():
                cycle = None if weights is None else self.cycle
                batch, gamma = batch.to(self._accelerator.device), self._settings.min_snr_gamma
                pieces = losses(self._model, batch, self._scheduler, cycle, weights, gamma)
            # L_cyc is a sum over the whole batch, of which this is a part; gradients are averaged over processes.
            summed = pieces.cycle * (count * self._accelerator.num_processes)
            self._accelerator.backward((pieces.denoising + self._cycle_settings.weight * summed) / count)
        return torch.stack([pieces.denoising.detach(), summed.detach()]) / count

    def _draw(self, since: int) -> None:
        """Draw previous images that are used from this step on."""
        batches = self.batches["training"]
        drawn = self._drawing.draw(self.denoiser, batches, since, self._accelerator.autocast)
        if drawn is not None:
            batches.pools.add(drawn)

    def _log(self, history: list[dict[str, float]], pending: list[tuple[Tensor, float]]) -> None:
        """Move the losses of finished steps, averaged over the processes, into the history."""
        means = self._accelerator.reduce(torch.stack([pieces for pieces, _ in pending]), "mean").tolist()
        for (denoising, cycle), (_, rate) in zip(means, pending, strict=True):
            step = len(history)
            loss = _finite(denoising + self._cycle_settings.weight * cycle, "loss", step)
            history.append(dict(zip(HISTORY, (step, loss, denoising, cycle, rate, None), strict=True)))

    @torch.no_grad()
    def validation_loss(self, bins: Tensor | None = None) -> float:
        """Mean denoising loss over the first `train.validation_images` triplets, with fixed noise and timesteps.

        Args:
            bins: float64 [2, n]: the images' losses, summed in `n` equal ranges of timesteps, and their numbers are
                added to it.
        """
        batches, device = self.batches["validation"], self._accelerator.device
        count = min(self._settings.validation_images, len(batches))
        total, stride = 0.0, self._micro_batch_size * self._accelerator.num_processes
        with self._averaged():
            for first in range(self._micro_batch_size * self._accelerator.process_index, count, stride):
                batch = batches.load(batches.validation(first, min(self._micro_batch_size, count - first)))
                with self._accelerator.autocast():  # not through DDP: processes may have different numbers of batches
                    _, prediction, target = predicted(self.denoiser, batch.to(device), self._scheduler)
                    piece = nn.functional.mse_loss(prediction, target)
                total += piece.item() * len(batch.timesteps)
                if bins is not None:
                    each = (prediction - target).square().flatten(1).mean(1).double().cpu()
                    which = batch.timesteps * bins.shape[1] // self._scheduler.config.num_train_timesteps
                    bins.index_add_(1, which, torch.stack([each, torch.ones_like(each)]))
        total = torch.tensor(total, dtype=torch.float64, device="cuda" if device.type == "cuda" else "cpu")
        return self._accelerator.reduce(total, "sum").item() / count

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Within the block the denoiser has the averaged weights, if `settings.ema` is set."""
        if self._ema:
            self._ema.store(self._trained)
            self._ema.copy_to(self._trained)
        try:
            yield
        finally:
            if self._ema:
                self._ema.restore(self._trained)

    def _track(self, log: TrainingLog, step: int, bins: Tensor) -> None:
        """Show the validation loss by timestep, where there are images, and a drawn recipe."""
        where = "cuda" if self._accelerator.device.type == "cuda" else "cpu"
        sums, counts = self._accelerator.reduce(bins.to(where), "sum").tolist()
        width = self._scheduler.config.num_train_timesteps // len(sums)
        names = [f"validation_loss_by_timestep/{first * width:03d}" for first in range(len(sums))]
        means = {name: total / n for name, total, n in zip(names, sums, counts, strict=True) if n}
        with self._averaged():
            log.validated(step, means)


def new_conditioner(
    backbone: Backbone,
    fuser: str,
    options: Mapping[str, Any],
    condition_tokens: int,
    seed: int,
    condition: str = "replace",
    previous_latent: bool = False,
    first_latent: bool = False,
) -> Conditioner:
    """A conditioner with random weights that depend on the seed alone, sized by the backbone.

    Args:
        backbone: its configurations give every size.
        fuser: one of `config.FUSERS`.
        options: values of the fuser's options; `hidden` may be `matched`, see `fusers.base.matched_hidden`.
        condition_tokens: number of condition tokens.
        seed: of the weights.
        condition, previous_latent, first_latent: see `Conditioner`.

    Raises:
        InputError: the fuser can't be made at the backbone's sizes, or its tokens can't follow the sentence's.
        ParameterError: an option is not the fuser's, or out of range.
    """
    shapes = fuser_shapes(backbone.folder, backbone.folder / "clip", condition_tokens)
    if options.get("hidden") == "matched":
        options = {**options, "hidden": matched_hidden(fuser, shapes, options)}
    try:
        with seeded(seed, "fuser"):
            conditioner = Conditioner(
                fuser,
                dict(options),
                **asdict(shapes),
                condition=condition,
                previous_latent=previous_latent,
                first_latent=first_latent,
            )
    except ValueError as error:
        raise InputError(f"fuser {fuser} does not fit {backbone.folder}: {error}") from error
    return conditioner.to(backbone.device)


def new_trainer(
    backbone: Backbone,
    conditioner: Conditioner,
    triplets: pd.DataFrame,
    embeddings: Embeddings,
    settings: TrainConfig,
    cycle: CycleConfig,
    pixels: int,
    seed: int,
) -> Trainer:
    """A trainer of the backbone's UNet and a conditioner on cached embeddings.

    Where the conditioner adds the previous latent, the backbone's UNet is widened for it; where `settings.lora_rank` is
    set, it gets adapters.

    Args:
        backbone: the networks.
        conditioner: see `new_conditioner`.
        triplets: of both subsets.
        embeddings: of all their sentences and images.
        settings, cycle: the parameters `train` and `cycle`.
        pixels: height and width of the frames.
        seed: of all random choices.

    Raises:
        InputError: a subset has no triplet.
        ParameterError: see `Trainer`.
    """
    scheduler = load_scheduler(backbone.folder / "scheduler")
    scaling, timesteps = LatentScaling(backbone.vae.config), scheduler.config.num_train_timesteps
    batches = by_subset(embeddings, triplets, scaling, timesteps, seed)
    prepare_unet(backbone, conditioner, settings.lora_rank, seed)
    denoiser = Denoiser(conditioner, backbone.unet)
    loss = make_cycle_loss(backbone, scheduler, pixels, cycle.max_amplification) if cycle.weight else None
    drawing = Drawing(backbone, seed, settings) if settings.own_previous else None
    return Trainer(denoiser, scheduler, batches, settings, backbone.device, loss, cycle, drawing)


def prepare_unet(backbone: Backbone, conditioner: Conditioner, lora_rank: int | None, seed: int) -> None:
    """Widen the backbone's UNet for further latents, and add adapters to it, where either is asked for.

    Args:
        backbone: whose UNet is changed in place.
        conditioner: says which latents there are.
        lora_rank: of the adapters; None: none.
        seed: of the adapters' weights.
    """
    widen(backbone.unet, conditioner.input_channels(backbone.vae.config.latent_channels))
    if lora_rank:
        adapters.add(backbone.unet, lora_rank, seed)


def _effective_dropout(settings: TrainConfig, conditioner: Conditioner) -> TrainConfig:
    """The settings without the dropout that this model has no use for.

    A model that uses one condition only has nothing to drop but that one. It loses it in `dropout_both` of the samples,
    so that the prediction without any condition gets the same share of the training in every model.
    """
    unused = {"dropout_text": conditioner.uses_image, "dropout_image": conditioner.uses_text}
    return settings.model_copy(update={key: 0.0 for key, used in unused.items() if not used})


def _finite(value: float, name: str, step: int) -> float:
    if not math.isfinite(value):
        raise ParameterError(f"the {name} is {value} at step {step}: lower train.learning_rate")
    return value


def _micro_batch_size(settings: TrainConfig, processes: int) -> int:
    """Samples in one part of a process's share of a batch."""
    parts = processes * settings.accumulation
    if settings.batch_size % parts:
        raise ParameterError(
            f"train.batch_size = {settings.batch_size}: not divisible by {processes} processes times "
            f"{settings.accumulation} parts (train.accumulation)"
        )
    return settings.batch_size // parts


def _without_frozen_weights(models: list[nn.Module], states: list[dict[str, Tensor]], folder: str) -> None:
    """Leave frozen weights out of a checkpoint: with adapters it takes megabytes."""
    for model, state in zip(models, states, strict=True):
        for name, weight in model.named_parameters():
            if not weight.requires_grad:
                state.pop(name, None)


def _with_implementation(fused: bool | None, optimizer: torch.optim.Optimizer, saved: dict) -> dict:
    """A saved optimizer state for the implementation that is configured now: a run may resume with another."""
    return saved | {"param_groups": [group | {"fused": fused} for group in saved["param_groups"]]}


def _parameter_groups(denoiser: Denoiser, settings: TrainConfig) -> list[dict]:
    """UNet and fuser, each with its own learning rate; `baseline` has no fuser weights."""
    unet = [weight for weight in denoiser.unet.parameters() if weight.requires_grad]
    groups = [{"params": unet, "lr": settings.learning_rate}]
    if fuser := list(denoiser.conditioner.parameters()):
        groups.append({"params": fuser, "lr": settings.fuser_learning_rate or settings.learning_rate})
    return groups
