"""What a training step is fed: triplets from the cached embeddings, with everything random about them.

All of it is drawn by (seed, step, position in the batch): which triplet, its timestep, noise, latent sample and
dropped conditions. So a run killed at any step and resumed ends with the same bits as an undisturbed one.
"""

from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recipevis.conditioning import Embedded, dropped
from recipevis.embeddings import Embeddings
from recipevis.errors import InputError
from recipevis.parameters import Train
from recipevis.randomness import generator, permutation


@dataclass(frozen=True)
class Batch:
    """What one step is trained on; every tensor has the batch as its first dimension."""

    embedded: Embedded  # after dropout
    text_dropped: Tensor  # bool [b]
    text_projected: Tensor  # [b, q]
    latents: Tensor  # [b, 4, h, w], scaled
    noise: Tensor  # [b, 4, h, w]
    timesteps: Tensor  # int64 [b]
    priorities: Tensor  # uniform [b], who is taken for L_cyc

    def to(self, device: torch.device) -> "Batch":
        """The same on another device."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


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

    def __len__(self) -> int:
        """Number of triplets."""
        return len(self._text)

    def training(self, step: int, batch_size: int, settings: Train) -> Batch:
        """The batch of one step: triplets in a new random order each epoch, conditions dropped at random."""
        first = step * batch_size
        rows = [self._shuffled(first + position) for position in range(batch_size)]
        return self._batch(rows, [("training", step, position) for position in range(batch_size)], settings)

    def validation(self, first: int, count: int) -> Batch:
        """Triplets `first` to `first + count`, nothing dropped, noise and timesteps the same in every run."""
        rows = list(range(first, min(first + count, len(self))))
        return self._batch(rows, [("validation", row) for row in rows], None)

    def _shuffled(self, drawn: int) -> int:
        """The triplet drawn after `drawn` others."""
        epoch, position = divmod(drawn, len(self))
        if getattr(self, "_epoch", None) != epoch:
            self._epoch, self._order = epoch, permutation(len(self), self._seed, "order", epoch)
        return int(self._order[position])

    def _batch(self, rows: list[int], keys: list[tuple], settings: Train | None) -> Batch:
        """These triplets, each with the random numbers of its key; `settings` None: nothing dropped, any seed alike."""
        cache, (text, image, previous) = self._cache, (r[rows] for r in (self._text, self._image, self._previous))
        mean, deviation = _tensor(cache.latent_mean, image), (_tensor(cache.latent_logvar, image) / 2).exp()
        uniform, timesteps, sampled, noise = [], [], [], []
        for key in keys:
            random = generator(self._seed if settings else 0, *key)
            uniform.append(torch.rand(2, generator=random))
            timesteps.append(torch.randint(self._timesteps, (), generator=random))
            sampled.append(torch.randn(mean.shape[1:], generator=random))
            noise.append(torch.randn(mean.shape[1:], generator=random))
        dropout, priorities = torch.stack(uniform).unbind(1)
        shares = (settings.dropout_text, settings.dropout_image, settings.dropout_both) if settings else (0, 0, 0)
        text_dropped, image_dropped = dropped(dropout, *shares)
        embedded = Embedded(
            _tensor(cache.text_tokens, text),
            _tensor(cache.text_pooled, text),
            _tensor(cache.image_tokens, previous),
            _tensor(cache.image_pooled, previous),
        )
        null = _tensor(cache.text_tokens, [0])[0], _tensor(cache.text_pooled, [0])[0]
        return Batch(
            embedded.without_text(text_dropped, *null).without_image(image_dropped),
            text_dropped,
            _tensor(cache.text_projected, text),
            (mean + deviation * torch.stack(sampled)) * self._scaling,
            torch.stack(noise),
            torch.stack(timesteps),
            priorities,
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


def _tensor(array: np.ndarray, rows) -> Tensor:
    return torch.from_numpy(array[rows].astype(np.float32))
