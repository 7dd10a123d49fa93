"""Fine-tuning the UNet and training the fuser on cached embeddings (section 2, section 3, A.3).

Weights, AdamW's moments and the loss are fp32; a lower precision is autocast's alone.
"""

import json
import math
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from accelerate import Accelerator
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.optimization import get_cosine_schedule_with_warmup
from torch import Tensor, nn

from recipevis import diffusion, store
from recipevis.backbone import Backbone
from recipevis.batches import Batch, Batches
from recipevis.conditioning import Conditioner, Embedded
from recipevis.cycle import CycleLoss, sample_weights
from recipevis.errors import InputError, ParameterError
from recipevis.fusers import hidden_width
from recipevis.parameters import Cycle, Train
from recipevis.progress import meter
from recipevis.randomness import seeded

HISTORY = ("step", "loss", "denoising", "cycle", "learning_rate", "validation_loss")


class Denoiser(nn.Module):
    """Fuser and UNet: the part that is trained."""

    def __init__(self, conditioner: Conditioner, unet: UNet2DConditionModel):
        super().__init__()
        self.conditioner, self.unet = conditioner, unet

    def forward(self, noisy: Tensor, timesteps: Tensor, embedded: Embedded) -> Tensor:
        """The UNet's prediction [b, 4, h, w] for noisy latents [b, 4, h, w] at timesteps [b]."""
        return self.unet(noisy, timesteps, encoder_hidden_states=self.conditioner(embedded)).sample


@dataclass(frozen=True)
class Losses:
    """The pieces of one step's loss, scalars."""

    denoising: Tensor
    cycle: Tensor  # not yet weighted


def losses(
    denoiser: nn.Module,
    batch: Batch,
    scheduler: DDPMScheduler,
    cycle: CycleLoss | None = None,
    cycle_images: int | None = None,
) -> Losses:
    """Mean squared error of the prediction, and L_cyc, of one batch.

    Args:
        denoiser: `Denoiser`.
        batch: on the denoiser's device.
        scheduler: the backbone's noise schedule.
        cycle: the cycle loss; None: left out.
        cycle_images: at most so many images of the batch for L_cyc; None: all.
    """
    noisy = scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
    prediction = denoiser(noisy, batch.timesteps, batch.embedded).float()
    wanted = diffusion.target(scheduler, batch.latents, batch.noise, batch.timesteps)
    denoising = nn.functional.mse_loss(prediction, wanted)
    if cycle is None:
        return Losses(denoising, torch.zeros_like(denoising))
    weights = sample_weights(cycle.eligible(batch.timesteps, batch.text_dropped), batch.priorities, cycle_images)
    return Losses(denoising, cycle(noisy, prediction, batch.timesteps, batch.text_projected, weights))


