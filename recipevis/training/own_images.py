"""Previous images that the model drew itself, for training on what it will meet when it draws a whole recipe.

Teacher-forced training shows true previous images only; in a rollout, errors add up. So a share of the samples can be
trained on drawn ones (scheduled sampling: Bengio et al., 2015). They are drawn anew now and then, from the current
weights, without guidance.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recipevis import images
from recipevis.config import TrainConfig
from recipevis.model.conditions import StepEmbeddings
from recipevis.model.denoiser import Denoiser
from recipevis.model.latents import LatentScaling
from recipevis.model.networks import Backbone, encode_images
from recipevis.model.schedule import load_scheduler, sampling_scheduler
from recipevis.randomness import generator

_BATCH = 16  # images drawn at once


@dataclass
class OwnImages:
    """Drawn previous images: which triplets have one, and its embeddings in fp16, as in the cache.

    Attributes:
        since: first step of the training that uses them.
        rows: the triplets whose previous image was drawn, int [n].
        image: tokens, [n, p, v]; `image_pooled` [n, v]; `latent_mean` [n, 4, h, w], not scaled.
    """

    since: int
    rows: Tensor
    image: Tensor
    image_pooled: Tensor
    latent_mean: Tensor


@dataclass
class Pools:
    """The two newest sets of drawn images. A batch may be read one step ahead, so a new set is used one step later."""

    kept: list[OwnImages] = field(default_factory=list)

    def add(self, drawn: OwnImages) -> None:
        """Add a set, and forget all but the one before."""
        self.kept = [*self.kept[-1:], drawn]

    def at(self, step: int) -> OwnImages | None:
        """The set that a step uses; None: none is drawn yet."""
        return next((pool for pool in reversed(self.kept) if pool.since <= step), None)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"kept": [vars(pool) for pool in self.kept]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.kept = [OwnImages(**pool) for pool in state["kept"]]


class Drawing:
    """Draws the previous images of training triplets with the model as it is.

    Args:
        backbone: the frozen networks.
        seed: of all random choices.
        settings: the parameters `train`.
    """

    def __init__(self, backbone: Backbone, seed: int, settings: TrainConfig):
        self._networks, self._seed = backbone, seed
        self._count, self._steps = settings.own_previous_images, settings.own_previous_steps
        self._scheduler = sampling_scheduler(load_scheduler(backbone.folder / "scheduler").config, "ddpm")
        self._scaling = LatentScaling(backbone.vae.config, backbone.device)

    @torch.no_grad()
    def draw(
        self, denoiser: Denoiser, batches: Any, since: int, autocast: Callable[[], AbstractContextManager] = nullcontext
    ) -> OwnImages | None:
        """Draw previous images; None if no triplet has a triplet before it.

        Args:
            denoiser: with its current weights.
            batches: the `Batches` of the training triplets.
            since: first step that will use them.
            autocast: for the denoiser alone.
        """
        pairs = batches.with_triplet_before
        if not len(pairs):
            return None
        order = torch.randperm(len(pairs), generator=generator(self._seed, "own images", since))[: self._count]
        rows, before = pairs[order.numpy()].T  # triplets, and the triplets whose image is their previous image
        parts = list(self._encoded(denoiser, batches, before, since, autocast))
        return OwnImages(since, torch.from_numpy(rows.copy()), *(torch.cat(part) for part in zip(*parts, strict=True)))

    def _encoded(
        self, denoiser: Denoiser, batches: Any, rows: np.ndarray, since: int, autocast: Callable
    ) -> Iterator[tuple[Tensor, ...]]:
        """Tokens, pooled output and latent of the drawn images of triplets, batch by batch."""
        networks = self._networks
        for start in range(0, len(rows), _BATCH):
            chosen = rows[start : start + _BATCH]
            embeddings = batches.embeddings_of(chosen, since).to(networks.device).to(torch.float32)
            latents = self._denoised(denoiser, embeddings, chosen, since, autocast)
            pictures = list(images.from_vae(networks.vae.decode(self._scaling.unscale(latents)).sample))
            mean = networks.vae.encode(images.to_vae(pictures).to(networks.device)).latent_dist.mean
            encoded = *encode_images(networks.clip.vision_model, networks.processor, pictures), mean
            yield tuple(tensor.to("cpu", torch.float16) for tensor in encoded)

    def _denoised(
        self, denoiser: Denoiser, embeddings: StepEmbeddings, rows: np.ndarray, since: int, autocast: Callable
    ) -> Tensor:
        """Scaled latents of the images of triplets, [b, 4, h, w]."""
        scheduler, device = self._scheduler, self._networks.device
        random = [generator(self._seed, "own images", since, int(row)) for row in rows]
        latents = torch.stack([torch.randn(embeddings.latent.shape[1:], generator=one) for one in random]).to(device)
        scheduler.set_timesteps(self._steps)
        for timestep in scheduler.timesteps:
            with autocast():
                prediction = denoiser(latents, timestep.to(device), embeddings).float()
            latents = scheduler.step(prediction, timestep, latents, generator=random).prev_sample
        return latents
