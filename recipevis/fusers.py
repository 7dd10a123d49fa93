"""The ways of fusing a sentence and the previous image into condition tokens (section 2, A.2, Figures 3 to 7).

Shapes: `b` batch, `t` text tokens, `e` text width, `p` image tokens, `v` image width, `c` condition tokens,
`d` condition width (the UNet's cross-attention width), `h` hidden width of the feed-forward.
At Stable Diffusion's and CLIP's sizes t, e, p, v, c, d are 77, 768, 257, 1024, 3, 768.

A new fuser is one class with `forward` below, and one line in `FUSERS`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipevis.shapes import Shapes

HEADS = 8


class Fuser(nn.Module):
    """Base of the fusers.

    Args:
        shapes: the sizes to work between.
        hidden: width of the feed-forward's hidden layer.
        residual: attention adds its output to its queries; fusers without attention ignore it.
    """

    sees_text = True
    sees_image = True

    def __init__(self, shapes: Shapes, hidden: int, residual: bool):
        super().__init__()
        self.shapes = shapes

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """Fuse [b, t, e], [b, e], [b, p, v], [b, v] into condition tokens [b, c, d]."""
        raise NotImplementedError


class FeedForward(nn.Module):
    """Flatten, linear to `hidden`, GELU, linear, reshape to condition tokens."""

    def __init__(self, features: int, hidden: int, shapes: Shapes):
        super().__init__()
        self.shape = (shapes.condition_tokens, shapes.condition_width)
        self.inner = nn.Linear(features, hidden)
        self.outer = nn.Linear(hidden, shapes.condition_tokens * shapes.condition_width)

    def forward(self, *tokens: Tensor) -> Tensor:
        """Sequences [b, n, w] of any lengths and widths, flattened and concatenated, to [b, c, d]."""
        flat = torch.cat([sequence.flatten(1) for sequence in tokens], dim=1)  # [b, sum of n * w]
        return self.outer(F.gelu(self.inner(flat))).unflatten(1, self.shape)  # [b, c, d]


class Baseline(Fuser):
    """No fuser: the text tokens themselves condition the UNet (Figure 3). The previous image is not seen."""

    sees_image = False

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """The text tokens, [b, t, e], where e = d."""
        return text


class Concat(Fuser):
    """Flatten text and image tokens, concatenate them, feed-forward (Figure 4)."""

    def __init__(self, shapes: Shapes, hidden: int, residual: bool):
        super().__init__(shapes, hidden, residual)
        features = shapes.text_tokens * shapes.text_width + shapes.image_tokens * shapes.image_width
        self.feed_forward = FeedForward(features, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(text, image)


class ImagePooling(Fuser):
    """Project the pooled image to the text width, add it to every text token, feed-forward (Figure 5)."""

    def __init__(self, shapes: Shapes, hidden: int, residual: bool):
        super().__init__(shapes, hidden, residual)
        self.project = nn.Linear(shapes.image_width, shapes.text_width)
        self.feed_forward = FeedForward(shapes.text_tokens * shapes.text_width, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(text + self.project(image_pooled)[:, None])  # [b, t, e] + [b, 1, e]


class TextPooling(Fuser):
    """Project the pooled text to the image width, add it to every image token, feed-forward (Figure 6)."""

    def __init__(self, shapes: Shapes, hidden: int, residual: bool):
        super().__init__(shapes, hidden, residual)
        self.project = nn.Linear(shapes.text_width, shapes.image_width)
        self.feed_forward = FeedForward(shapes.image_tokens * shapes.image_width, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(image + self.project(text_pooled)[:, None])  # [b, p, v] + [b, 1, v]


class CrossAttention(nn.Module):
    """Multi-head cross attention at the text width, residual to the projected queries, LayerNorm.

    Without the residual, a dropped image (all zeros: every key and value the same) gives the same output whatever
    the queries are, so that "image dropped" would equal "both dropped".
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
        for layer in (
            self.query,
            self.key,
            self.value,
            self.out,
        ):  # wider than nn.Linear's own
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, context: Tensor) -> Tensor:
        """Queries [b, n, query width] attend to context [b, m, context width]; gives [b, n, width]."""
        projected = self.query(queries)  # [b, n, w]
        q, k, v = (
            x.unflatten(-1, (HEADS, -1)).transpose(1, 2)  # [b, heads, n or m, w / heads]
            for x in (projected, self.key(context), self.value(context))
        )
        attended = self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))  # [b, n, w]
        return self.norm(projected + attended if self.residual else attended)


class AttendToText(Fuser):
    """Image tokens are the queries, text tokens keys and values; then feed-forward (Figure 7)."""

    def __init__(self, shapes: Shapes, hidden: int, residual: bool):
        super().__init__(shapes, hidden, residual)
        self.attention = CrossAttention(shapes.image_width, shapes.text_width, shapes.text_width, residual)
        self.feed_forward = FeedForward(shapes.image_tokens * shapes.text_width, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(self.attention(image, text))


class AttendToImage(Fuser):
    """Text tokens are the queries, image tokens keys and values; then feed-forward (Figure 7)."""

    def __init__(self, shapes: Shapes, hidden: int, residual: bool):
        super().__init__(shapes, hidden, residual)
        self.attention = CrossAttention(shapes.text_width, shapes.image_width, shapes.text_width, residual)
        self.feed_forward = FeedForward(shapes.text_tokens * shapes.text_width, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(self.attention(text, image))


class TextOnly(Fuser):
    """Control, not in the paper: the feed-forward on the text tokens alone."""

    sees_image = False

    def __init__(self, shapes: Shapes, hidden: int, residual: bool):
        super().__init__(shapes, hidden, residual)
        self.feed_forward = FeedForward(shapes.text_tokens * shapes.text_width, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(text)


class ImageOnly(Fuser):
    """Control, not in the paper: the feed-forward on the image tokens alone."""

    sees_text = False

    def __init__(self, shapes: Shapes, hidden: int, residual: bool):
        super().__init__(shapes, hidden, residual)
        self.feed_forward = FeedForward(shapes.image_tokens * shapes.image_width, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(image)


FUSERS: dict[str, type[Fuser]] = {
    "baseline": Baseline,
    "concat": Concat,
    "text_pooling": TextPooling,
    "image_pooling": ImagePooling,
    "attend_to_text": AttendToText,
    "attend_to_image": AttendToImage,
    "text_only": TextOnly,
    "image_only": ImageOnly,
}


def count_weights(name: str, shapes: Shapes, hidden: int) -> int:
    """Number of weights of a fuser, without making them."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in FUSERS[name](shapes, hidden, residual=True).parameters())


def hidden_width(name: str, shapes: Shapes, hidden: int | str) -> int:
    """The feed-forward's width: `hidden` itself, or for `matched` the one that gives as many weights as
    `attend_to_image` has at a hidden width of `condition_width` (within half a hidden unit's weights)."""
    if hidden != "matched":
        return hidden
    wanted = count_weights("attend_to_image", shapes, shapes.condition_width)
    at_one, at_two = (count_weights(name, shapes, width) for width in (1, 2))
    per_unit = at_two - at_one  # the number of weights is affine in the width
    return max(1, 1 + round((wanted - at_one) / per_unit)) if per_unit else shapes.condition_width
