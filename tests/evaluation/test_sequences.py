import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.metrics import structural_similarity
from torch.nn.functional import cosine_similarity

from recipevis.evaluation import sequences


def image(seed, pixels=32):
    return np.random.default_rng(seed).integers(0, 256, (pixels, pixels, 3), dtype=np.uint8)


def vector(seed, width=8):
    return np.random.default_rng(seed).normal(size=width).astype(np.float32)


def cosine(a, b):
    return float(cosine_similarity(torch.from_numpy(a).double(), torch.from_numpy(b).double(), dim=0))


def test_gradient_energy_is_a_loop_over_neighbours():
    levels = image(0, 6).astype(int)
    down = [(levels[y + 1, x, c] - levels[y, x, c]) ** 2 for y in range(5) for x in range(6) for c in range(3)]
    right = [(levels[y, x + 1, c] - levels[y, x, c]) ** 2 for y in range(6) for x in range(5) for c in range(3)]
    assert sequences.gradient_energy(image(0, 6)) == pytest.approx((np.mean(down) + np.mean(right)) / 2)


def test_a_blur_is_less_sharp_and_noise_is_sharper():
    truth = ndimage.gaussian_filter(image(1), (1, 1, 0))
    assert sequences.sharpness(truth, truth) == 1
    assert sequences.sharpness(ndimage.gaussian_filter(truth, (2, 2, 0)), truth) < 0.5
    assert sequences.sharpness(image(2), truth) > 2
    half = (truth // 2).astype(np.uint8)
    assert sequences.sharpness(half, truth) == pytest.approx(0.25, abs=0.02)
    assert math.isnan(sequences.sharpness(truth, np.zeros_like(truth)))


def test_copy_rate_is_a_difference_of_two_ssims():
    generated, before, truth, truth_before = map(image, range(4))
    settings = {"channel_axis": -1, "data_range": 255, "gaussian_weights": True, "sigma": 1.5}
    a, b = (
        structural_similarity(*pair, use_sample_covariance=False, **settings)
        for pair in ((generated, before), (truth, truth_before))
    )
    assert sequences.copy_rate(generated, before, truth, truth_before) == pytest.approx(a - b, abs=1e-9)
    assert sequences.copy_rate(before, before, truth, truth_before) == pytest.approx(1 - b, abs=1e-9)
    assert sequences.copy_rate(truth, truth_before, truth, truth_before) == 0


def test_consistency_is_a_difference_of_two_cosines():
    generated, before, truth, truth_before = map(vector, range(4))
    expected = cosine(generated, before) - cosine(truth, truth_before)
    assert sequences.consistency(generated, before, truth, truth_before) == pytest.approx(expected)
    assert sequences.absolute_consistency(generated, before, truth, truth_before) == pytest.approx(abs(expected))
    assert sequences.consistency(before, before, truth, truth_before) > 0  # a copy


def test_step_faithfulness_counts_the_sentences_that_fit_worse():
    shown, own, others = vector(0), vector(1), np.stack([vector(seed) for seed in range(2, 12)])
    worse = [cosine(shown, own) > cosine(shown, other) for other in others]
    assert 0 < sum(worse) < 10
    assert sequences.step_faithfulness(shown, own, others) == pytest.approx(sum(worse) / 10)
    assert sequences.step_faithfulness(shown, own, np.stack([own, own])) == 0.5
    assert math.isnan(sequences.step_faithfulness(shown, own, np.array([])))


@pytest.mark.parametrize("others", [1, 2, 6])
def test_chance_is_a_half_at_any_length(others):
    random = np.random.default_rng(others)
    found = [
        sequences.step_faithfulness(random.normal(size=8), random.normal(size=8), random.normal(size=(others, 8)))
        for _ in range(4000)
    ]
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)


def test_goal_faithfulness_is_whether_the_own_type_fits_best():
    shown, types = vector(0), np.stack([vector(seed) for seed in range(1, 5)])
    fits = [cosine(shown, kind) for kind in types]
    for number in range(4):
        expected = float(fits[number] == max(fits))
        assert sequences.goal_faithfulness(shown, types[number], np.delete(types, number, 0)) == expected
    assert sequences.goal_faithfulness(shown, types[0], np.stack([types[0], types[0]])) == pytest.approx(1 / 3)
    random = np.random.default_rng(0)
    found = [
        sequences.goal_faithfulness(random.normal(size=8), random.normal(size=8), random.normal(size=(3, 8)))
        for _ in range(4000)
    ]
    assert np.mean(found) == pytest.approx(0.25, abs=0.03)


def test_a_types_vector_is_the_mean_direction_of_its_sentences():
    vectors = np.array([[2.0, 0], [0, 5.0], [3.0, 0]])
    found = sequences.type_vectors(["a", "a", "b"], vectors)
    assert list(found) == ["a", "b"]
    assert found["a"].tolist() == pytest.approx([math.sqrt(0.5)] * 2)
    assert found["b"].tolist() == [1, 0]


def test_other_types_depend_on_the_key_alone():
    types = list("abcdefgh")
    chosen = {key: sequences.other_types("c", types, 0, key) for key in map(str, range(40))}
    assert all(len(set(others)) == 3 and "c" not in others for others in chosen.values())
    assert {kind for others in chosen.values() for kind in others} == set(types) - {"c"}
    assert chosen == {key: sequences.other_types("c", types, 0, key) for key in chosen}
    assert sequences.other_types("a", ["a", "b"], 0, "x") == ["b"]
    assert sequences.other_types("a", ["a"], 0, "x") == []
