import math

import numpy as np
import pytest
import torch
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import KernelInceptionDistance
from transformers import CLIPImageProcessorPil, CLIPModel

from recipevis.backbone.kitchen import NETWORKS
from recipevis.evaluation import distances, metrics
from recipevis.kitchen import recipes
from recipevis.kitchen.drawing.rendering import picture


class Vectors(torch.nn.Module):
    """A network for torchmetrics whose features are its input's numbers."""

    def __init__(self, width):
        super().__init__()
        self.num_features = width

    def forward(self, images):
        return images.flatten(1).double()


def sets(n, m, d, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(0, 1, (n, d)).astype(np.float32), random.normal(0.3, 1.2, (m, d)).astype(np.float32)


def of_torchmetrics(metric, generated, truth):
    metric.set_dtype(torch.float64)
    for vectors, real in ((generated, False), (truth, True)):
        metric.update(torch.from_numpy(vectors.astype(np.float64)), real=real)
    return metric.compute()


def test_kid_is_torchmetrics_over_one_subset_of_all_images():
    generated, truth = sets(20, 20, 6)
    metric = KernelInceptionDistance(feature=Vectors(6), subsets=1, subset_size=20, normalize=False)
    expected = of_torchmetrics(metric, generated, truth)[0]
    assert distances.kid(generated, truth) == pytest.approx(float(expected), rel=1e-6)


def test_kid_is_a_loop_over_pairs():
    generated, truth = sets(5, 4, 3)

    def kernel(a, b):
        return (sum(float(x) * float(y) for x, y in zip(a, b, strict=True)) / 3 + 1) ** 3

    def within(vectors):
        n = len(vectors)
        return sum(kernel(vectors[i], vectors[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))

    between = sum(kernel(a, b) for a in generated for b in truth) / 20
    assert distances.kid(generated, truth) == pytest.approx(within(generated) + within(truth) - 2 * between)


def test_cmmd_is_a_loop_over_pairs():
    generated, truth = sets(5, 4, 3)

    def kernel(a, b):
        a, b = (vector.astype(float) / math.sqrt(float((vector.astype(float) ** 2).sum())) for vector in (a, b))
        return math.exp(-float(((a - b) ** 2).sum()) / (2 * 10**2))

    means = [np.mean([kernel(a, b) for a in x for b in y]) for x, y in ((generated, generated), (truth, truth))]
    between = np.mean([kernel(a, b) for a in generated for b in truth])
    assert distances.cmmd(generated, truth) == pytest.approx(1000 * (sum(means) - 2 * between), rel=1e-6)


@pytest.mark.parametrize(("n", "d"), [(40, 6), (12, 30)])
def test_frechet_is_torchmetrics(n, d):
    """Also with fewer images than dimensions."""
    generated, truth = sets(n, n + 3, d)
    metric = FrechetInceptionDistance(feature=Vectors(d), normalize=False, input_img_size=(1, 1, d))
    assert distances.frechet(generated, truth) == pytest.approx(
        float(of_torchmetrics(metric, generated, truth)), rel=1e-5
    )


def test_frechet_of_one_dimension_is_the_closed_form():
    a, b = sets(30, 50, 1)
    expected = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert distances.frechet(a, b) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("distance", [distances.kid, distances.cmmd])
def test_leaving_groups_out_at_once_is_leaving_them_out_one_by_one(distance):
    generated, truth = sets(23, 23, 5)
    group = np.arange(23) % 4
    expected = [distance(generated[group != number], truth[group != number]) for number in range(4)]
    assert distance.left_out(generated, truth, group) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("distance", [distances.kid, distances.cmmd, distances.frechet])
def test_a_single_image_is_no_set(distance):
    assert math.isnan(distance(*sets(1, 5, 3)))


def test_another_recipes_frames_are_near_perfect_as_a_set_and_the_mean_image_is_not():
    """In PSNR it is the reverse: sets and pairs ask different questions."""
    steps = [step.done for number in range(60) for step in recipes.recipe(7, f"validation-{number:04d}").steps[:4]]
    truth = [picture(scene) for scene in steps]
    shift = len(truth) // 2 + 2  # another recipe's, of another type
    other = truth[shift:] + truth[:shift]
    mean = [np.rint(np.mean(truth, axis=0)).astype(np.uint8)] * len(truth)

    network, processor = (kind.from_pretrained(NETWORKS / "encoder") for kind in (CLIPModel, CLIPImageProcessorPil))

    @torch.no_grad()
    def vectors(images):
        return network.float().vision_model(**processor(images, return_tensors="pt")).pooler_output.numpy()

    def scores(images):
        pairs = np.mean([metrics.psnr(image, true) for image, true in zip(images, truth, strict=True)])
        return pairs, *(f(vectors(images), vectors(truth)) for f in (distances.kid, distances.cmmd, distances.frechet))

    of_other, of_mean = scores(other), scores(mean)
    assert of_other[0] < of_mean[0] - 1  # dB
    for near, far in zip(of_other[1:], of_mean[1:], strict=True):
        assert abs(near) < 0.02 * far
