"""Distances of two sets of images, by an encoder's vectors: KID, CMMD and FID.

They ask whether generated images look like real ones as a whole, and not whether each shows its step: another recipe's
frames are near perfect here. Vectors are [n, d] and [m, d]; all is computed in float64.

Each distance can leave out groups of images in turn, for a jackknife. The kernel of all pairs is then computed once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_SIGMA, _SCALE = 10.0, 1000.0  # CMMD's kernel and its scale


@dataclass(frozen=True)
class KernelDistance:
    """A squared maximum mean discrepancy (MMD²) of two sets (Gretton et al. 2012).

    Attributes:
        kernel: the kernel of all pairs of two sets, [n, d] and [m, d] -> [n, m].
        is_unbiased: an image is not compared with itself (the U-statistic, which can be below zero); else it is.
        scale: the result is multiplied by it.
    """

    kernel: Callable[[np.ndarray, np.ndarray], np.ndarray]
    is_unbiased: bool
    scale: float = 1.0

    def __call__(self, generated: np.ndarray, truth: np.ndarray) -> float:
        """The distance; NaN where a set has fewer than two images."""
        return self._distance([array.sum() for array in self._kernels(generated, truth)], len(generated), len(truth))

    def left_out(self, generated: np.ndarray, truth: np.ndarray, group: np.ndarray) -> list[float]:
        """The distance with each group of images left out in turn.

        Args:
            generated, truth: the two sets, paired: [n, d] each.
            group: the number of each pair's group, int [n].
        """
        member = (group[:, None] == np.unique(group)).astype(np.float64)  # [n, groups]
        # Sums of each kernel over the images of two groups, [groups, groups], and over one image with itself.
        sums = [member.T @ array @ member for array in self._kernels(generated, truth)]
        kept = len(group) - member.sum(0)
        without = [array.sum() - array.sum(0) - array.sum(1) + array.diagonal() for array in sums]
        return [self._distance(of_group, n, n) for of_group, n in zip(np.transpose(without), kept, strict=True)]

    def _kernels(self, generated: np.ndarray, truth: np.ndarray) -> list[np.ndarray]:
        """The kernels within both sets and between them; an image with itself is zero where it doesn't count."""
        generated, truth = generated.astype(np.float64), truth.astype(np.float64)
        pairs = ((generated, generated), (truth, truth), (generated, truth))
        kernels = [self.kernel(a, b) for a, b in pairs]
        if self.is_unbiased:
            for within in kernels[:2]:
                np.fill_diagonal(within, 0)
        return kernels

    def _distance(self, sums: np.ndarray, n: float, m: float) -> float:
        """The distance from the sums of the three kernels."""
        if min(n, m) < 2:
            return float("nan")
        less = 1 if self.is_unbiased else 0
        return float(self.scale * (sums[0] / (n * (n - less)) + sums[1] / (m * (m - less)) - 2 * sums[2] / (n * m)))


def _polynomial(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _gaussian(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = _unit(a), _unit(b)
    squared = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T, 0)
    return np.exp(-squared / (2 * _SIGMA**2))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


# KID (Binkowski et al. 2018, arXiv 1801.01401): unbiased, also for few images, over all of them and not over subsets.
kid = KernelDistance(_polynomial, is_unbiased=True)
# CMMD (Jayasumana et al. 2024, arXiv 2401.09603): on normalised vectors; theirs are a CLIP's.
cmmd = KernelDistance(_gaussian, is_unbiased=False, scale=_SCALE)


def frechet(generated: np.ndarray, truth: np.ndarray) -> float:
    """The Fréchet distance of two normal distributions with the sets' means and covariances (Heusel et al. 2017, FID).

    It is biased upwards, the more the fewer images there are, and needs thousands; a value can be compared with
    another of as many images only. NaN where a set has fewer than two images.

    The trace of the root of the two covariances' product is the sum of the singular values of A B^T, if the covariances
    are A^T A and B^T B. That is stable also for fewer images than dimensions.
    """
    if min(len(generated), len(truth)) < 2:
        return float("nan")
    roots, means, traces = [], [], []
    for vectors in (generated.astype(np.float64), truth.astype(np.float64)):
        means.append(vectors.mean(0))
        centred = (vectors - means[-1]) / np.sqrt(len(vectors) - 1)
        traces.append((centred**2).sum())
        roots.append(np.linalg.qr(centred, mode="r") if len(centred) > centred.shape[1] else centred)
    between = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return float(((means[0] - means[1]) ** 2).sum() + traces[0] + traces[1] - 2 * between)
