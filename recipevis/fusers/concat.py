"""Concatenate all tokens (Figure 4)."""

from torch import Tensor

from recipevis.fusers.base import FeedForward, Fuser, Hidden, Shapes


class Concat(Fuser):
    """Flatten text and image tokens, concatenate them, feed-forward."""

    def __init__(self, shapes: Shapes, hidden: Hidden = 768):
        super().__init__(shapes)
        features = shapes.text_tokens * shapes.text_width + shapes.image_tokens * shapes.image_width
        self.feed_forward = FeedForward(features, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(text, image)
