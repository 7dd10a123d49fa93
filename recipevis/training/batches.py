"""Batches of triplets from the cached embeddings, with all their random numbers.

The triplet, its timestep, noise, latent sample and dropped conditions are a function of (seed, step, position in the
batch). So a run that is killed at any step and resumed ends with the same bits as an uninterrupted one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recipevis.config import TrainConfig
from recipevis.embeddings.reader import Embeddings
from recipevis.errors import InputError
from recipevis.model.conditions import StepEmbeddings
from recipevis.model.latents import LatentScaling
from recipevis.randomness import generator, permutation


@dataclass(frozen=True)
class Draws:
    """The random choices of one whole batch, made before any data is read. Every process makes all of them."""

    rows: np.ndarray  # the triplets, int [b]
    text_dropped: Tensor  # bool [b]
    image_dropped: Tensor  # bool [b]
    timesteps: Tensor  # int64 [b]
    priorities: Tensor  # uniform [b], the order in which samples are chosen for L_cyc
    generators: Sequence[torch.Generator]  # [b], of the latent sample and the noise


@dataclass(frozen=True)
class Batch:
    """The data of one step, or of a part of it. The first dimension of every tensor is the batch."""

    embeddings: StepEmbeddings  # after dropout; fp16 as cached, fp32 after `to`
    text_projected: Tensor  # [b, q]
    latents: Tensor  # [b, 4, h, w], scaled
    noise: Tensor  # [b, 4, h, w]
    timesteps: Tensor  # int64 [b]

    def to(self, device: torch.device) -> "Batch":
        """The same on a device, embeddings in fp32; asynchronous from pinned memory."""
        embeddings, *others = (getattr(self, field.name).to(device, non_blocking=True) for field in fields(self))
        return Batch(embeddings.to(torch.float32), *others)

    def pin_memory(self) -> "Batch":
        """The same in pinned memory."""
        return Batch(*(getattr(self, field.name).pin_memory() for field in fields(self)))


class Batches:
    """Makes batches of one subset's triplets from the cached embeddings.

    Args:
        embeddings: the cache.
        table: the subset's triplets.
        scaling: of the VAE's latents.
        timesteps: length of the noise schedule.
        seed: of all random choices.
    """

    def __init__(self, embeddings: Embeddings, table: pd.DataFrame, scaling: LatentScaling, timesteps: int, seed: int):
        self._cache, self._scaling, self._timesteps, self._seed = embeddings, scaling, timesteps, seed
        self._text = table["sentence"].map(embeddings.sentence_rows).to_numpy()
        self._image = table["image"].map(embeddings.image_rows).to_numpy()
        self._previous = table["previous_image"].map(embeddings.image_rows).to_numpy()
        # Row 0 is the empty sentence.
        self._null = tuple(
            torch.from_numpy(rows[0].copy()) for rows in (embeddings.text_tokens, embeddings.text_pooled)
        )
        self._epoch, self._order = -1, np.array([], dtype=np.int64)  # the latest epoch's order

    def __len__(self) -> int:
        """Number of triplets."""
        return len(self._text)

    def training(self, step: int, batch_size: int, settings: TrainConfig) -> Draws:
        """The batch of one step: triplets in a new random order each epoch, conditions dropped at random."""
        first = step * batch_size
        rows = [self._shuffled(first + position) for position in range(batch_size)]
        keys = [("training", step, position) for position in range(batch_size)]
        shares = (settings.dropout_text, settings.dropout_image, settings.dropout_both)
        return self._draws(rows, keys, self._seed, shares)

    def validation(self, first: int, count: int) -> Draws:
        """Triplets `first` to `first + count`, nothing dropped, noise and timesteps the same in every run."""
        rows = list(range(first, min(first + count, len(self))))
        return self._draws(rows, [("validation", row) for row in rows], 0, (0, 0, 0))

    def _shuffled(self, position: int) -> int:
        """The triplet at a position of the whole training."""
        epoch, place = divmod(position, len(self))
        if self._epoch != epoch:
            self._epoch, self._order = epoch, permutation(len(self), self._seed, "order", epoch)
        return int(self._order[place])

    def _draws(self, rows: list[int], keys: list[tuple], seed: int, shares: tuple[float, float, float]) -> Draws:
        """These triplets, each with the random numbers of its key."""
        generators = [generator(seed, *key) for key in keys]
        uniform = torch.stack([torch.rand(2, generator=random) for random in generators])
        timesteps = torch.stack([torch.randint(self._timesteps, (), generator=random) for random in generators])
        text_dropped, image_dropped = dropped(uniform[:, 0], *shares)
        return Draws(np.array(rows), text_dropped, image_dropped, timesteps, uniform[:, 1], generators)

    def load(self, draws: Draws, part: slice = slice(None)) -> Batch:
        """Read the data of a batch, or of a part of it. A sample is the same in whichever part it is read.

        Call it once for each sample of `draws`: it advances their generators.
        """
        cache, rows = self._cache, draws.rows[part]
        text, image, previous = self._text[rows], self._image[rows], self._previous[rows]
        arrays = (
            cache.text_tokens[text],
            cache.text_pooled[text],
            cache.image_tokens[previous],
            cache.image_pooled[previous],
        )
        latent = self._scaling.scale(_tensor(cache.latent_mean[previous]))
        embeddings = StepEmbeddings(*map(torch.from_numpy, arrays), latent).with_null(
            draws.text_dropped[part], draws.image_dropped[part], *self._null
        )
        mean, logvar = _tensor(cache.latent_mean[image]), _tensor(cache.latent_logvar[image])
        deviation = (logvar.double() / 2).exp().float()  # single precision differs between Intel and AMD CPUs
        sampled, noise = [], []
        for random in draws.generators[part]:
            sampled.append(torch.randn(mean.shape[1:], generator=random))
            noise.append(torch.randn(mean.shape[1:], generator=random))
        return Batch(
            embeddings,
            _tensor(cache.text_projected[text]),
            self._scaling.scale(mean + deviation * torch.stack(sampled)),
            torch.stack(noise),
            draws.timesteps[part],
        )


def dropped(uniform: Tensor, text: float, image: float, both: float) -> tuple[Tensor, Tensor]:
    """Which samples lose their sentence and which their image, for classifier-free guidance.

    Args:
        uniform: random numbers in [0, 1), [b].
        text, image, both: shares that lose the sentence alone, the image alone, both. Their sum is at most 1.

    Returns:
        two bool [b]: sentence dropped, image dropped.
    """
    only_text = uniform < text
    only_image = (uniform >= text) & (uniform < text + image)
    drops_both = (uniform >= text + image) & (uniform < text + image + both)
    return only_text | drops_both, only_image | drops_both


def by_subset(
    embeddings: Embeddings, table: pd.DataFrame, scaling: LatentScaling, timesteps: int, seed: int
) -> dict[str, Batches]:
    """Batches of the subsets `training` and `validation`; arguments as for `Batches`, of all triplets.

    Raises:
        InputError: a subset has no triplets.
    """
    batches = {}
    for subset in ("training", "validation"):
        rows = table[table["subset"] == subset]
        if rows.empty:
            raise InputError(
                f"data/triplets.csv: no {subset} triplet; data/survivors.json says what was dropped and why"
            )
        batches[subset] = Batches(embeddings, rows, scaling, timesteps, seed)
    return batches


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
