import hashlib
import itertools

import numpy as np
import torch
from scipy import stats

from recipevis.randomness import generator, numpy_generator, permutation


def test_same_keys_same_numbers_whatever_was_drawn_before():
    first = torch.randn(5, generator=generator(3, "noise", 7))
    torch.randn(100)
    torch.manual_seed(99)
    assert torch.equal(first, torch.randn(5, generator=generator(3, "noise", 7)))
    assert np.array_equal(numpy_generator(3, "a").random(5), numpy_generator(3, "a").random(5))


def test_global_generators_are_left_alone():
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.randn(3), np.random.rand(3)
    torch.manual_seed(0)
    np.random.seed(0)
    torch.randn(5, generator=generator(1, "x"))
    numpy_generator(1, "x").random(5)
    assert torch.equal(torch.randn(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])


def test_every_key_and_their_order_count():
    keys = [(0,), (1,), (0, 0), (0, "a"), (0, "a", 0), (0, 0, "a"), (0, "a", "b"), (0, "ab"), (0, 11), (0, 1, 1)]
    drawn = [tuple(torch.randint(2**40, (3,), generator=generator(*key)).tolist()) for key in keys]
    assert len(set(drawn)) == len(keys)


def test_numbers_are_those_of_the_documented_seed():
    """A second computation of the seed: other machines and later versions must draw the same numbers."""
    entropy = int.from_bytes(hashlib.sha256(b"5\0noise\x0012").digest()[:8], "little") >> 1
    torch.manual_seed(entropy)
    expected = torch.randn(4)
    assert torch.equal(torch.randn(4, generator=generator(5, "noise", 12)), expected)
    expected = np.random.Generator(np.random.PCG64(entropy)).random(4)
    assert np.array_equal(numpy_generator(5, "noise", 12).random(4), expected)


def test_neighbouring_seeds_are_independent():
    drawn = np.array([torch.randn(1, generator=generator(seed, "noise")).item() for seed in range(2000)])
    assert stats.kstest(drawn, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 4 / np.sqrt(2000)


def test_permutation_holds_every_index_once():
    order = permutation(50, 0, "epoch", 1)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(50))
    assert not np.array_equal(order, permutation(50, 0, "epoch", 2))


def test_permutations_are_uniform():
    counts = dict.fromkeys(itertools.permutations(range(3)), 0)
    for epoch in range(1200):
        counts[tuple(permutation(3, 0, "epoch", epoch).tolist())] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-3
