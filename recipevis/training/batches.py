"""Batches of triplets from the cached embeddings, with all their random numbers.

The triplet, its timestep, noise, latent sample and dropped conditions are a function of (seed, step, position in the
batch). So a run that is killed at any step and resumed ends with the same bits as an uninterrupted one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

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
from recipevis.training.own_images import OwnImages, Pools


@dataclass(frozen=True)
class Draws:
    """The random choices of one whole batch, made before any data is read. Every process makes all of them."""

    rows: np.ndarray  # the triplets, int [b]
    text_dropped: Tensor  # bool [b]
    image_dropped: Tensor  # bool [b]
    timesteps: Tensor  # int64 [b]
    priorities: Tensor  # uniform [b], the order in which samples are chosen for L_cyc
    generators: Sequence[torch.Generator]  # [b], of the latent sample and the noise
    own: np.ndarray  # position among the drawn previous images, int [b]; -1: the true one
    pool: OwnImages | None = None  # the drawn previous images


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
        self._first = _first_images(table).map(embeddings.image_rows).to_numpy()
        # Row 0 is the empty sentence.
        self._null = tuple(
            torch.from_numpy(rows[0].copy()) for rows in (embeddings.text_tokens, embeddings.text_pooled)
        )
        self._epoch, self._order = -1, np.array([], dtype=np.int64)  # the latest epoch's order
        self.pools = Pools()

    def __len__(self) -> int:
        """Number of triplets."""
        return len(self._text)

    def training(self, step: int, batch_size: int, settings: TrainConfig) -> Draws:
        """The batch of one step: triplets in a new random order each epoch, conditions dropped at random."""
        first, pool, own = step * batch_size, self.pools.at(step), np.full(batch_size, -1)
        rows = [self._shuffled(first + position) for position in range(batch_size)]
        if pool is not None:  # such a sample takes a triplet whose previous image was drawn
            for position in range(batch_size):
                chance, which = torch.rand(2, generator=generator(self._seed, "own", step, position)).tolist()
                if chance < settings.own_previous:
                    own[position] = int(which * len(pool.rows))
                    rows[position] = int(pool.rows[own[position]])
        keys = [("training", step, position) for position in range(batch_size)]
        shares = (settings.dropout_text, settings.dropout_image, settings.dropout_both)
        return replace(self._draws(rows, keys, self._seed, shares), own=own, pool=pool)

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
        own = np.full(len(rows), -1)
        return Draws(np.array(rows), text_dropped, image_dropped, timesteps, uniform[:, 1], generators, own)

    def load(self, draws: Draws, part: slice = slice(None)) -> Batch:
        """Read the data of a batch, or of a part of it. A sample is the same in whichever part it is read.

        Call it once for each sample of `draws`: it advances their generators.
        """
        cache, rows = self._cache, draws.rows[part]
        text, image = self._text[rows], self._image[rows]
        embeddings = self._embeddings(rows, draws.own[part], draws.pool).with_null(
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

    @property
    def with_triplet_before(self) -> np.ndarray:
        """Pairs of a triplet and the one whose image is its previous image, int [n, 2]."""
        by_image = {image: row for row, image in enumerate(self._image.tolist())}
        pairs = [
            (row, by_image[previous]) for row, previous in enumerate(self._previous.tolist()) if previous in by_image
        ]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)

    def embeddings_of(self, rows: np.ndarray, step: int) -> StepEmbeddings:
        """Embeddings of triplets, nothing dropped; a previous image that was drawn takes the true one's place."""
        pool = self.pools.at(step)
        known = {} if pool is None else {row: position for position, row in enumerate(pool.rows.tolist())}
        return self._embeddings(rows, np.array([known.get(row, -1) for row in rows.tolist()]), pool)

    def _embeddings(self, rows: np.ndarray, own: np.ndarray, pool: OwnImages | None) -> StepEmbeddings:
        """Embeddings of triplets in fp16, the latent scaled in fp32; arguments as in `Draws`."""
        cache, text, previous = self._cache, self._text[rows], self._previous[rows]
        sentences = (torch.from_numpy(array[text]) for array in (cache.text_tokens, cache.text_pooled))
        pictures = [
            torch.from_numpy(array[previous]) for array in (cache.image_tokens, cache.image_pooled, cache.latent_mean)
        ]
        drawn = torch.from_numpy(own >= 0)
        if drawn.any():
            for true, other in zip(pictures, (pool.image, pool.image_pooled, pool.latent_mean), strict=True):
                true[drawn] = other[own[own >= 0]]
        *image, previous_mean = pictures
        first_mean = torch.from_numpy(cache.latent_mean[self._first[rows]])
        is_first = torch.from_numpy(self._first[rows] == previous)  # of a second step: both are one drawn image
        first_mean[drawn & is_first] = previous_mean[drawn & is_first]
        means = previous_mean, first_mean
        return StepEmbeddings(*sentences, *image, *(self._scaling.scale(mean.float()) for mean in means))


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


def _first_images(table: pd.DataFrame) -> pd.Series:
    """The image of each triplet's first step; its previous image where the first step has none, or is this one."""
    if "video_id" not in table or "step" not in table:  # triplets without recipes, as benchmarks make them
        return table["previous_image"]
    first = table["video_id"].map(table[table["step"] == 0].set_index("video_id")["image"])
    return table["previous_image"].where(first.isna() | (table["step"] == 0), first)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
