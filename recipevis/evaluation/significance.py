"""Whether differences could be chance: sign flips of whole videos, corrected for the number of comparisons.

If two systems were equally good, the sign of a video's difference would be a coin's. So all videos' signs are flipped,
in every way or in many random ways, and a difference counts as significant if few flips give one as large (Fisher's
randomisation test). In a family of comparisons, the largest statistic of each flip is compared instead (Westfall and
Young 1993, max-T): that keeps the chance of a single false star at 5 % for the whole family, and costs less than
Bonferroni's correction where the comparisons depend on each other, as those on the same videos do.
"""

from collections.abc import Iterator

import numpy as np

from recipevis.randomness import numpy_generator

EXACT = 16  # videos up to which every assignment of signs is tried: 65,536
FLIPS = 100_000  # random assignments beyond
_CHUNK = 4096  # assignments at once
_ROUNDING = 1e-9  # relative; sums in another order differ by less
_STARS = (("***", 0.001), ("**", 0.01), ("*", 0.05))


def sign_flip(sums: np.ndarray, flips: int = FLIPS, seed: int = 0) -> np.ndarray:
    """Two-sided p-values of sums of differences, by flipping the signs of whole videos.

    Args:
        sums: a video's sum of differences for each comparison, [videos, comparisons]; 0 for a video that a comparison
            lacks, NaN in all of a comparison without data.
        flips: random assignments of signs, for more than `EXACT` videos.
        seed: of these.

    Returns:
        p [comparisons]; NaN where there are no data.
    """
    observed = np.abs(sums.sum(0))
    reached, total = np.zeros(sums.shape[1]), 0
    for signs in _signs(len(sums), flips, seed):
        reached += (np.abs(signs @ np.nan_to_num(sums)) >= observed * (1 - _ROUNDING)).sum(0)
        total += len(signs)
    return np.where(np.isnan(observed), np.nan, _p(reached, total, len(sums)))


def max_t(sums: np.ndarray, flips: int = FLIPS, seed: int = 0) -> np.ndarray:
    """P-values adjusted for a family of comparisons, single-step max-T; arguments and result as for `sign_flip`.

    A comparison's statistic is |sum| / sqrt(sum of squares). The sum of squares doesn't change with the signs, so this
    only puts metrics of different scales side by side. A video's signs flip together in all comparisons, which keeps
    their dependence.
    """
    known = ~np.isnan(sums).any(0)
    scale = np.sqrt((np.nan_to_num(sums) ** 2).sum(0))
    known &= scale > 0  # a comparison of equal images has no scale, and is no evidence
    scaled = sums[:, known] / scale[known]
    observed = np.abs(scaled.sum(0))
    reached, total = np.zeros(known.sum()), 0
    if known.any():
        for signs in _signs(len(sums), flips, seed):
            largest = np.abs(signs @ scaled).max(1, keepdims=True)  # [flips, 1]
            reached += (largest >= observed * (1 - _ROUNDING)).sum(0)
            total += len(signs)
    adjusted = np.where(np.isnan(sums).any(0), np.nan, 1.0)
    adjusted[known] = _p(reached, total, len(sums)) if total else np.nan
    return adjusted


def _signs(videos: int, flips: int, seed: int) -> Iterator[np.ndarray]:
    """Assignments of signs in parts, [n, videos] of 1 and -1: all of them up to `EXACT` videos, else random ones."""
    if videos <= EXACT:
        for start in range(0, 2**videos, _CHUNK):
            numbers = np.arange(start, min(start + _CHUNK, 2**videos))
            yield 1.0 - 2 * ((numbers[:, None] >> np.arange(videos)) & 1)
        return
    random = numpy_generator(seed, "sign flips")
    for start in range(0, flips, _CHUNK):
        yield 1.0 - 2 * random.integers(0, 2, (min(_CHUNK, flips - start), videos))


def _p(reached: np.ndarray, total: int, videos: int) -> np.ndarray:
    """The share of flips that reached the observed value; the observed one counts as a random flip of its own."""
    return reached / total if videos <= EXACT else (reached + 1) / (total + 1)


def least_p(videos: int, flips: int = FLIPS) -> float:
    """The smallest p-value that `sign_flip` and `max_t` can give for so many videos: all signs equal, either way."""
    return 2.0 ** (1 - videos) if videos <= EXACT else 1 / (flips + 1)


def possible_stars(videos: int) -> list[str]:
    """The stars that so many videos can earn."""
    return [star for star, level in _STARS if least_p(videos) < level]


def stars(p: float, videos: int) -> str:
    """`***` below 0.001, `**` below 0.01, `*` below 0.05, else nothing; never one that so few videos can't earn."""
    return next((star for star, level in _STARS if p < level and star in possible_stars(videos)), "")


def one_sign(seeds: int) -> float:
    """The probability that the differences of so many seeds all have one sign by chance."""
    return 2.0 ** (1 - seeds)


def variance_components(values: np.ndarray) -> dict[str, float]:
    """What a metric varies by: the training seed, the video, and the rest (their interaction and noise).

    Two crossed random effects, by the method of moments (Searle, Casella and McCulloch 1992); a negative estimate is
    zero.

    Args:
        values: a video's mean for each seed, [seeds, videos]; videos with a NaN are left out.

    Returns:
        the variances `seed`, `video` and `rest`; NaN with fewer than two seeds or videos.
    """
    values = values[:, ~np.isnan(values).any(0)]
    seeds, videos = values.shape
    if min(seeds, videos) < 2:
        return dict.fromkeys(("seed", "video", "rest"), np.nan)
    of_seed, of_video, mean = values.mean(1), values.mean(0), values.mean()
    rest = ((values - of_seed[:, None] - of_video + mean) ** 2).sum() / ((seeds - 1) * (videos - 1))
    between_seeds = videos * ((of_seed - mean) ** 2).sum() / (seeds - 1)
    between_videos = seeds * ((of_video - mean) ** 2).sum() / (videos - 1)
    return {
        "seed": float(max(between_seeds - rest, 0) / videos),
        "video": float(max(between_videos - rest, 0) / seeds),
        "rest": float(rest),
    }
