import itertools
import math

import numpy as np
import pytest
from scipy import stats

from recipevis.evaluation import significance


def sums_of(videos, comparisons, seed, shift=0.0):
    """Sums of differences that depend on each other across comparisons, as metrics of the same images do."""
    random = np.random.default_rng(seed)
    shared = random.normal(size=(videos, 1))
    return shift + shared + 0.5 * random.normal(size=(videos, comparisons)) * np.arange(1, comparisons + 1)


def test_the_exact_test_is_a_loop_over_all_signs():
    sums = sums_of(7, 3, seed=0, shift=0.6)
    flipped = np.array([np.array(signs) @ sums for signs in itertools.product((1, -1), repeat=7)])
    expected = (np.abs(flipped) >= np.abs(sums.sum(0)) - 1e-9).mean(0)
    assert significance.sign_flip(sums) == pytest.approx(expected)


def test_the_exact_test_is_scipys():
    sums = sums_of(10, 1, seed=1, shift=0.5)
    result = stats.permutation_test(
        (sums[:, 0],), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided", vectorized=False
    )
    assert significance.sign_flip(sums)[0] == pytest.approx(result.pvalue)


def test_random_flips_approach_the_exact_test(monkeypatch):
    sums = sums_of(12, 2, seed=2, shift=0.4)
    exact, adjusted = significance.sign_flip(sums), significance.max_t(sums)
    monkeypatch.setattr(significance, "EXACT", 5)
    assert significance.sign_flip(sums) == pytest.approx(exact, abs=0.01)
    assert significance.max_t(sums) == pytest.approx(adjusted, abs=0.01)
    assert significance.sign_flip(sums, seed=0).tolist() == significance.sign_flip(sums, seed=0).tolist()


def test_max_t_is_a_loop_over_all_signs():
    sums = sums_of(7, 4, seed=3, shift=0.7)
    scale = np.sqrt((sums**2).sum(0))
    reached = np.zeros(4)
    for signs in itertools.product((1, -1), repeat=7):
        largest = max(
            abs(sum(s * v for s, v in zip(signs, sums[:, test], strict=True))) / scale[test] for test in range(4)
        )
        reached += [largest >= abs(sums[:, test].sum()) / scale[test] - 1e-9 for test in range(4)]
    assert significance.max_t(sums) == pytest.approx(reached / 2**7)
    assert (significance.max_t(sums) >= significance.sign_flip(sums)).all()


def test_a_family_without_differences_rarely_has_a_star():
    """The chance of any false star in a family of six dependent comparisons; alone, each has its own chance."""
    false, alone = 0, 0
    for seed in range(400):
        sums = sums_of(8, 6, seed=100 + seed)
        false += significance.max_t(sums).min() < 0.05
        alone += significance.sign_flip(sums).min() < 0.05
    assert false / 400 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    assert alone > 1.5 * false


def test_comparisons_without_data_or_scale():
    sums = np.stack([np.full(8, np.nan), np.zeros(8), np.ones(8)], 1)
    adjusted = significance.max_t(sums)
    assert np.isnan(adjusted[0])
    assert adjusted[1:].tolist() == [1, 2 / 2**8]
    assert np.isnan(significance.sign_flip(sums)[0])
    assert np.isnan(significance.max_t(sums[:, :1])).all()


def test_the_smallest_p_and_the_stars_that_it_allows():
    for videos in (3, 8, 10, 16):
        assert significance.least_p(videos) == significance.sign_flip(np.ones((videos, 1)))[0]
    assert significance.possible_stars(5) == []  # 1/16
    assert significance.possible_stars(10) == ["**", "*"]  # 0.002
    assert significance.possible_stars(16) == ["***", "**", "*"]
    assert significance.stars(0.0001, 10) == "**"
    assert significance.stars(0.0001, 5) == ""
    assert [significance.stars(p, 40) for p in (0.0005, 0.005, 0.03, 0.2, math.nan)] == ["***", "**", "*", "", ""]
    assert significance.one_sign(3) == 0.25


def test_variance_components_are_found_again():
    random = np.random.default_rng(0)
    found = [
        significance.variance_components(
            random.normal(0, 2, (6, 1)) + random.normal(0, 3, (1, 40)) + random.normal(0, 1, (6, 40))
        )
        for _ in range(300)
    ]
    means = {name: np.mean([one[name] for one in found]) for name in found[0]}
    assert means == pytest.approx({"seed": 4, "video": 9, "rest": 1}, rel=0.15)


def test_variance_components_by_hand():
    values = np.array([[1.0, 2.0, 6.0], [3.0, 4.0, 5.0]])
    rest = sum(
        (values[s, v] - values[s].mean() - values[:, v].mean() + values.mean()) ** 2 for s in range(2) for v in range(3)
    ) / (1 * 2)
    of_video = 2 * sum((values[:, v].mean() - values.mean()) ** 2 for v in range(3)) / 2
    expected = {"seed": 0, "video": (of_video - rest) / 2, "rest": rest}  # the seeds' estimate is negative
    assert significance.variance_components(values) == pytest.approx(expected)
    with_a_gap = np.column_stack([values, [np.nan, 1.0]])
    assert significance.variance_components(with_a_gap) == pytest.approx(expected)
    assert all(map(math.isnan, significance.variance_components(values[:1]).values()))
