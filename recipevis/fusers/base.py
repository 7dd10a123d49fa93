"""What every fuser shares: its interface, its options, the feed-forward network and cross attention.

Shapes: `b` batch, `t` text tokens, `e` text width, `p` image tokens, `v` image width, `c` condition tokens, `d`
condition width (the UNet's cross-attention width), `h` hidden width of the feed-forward network. With Stable Diffusion
v1-4 and CLIP ViT-L/14, t, e, p, v, c, d are 77, 768, 257, 1024, 3, 768.

A fuser is one file in this folder with one subclass of `Fuser` in it. Its name is the file's.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from torch import Tensor, nn
from torch.nn import functional as F

from recipevis.core.plugins import class_in
from recipevis.errors import ParameterError

HEADS = 8
Hidden = Annotated[int, Field(ge=1, description="width of the feed-forward network's hidden layer")]
Residual = Annotated[bool, Field(description="attention adds its output to its queries")]


@dataclass(frozen=True)
class Shapes:
    """The sizes that a fuser works between, as the backbone's configurations give them."""

    text_tokens: int  # t
    text_width: int  # e
    image_tokens: int  # p
    image_width: int  # v
    condition_tokens: int  # c
    condition_width: int  # d


class Fuser(nn.Module):
    """Base class of the fusers.

    A subclass declares its options as arguments of `__init__` after `shapes`, each with a type, a default and, in a
    pydantic `Field`, its range and description. `hidden` and `residual` are the parameters `fuser_hidden` and
    `fuser_residual`; any other option is set in `fuser_options`.

    Attributes:
        uses_text: whether `forward` uses the sentence.
        uses_image: whether `forward` uses the previous image.
        has_tokens: whether it makes tokens of its own; False: it returns the sentence's.
    """

    uses_text = True
    uses_image = True
    has_tokens = True

    def __init__(self, shapes: Shapes):
        super().__init__()
        self.shapes = shapes

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """Fuse text tokens and image tokens into condition tokens.

        Args:
            text: text tokens, [b, t, e].
            text_pooled: the end-of-text token's output, [b, e].
            image: tokens of the previous image, class token first, [b, p, v].
            image_pooled: CLIP's pooled output of the previous image, [b, v].

        Returns:
            condition tokens, [b, c, d].
        """
        raise NotImplementedError


class FeedForward(nn.Module):
    """Flatten, linear to `hidden`, GELU, linear, reshape to condition tokens."""

    def __init__(self, features: int, hidden: int, shapes: Shapes):
        super().__init__()
        self.shape = (shapes.condition_tokens, shapes.condition_width)
        self.inner = nn.Linear(features, hidden)
        self.outer = nn.Linear(hidden, shapes.condition_tokens * shapes.condition_width)

    def forward(self, *tokens: Tensor) -> Tensor:
        """Flatten and concatenate sequences [b, n, w] of any lengths and widths; returns [b, c, d]."""
        flat = torch.cat([sequence.flatten(1) for sequence in tokens], dim=1)  # [b, sum of n * w]
        return self.outer(F.gelu(self.inner(flat))).unflatten(1, self.shape)  # [b, c, d]


class CrossAttention(nn.Module):
    """Multi-head cross attention at the text width, residual to the projected queries, then LayerNorm.

    Without the residual, a dropped image (all zeros, so all keys and values are equal) gives the same output for every
    query: "image dropped" would equal "both dropped".

    Raises:
        ValueError: the width is not a multiple of the number of heads.
    """

    def __init__(self, query_width: int, context_width: int, width: int, residual: bool):
        super().__init__()
        if width % HEADS:
            raise ValueError(f"attention has {HEADS} heads: the text width must be a multiple of it, not {width}")
        self.residual = residual
        self.query = nn.Linear(query_width, width)
        self.key = nn.Linear(context_width, width)
        self.value = nn.Linear(context_width, width)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        for layer in (self.query, self.key, self.value, self.out):  # larger weights than nn.Linear's default
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Queries [b, n, query width] attend to context [b, m, context width]; returns [b, n, width]."""
        projected = self.query(queries)  # [b, n, w]
        q, k, v = (
            x.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # [b, heads, n or m, w / heads]
            for x in (projected, self.key(context), self.value(context))
        )
        attended = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))  # [b, n, w]
        return self.norm(projected + attended if self.residual else attended)


def fuser_class(name: str) -> type[Fuser]:
    """The class of a fuser; `name` is one of `config.FUSERS`."""
    return class_in(f"recipevis.fusers.{name}", Fuser)


def declared_options(name: str) -> type[BaseModel]:
    """The options that a fuser declares, as a pydantic model: a field each, with its type, range and default.

    Raises:
        TypeError: an option has no type or no default.
    """
    _, *options = inspect.signature(fuser_class(name)).parameters.values()  # without `shapes`
    for option in options:
        if inspect.Parameter.empty in (option.annotation, option.default):
            raise TypeError(f"fuser {name}: the option {option.name!r} needs a type and a default")
    fields = {option.name: (option.annotation, option.default) for option in options}
    return create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def make_fuser(name: str, shapes: Shapes, options: Mapping[str, Any]) -> Fuser:
    """A fuser with random weights.

    Args:
        name: one of `config.FUSERS`.
        shapes: the sizes to work between.
        options: values of the options that it declares; those left out have their default.

    Raises:
        ParameterError: it declares no such option, or the value is out of range.
        ValueError: it can't be made at these shapes.
    """
    return fuser_class(name)(shapes, **check_options(name, options))


def check_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a fuser, all of them, checked; arguments and errors as for `make_fuser`."""
    declared = declared_options(name)
    try:
        return dict(declared.model_validate(dict(options)))
    except ValidationError as error:
        problem = error.errors()[0]
        option = ".".join(map(str, problem["loc"]))
        reason = "no such option" if problem["type"] == "extra_forbidden" else problem["msg"]
        known = ", ".join(declared.model_fields) or "none"
        raise ParameterError(
            f"fuser_options.{option} = {problem['input']!r}: {reason}; the options of {name} are {known}"
        ) from None


def select_options(name: str, common: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The options for one fuser: those of `common` that it declares, and all of `extra`."""
    declared = declared_options(name).model_fields
    return {option: value for option, value in common.items() if option in declared} | dict(extra)


def count_weights(network: nn.Module, trained: bool = False) -> int:
    """Number of weights of a network, or of those that are trained."""
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad or not trained)


def matched_hidden(name: str, shapes: Shapes, options: Mapping[str, Any]) -> int:
    """The hidden width that gives a fuser as many weights as `attend_to_image` has at a hidden width of d.

    Within half a hidden unit's weights. A fuser without a hidden layer keeps d.
    """

    def weights(hidden: int) -> int:
        return count_weights(make_fuser(name, shapes, {**options, "hidden": hidden}))

    if "hidden" not in declared_options(name).model_fields:
        return shapes.condition_width
    with torch.device("meta"):
        attention = CrossAttention(shapes.text_width, shapes.image_width, shapes.text_width, residual=True)
        feed_forward = FeedForward(shapes.text_tokens * shapes.text_width, shapes.condition_width, shapes)
        wanted = count_weights(attention) + count_weights(feed_forward)
        at_one, at_two = weights(1), weights(2)  # the number of weights is affine in the width
    return max(1, 1 + round((wanted - at_one) / (at_two - at_one)))
