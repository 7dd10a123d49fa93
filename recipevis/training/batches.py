"""What a training step is fed: triplets from the cached embeddings, with everything random about them.

All of it is drawn by (seed, step, position in the batch): which triplet, its timestep, noise, latent sample and
dropped conditions. So a run killed at any step and resumed ends with the same bits as an undisturbed one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recipevis.config import TrainConfig
from recipevis.embeddings.writer import Embeddings
from recipevis.errors import InputError
from recipevis.model.conditions import Embedded, dropped
from recipevis.randomness import generator, permutation


@dataclass(frozen=True)
class Draws:
    """What is random about one batch, before any data is read: every process knows it of the whole batch."""

    rows: np.ndarray  # the triplets, int [b]
    text_dropped: Tensor  # bool [b]
    image_dropped: Tensor  # bool [b]
    timesteps: Tensor  # int64 [b]
    priorities: Tensor  # uniform [b], who is taken for L_cyc
    generators: Sequence[torch.Generator]  # [b], of the latent sample and the noise


@dataclass(frozen=True)
class Batch:
    """What one step, or a part of it, is trained on; every tensor has the batch as its first dimension."""

    embedded: Embedded  # after dropout; fp16 as cached, until `to`
    text_projected: Tensor  # [b, q]
    latents: Tensor  # [b, 4, h, w], scaled
    noise: Tensor  # [b, 4, h, w]
    timesteps: Tensor  # int64 [b]

    def to(self, device: torch.device) -> "Batch":
        """The same on a device, the embeddings in fp32; from pinned memory without waiting for the device."""
        embedded, *others = (getattr(self, field.name).to(device, non_blocking=True) for field in fields(self))
        return Batch(embedded.to(torch.float32), *others)

    def pin_memory(self) -> "Batch":
        """The same in memory that a GPU can fetch from while it works."""
        return Batch(*(getattr(self, field.name).pin_memory() for field in fields(self)))


class Batches:
    """Draws batches of a subset's triplets from the cached embeddings.

    Args:
        embeddings: the cache.
        table: the subset's triplets.
        scaling_factor: of the VAE's latents.
        timesteps: length of the noise schedule.
        seed: of all draws.
    """

    def __init__(self, embeddings: Embeddings, table: pd.DataFrame, scaling_factor: float, timesteps: int, seed: int):
        self._cache, self._scaling, self._timesteps, self._seed = embeddings, scaling_factor, timesteps, seed
        self._text = table["sentence"].map(embeddings.sentence_rows).to_numpy()
        self._image = table["image"].map(embeddings.image_rows).to_numpy()
        self._previous = table["previous_image"].map(embeddings.image_rows).to_numpy()
        self._epoch, self._order = -1, np.array([], dtype=np.int64)  # the order drawn last

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

    def _shuffled(self, drawn: int) -> int:
        """The triplet drawn after `drawn` others."""
        epoch, position = divmod(drawn, len(self))
        if self._epoch != epoch:
            self._epoch, self._order = epoch, permutation(len(self), self._seed, "order", epoch)
        return int(self._order[position])

    def _draws(self, rows: list[int], keys: list[tuple], seed: int, shares: tuple[float, float, float]) -> Draws:
        """These triplets, each with the random numbers of its key."""
        generators = [generator(seed, *key) for key in keys]
        uniform = torch.stack([torch.rand(2, generator=random) for random in generators])
        timesteps = torch.stack([torch.randint(self._timesteps, (), generator=random) for random in generators])
        text_dropped, image_dropped = dropped(uniform[:, 0], *shares)
        return Draws(np.array(rows), text_dropped, image_dropped, timesteps, uniform[:, 1], generators)

    def load(self, draws: Draws, part: slice = slice(None)) -> Batch:
        """Read what was drawn, or a part of it; each sample's numbers are the same in whichever part it is read.

        To be called once for each sample of `draws`, whose generators it uses up.
        """
        cache, rows, dropped_images = self._cache, draws.rows[part], draws.image_dropped[part].numpy()
        text, image, previous = self._text[rows], self._image[rows], self._previous[rows]
        seen = np.where(draws.text_dropped[part], 0, text)  # row 0 is the empty sentence
        image_tokens, image_pooled = cache.image_tokens[previous], cache.image_pooled[previous]
        image_tokens[dropped_images], image_pooled[dropped_images] = 0, 0
        embedded = (cache.text_tokens[seen], cache.text_pooled[seen], image_tokens, image_pooled)
        mean, logvar = _tensor(cache.latent_mean[image]), _tensor(cache.latent_logvar[image])
        deviation = (logvar.double() / 2).exp().float()  # in single precision it depends on the CPU's maker
        sampled, noise = [], []
        for random in draws.generators[part]:
            sampled.append(torch.randn(mean.shape[1:], generator=random))
            noise.append(torch.randn(mean.shape[1:], generator=random))
        return Batch(
            Embedded(*map(torch.from_numpy, embedded)),
            _tensor(cache.text_projected[text]),
            (mean + deviation * torch.stack(sampled)) * self._scaling,
            torch.stack(noise),
            draws.timesteps[part],
        )


def by_subset(
    embeddings: Embeddings, table: pd.DataFrame, scaling_factor: float, timesteps: int, seed: int
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
        batches[subset] = Batches(embeddings, rows, scaling_factor, timesteps, seed)
    return batches


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