class Trainer:
    """A training run that can be stopped and resumed.

    Args:
        denoiser: what is trained; its weights stay fp32.
        scheduler: the backbone's noise schedule.
        batches: of the subsets `training` and `validation`.
        settings: the parameters `train`.
        device: where it runs.
        cycle: the cycle loss; None: off.
        cycle_settings: the parameters `cycle`.

    Raises:
        ParameterError: the precision isn't to be had on this device.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        scheduler: DDPMScheduler,
        batches: dict[str, Batches],
        settings: Train,
        device: torch.device,
        cycle: CycleLoss | None,
        cycle_settings: Cycle,
    ):
        _check_precision(settings.precision, device)
        self._accelerator = Accelerator(
            cpu=device.type == "cpu", mixed_precision={"fp32": "no"}.get(settings.precision, settings.precision)
        )
        self._scheduler, self._settings = scheduler, settings
        self._training, self._validation = batches["training"], batches["validation"]
        self._cycle, self._cycle_settings = cycle, cycle_settings
        optimizer = torch.optim.AdamW(_parameter_groups(denoiser, settings), weight_decay=settings.weight_decay)
        self._denoiser, self._optimizer = self._accelerator.prepare(denoiser, optimizer)
        self._rate = get_cosine_schedule_with_warmup(self._optimizer, settings.warmup_steps, settings.steps)
        self._accelerator.register_for_checkpointing(self._rate)

    def run(self, work: Path) -> pd.DataFrame:
        """Train to the last step, resuming from the newest checkpoint in `work`, and return the history.

        Args:
            work: a folder that survives an interruption.

        Returns:
            A row a step with the columns `HISTORY`; the validation loss is missing where it wasn't taken.

        Raises:
            ParameterError: the loss is no number any more.
        """
        history = self._resume(work)
        steps = self._settings.steps
        with meter("train", steps, len(history)) as progress:
            for step in range(len(history), steps):
                history.append(self._step(step))
                done = step + 1
                if done % self._settings.validate_every == 0 or done == steps:
                    history[-1]["validation_loss"] = self.validation_loss()
                if done % self._settings.checkpoint_every == 0 or done == steps:
                    self._save(work, history)
                progress.advance(1, f"loss {history[-1]['loss']:.4f}")
        return pd.DataFrame(history, columns=HISTORY)

    def _step(self, step: int) -> dict[str, float]:
        settings = self._settings
        batch = self._training.training(step, settings.batch_size, settings).to(self._accelerator.device)
        with self._accelerator.autocast():
            pieces = losses(self._denoiser, batch, self._scheduler, self._cycle, self._cycle_settings.images)
        loss = pieces.denoising + self._cycle_settings.weight * pieces.cycle
        self._accelerator.backward(loss)
        if settings.gradient_clip is not None:
            self._accelerator.clip_grad_norm_(self._denoiser.parameters(), settings.gradient_clip)
        rate = self._rate.get_last_lr()[0]
        self._optimizer.step()
        self._rate.step()
        self._optimizer.zero_grad()
        values = (step, loss.item(), pieces.denoising.item(), pieces.cycle.item(), rate, None)
        if not math.isfinite(values[1]):
            raise ParameterError(f"the loss is {values[1]} at step {step}: lower train.learning_rate")
        return dict(zip(HISTORY, values, strict=True))

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Mean denoising loss over the first `train.validation_images` triplets, on fixed noise and timesteps."""
        total, settings = 0.0, self._settings
        count = min(settings.validation_images, len(self._validation))
        for first in range(0, count, settings.batch_size):
            batch = self._validation.validation(first, min(settings.batch_size, count - first))
            with self._accelerator.autocast():
                piece = losses(self._denoiser, batch.to(self._accelerator.device), self._scheduler).denoising
            total += piece.item() * len(batch.timesteps)
        return total / count

    def _save(self, work: Path, history: list[dict[str, float]]) -> None:
        """Write a checkpoint beside, rename it, and only then remove the older ones."""
        folder, beside = work / f"checkpoint-{len(history):09d}", work / "unfinished"
        shutil.rmtree(beside, ignore_errors=True)
        self._accelerator.save_state(str(beside))
        store.write_json(beside / "history.json", history)
        beside.rename(folder)
        for older in sorted(work.glob("checkpoint-*"))[:-1]:
            shutil.rmtree(older)

    def _resume(self, work: Path) -> list[dict[str, float]]:
        """Load the newest checkpoint, if there is one, and return the history up to it."""
        checkpoints = sorted(work.glob("checkpoint-*"))
        if not checkpoints:
            return []
        self._accelerator.load_state(str(checkpoints[-1]))
        return json.loads((checkpoints[-1] / "history.json").read_text(encoding="utf-8"))


def new_conditioner(
    backbone: Backbone, fuser: str, hidden: int | str, residual: bool, condition_tokens: int, seed: int
) -> Conditioner:
    """A fuser with random weights that depend on the seed alone, sized by the backbone.

    Args:
        backbone: whose configurations give every size.
        fuser: a key of `fusers.FUSERS`.
        hidden: width of its hidden layer, or `matched` (see `fusers.hidden_width`).
        residual: attention adds to its queries.
        condition_tokens: tokens that condition the UNet.
        seed: of the weights.

    Raises:
        InputError: the fuser can't be had at the backbone's sizes.
    """
    shapes = backbone.shapes(condition_tokens)
    try:
        with seeded(seed, "fuser"):
            conditioner = Conditioner(fuser, hidden_width(fuser, shapes, hidden), residual, **asdict(shapes))
    except ValueError as error:
        raise InputError(f"fuser {fuser} does not fit {backbone.folder}: {error}") from error
    return conditioner.to(backbone.device)


def new_cycle_loss(backbone: Backbone, settings: Cycle, pixels: int) -> CycleLoss | None:
    """The cycle loss of the parameters `cycle`, or None where its weight is 0; `pixels` is the frames' size."""
    if not settings.weight:
        return None
    preprocessing = backbone.differentiable_preprocessing(pixels)
    return CycleLoss(backbone.vae, backbone.clip, backbone.scheduler, preprocessing, settings.max_amplification)


def summary(history: pd.DataFrame, validation_loss: float, denoiser: Denoiser) -> dict[str, float | int | None]:
    """What `training.json` holds; the loss is the mean of the last 100 steps, null without steps."""
    return {
        "steps": len(history),
        "loss": float(history["loss"].tail(100).mean()) if len(history) else None,
        "validation_loss": validation_loss,
        "fuser_parameters": sum(weight.numel() for weight in denoiser.conditioner.parameters()),
        "unet_parameters": sum(weight.numel() for weight in denoiser.unet.parameters()),
    }


def _check_precision(precision: str, device: torch.device) -> None:
    if precision == "fp16" and device.type == "cpu":
        raise ParameterError("train.precision = 'fp16': a CPU has fp32 and bf16 only")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ParameterError("train.precision = 'bf16': this GPU has fp32 and fp16 only")


def _parameter_groups(denoiser: Denoiser, settings: Train) -> list[dict]:
    """UNet and fuser, each with its own learning rate; `baseline` has no fuser weights."""
    groups = [{"params": list(denoiser.unet.parameters()), "lr": settings.learning_rate}]
    if fuser := list(denoiser.conditioner.parameters()):
        groups.append({"params": fuser, "lr": settings.fuser_learning_rate or settings.learning_rate})
    return groups
