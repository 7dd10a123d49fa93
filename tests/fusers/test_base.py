"""Each fuser against a second computation that loops over samples, tokens and heads in numpy."""

import math
import sys
from types import ModuleType

import numpy as np
import pytest
import torch

from recipevis.config import FUSERS
from recipevis.errors import ParameterError
from recipevis.fusers.base import (
    HEADS,
    Fuser,
    Shapes,
    check_options,
    count_weights,
    declared_options,
    fuser_class,
    make_fuser,
    matched_hidden,
    select_options,
)

SHAPES = Shapes(text_tokens=5, text_width=16, image_tokens=7, image_width=12, condition_tokens=3, condition_width=16)
PAPER = Shapes(77, 768, 257, 1024, 3, 768)
HIDDEN, BATCH = 9, 2
# Fusers with a second computation below. The other tests take up every fuser.
BY_HAND = (
    "baseline",
    "concat",
    "text_pooling",
    "image_pooling",
    "attend_to_text",
    "attend_to_image",
    "text_only",
    "image_only",
)


@pytest.fixture
def inputs() -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(1)
    sizes = ((5, 16), (16,), (7, 12), (12,))  # text, pooled text, image, pooled image
    return tuple(torch.randn(BATCH, *size, generator=random, dtype=torch.float64) for size in sizes)


def made(name: str, residual: bool = True) -> torch.nn.Module:
    torch.manual_seed(0)
    options = select_options(name, {"hidden": HIDDEN, "residual": residual}, {})
    return make_fuser(name, SHAPES, options).double()


def linear(layer: torch.nn.Linear, vector: np.ndarray) -> np.ndarray:
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return np.array(
        [sum(w * x for w, x in zip(row, vector, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
    )


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def feed_forward(layers, flat: list[float]) -> np.ndarray:
    hidden = np.array([gelu(x) for x in linear(layers.inner, np.array(flat))])
    return linear(layers.outer, hidden).reshape(SHAPES.condition_tokens, SHAPES.condition_width)


def layer_norm(norm: torch.nn.LayerNorm, vector: np.ndarray) -> np.ndarray:
    scaled = (vector - vector.mean()) / math.sqrt(((vector - vector.mean()) ** 2).mean() + norm.eps)
    return scaled * norm.weight.detach().numpy() + norm.bias.detach().numpy()


def attention(module, queries: np.ndarray, context: np.ndarray, residual: bool) -> list[np.ndarray]:
    keys, values = [linear(module.key, x) for x in context], [linear(module.value, x) for x in context]
    outputs = []
    for token in queries:
        query = linear(module.query, token)
        width = len(query) // HEADS
        mixed = np.zeros_like(query)
        for head in range(HEADS):
            part = slice(head * width, (head + 1) * width)
            scores = np.array([query[part] @ key[part] / math.sqrt(width) for key in keys])
            shares = np.exp(scores - scores.max())
            shares /= shares.sum()
            mixed[part] = sum(share * value[part] for share, value in zip(shares, values, strict=True))
        attended = linear(module.out, mixed)
        outputs.append(layer_norm(module.norm, query + attended if residual else attended))
    return outputs


def second_computation(name: str, fuser, text, text_pooled, image, image_pooled, residual: bool) -> np.ndarray:
    """One sample, token by token."""
    if name == "baseline":
        return text
    if name == "concat":
        return feed_forward(fuser.feed_forward, [*text.ravel(), *image.ravel()])
    if name == "text_only":
        return feed_forward(fuser.feed_forward, list(text.ravel()))
    if name == "image_only":
        return feed_forward(fuser.feed_forward, list(image.ravel()))
    if name == "image_pooling":
        added = linear(fuser.project, image_pooled)
        return feed_forward(fuser.feed_forward, [x for token in text for x in token + added])
    if name == "text_pooling":
        added = linear(fuser.project, text_pooled)
        return feed_forward(fuser.feed_forward, [x for token in image for x in token + added])
    queries, context = {"attend_to_text": (image, text), "attend_to_image": (text, image)}[name]
    return feed_forward(fuser.feed_forward, np.concatenate(attention(fuser.attention, queries, context, residual)))


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("name", BY_HAND)
def test_fuser_equals_a_loop(name, residual, inputs):
    fuser = made(name, residual)
    fused = fuser(*inputs).detach().numpy()
    for sample in range(BATCH):
        expected = second_computation(name, fuser, *(x[sample].numpy() for x in inputs), residual)
        np.testing.assert_allclose(fused[sample], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FUSERS)
def test_flags_say_what_a_fuser_uses(name, inputs):
    fuser, (text, text_pooled, image, image_pooled) = made(name), inputs
    changed_text = fuser(text + 1, text_pooled - 1, image, image_pooled)
    changed_image = fuser(text, text_pooled, image + 1, image_pooled - 1)
    fused = fuser(*inputs)
    assert torch.equal(fused, changed_text) != fuser.uses_text
    assert torch.equal(fused, changed_image) != fuser.uses_image


@pytest.mark.parametrize("name", [name for name in FUSERS if fuser_class(name).uses_text])
def test_two_sentences_differ_when_the_image_is_dropped(name, inputs):
    text, text_pooled, image, image_pooled = inputs
    fused = made(name)(text, text_pooled, torch.zeros_like(image), torch.zeros_like(image_pooled))
    assert (fused[0] - fused[1]).abs().max() > 1e-3


def test_without_the_residual_a_dropped_image_hides_the_sentence(inputs):
    """Why the residual is the default: the literal reading makes "image dropped" equal "both dropped"."""
    text, text_pooled, image, image_pooled = inputs
    fused = made("attend_to_image", residual=False)(text, text_pooled, torch.zeros_like(image), image_pooled)
    torch.testing.assert_close(fused[0], fused[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FUSERS)
def test_gradient_by_finite_differences(name, inputs):
    fuser = made(name)
    leaves = [x.requires_grad_() for x in inputs]
    assert torch.autograd.gradcheck(fuser, leaves, fast_mode=True)


def test_weights_at_the_papers_sizes():
    """By hand: linear layers are in x out + out; attention has four and a LayerNorm; the feed-forward has two."""
    t, e, p, v, h, out = 77, 768, 257, 1024, 768, 3 * 768

    def dense(i: int, o: int) -> int:
        return i * o + o

    def forward(features: int) -> int:
        return dense(features, h) + dense(h, out)

    by_hand = {
        "baseline": 0,
        "concat": forward(t * e + p * v),
        "text_pooling": dense(e, v) + forward(p * v),
        "image_pooling": dense(v, e) + forward(t * e),
        "attend_to_text": dense(v, e) + 3 * dense(e, e) + 2 * e + forward(p * e),
        "attend_to_image": 2 * dense(e, e) + 2 * dense(v, e) + 2 * e + forward(t * e),
        "text_only": forward(t * e),
        "image_only": forward(p * v),
    }
    assert {name: weights(name, 768) for name in BY_HAND} == by_hand


def weights(name: str, hidden: int) -> int:
    with torch.device("meta"):
        return count_weights(make_fuser(name, PAPER, select_options(name, {"hidden": hidden}, {})))


def test_matched_widths_have_as_many_weights_as_attend_to_image():
    wanted = weights("attend_to_image", 768)
    assert matched_hidden("attend_to_image", PAPER, {}) == 768
    for name in (name for name in FUSERS if "hidden" in declared_options(name).model_fields):
        assert abs(weights(name, matched_hidden(name, PAPER, {})) / wanted - 1) < 0.005, name


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="12"):
        make_fuser("attend_to_text", Shapes(5, 12, 7, 12, 3, 12), {"hidden": 4})


@pytest.mark.parametrize("name", FUSERS)
def test_options_have_defaults_and_descriptions(name):
    options = check_options(name, {})
    assert make_fuser(name, SHAPES, options)
    assert all(field.description for field in declared_options(name).model_fields.values())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("attend_to_image", {"heads": 4}),
        ("concat", {"residual": True}),
        ("concat", {"hidden": 0}),
        ("concat", {"hidden": "4"}),
        ("baseline", {"hidden": 4}),
    ],
)
def test_an_option_that_is_not_declared_or_out_of_range_is_refused(name, options):
    with pytest.raises(ParameterError, match=next(iter(options))):
        make_fuser(name, SHAPES, options)


@pytest.mark.parametrize("options", ["kernel: int", "kernel=3"], ids=["default", "type"])
def test_an_option_without_type_or_default_is_refused(options, monkeypatch):
    module = ModuleType("recipevis.fusers.careless")
    source = f"class Careless(Fuser):\n    def __init__(self, shapes, {options}):\n        super().__init__(shapes)"
    exec(source, vars(module) | {"Fuser": Fuser}, vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with pytest.raises(TypeError, match="kernel"):
        make_fuser("careless", SHAPES, {})


def test_a_fuser_gets_the_common_options_that_it_declares():
    common = {"hidden": 4, "residual": False}
    assert select_options("concat", common, {}) == {"hidden": 4}
    assert select_options("attend_to_text", common, {}) == common
    assert select_options("baseline", common, {"own": 1}) == {"own": 1}
