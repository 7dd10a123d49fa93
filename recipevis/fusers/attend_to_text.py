"""Image tokens attend to text tokens (Figure 7)."""

from torch import Tensor

from recipevis.fusers.base import CrossAttention, FeedForward, Fuser, Hidden, Residual, Shapes


class AttendToText(Fuser):
    """Image tokens are the queries, text tokens the keys and values; then feed-forward."""

    def __init__(self, shapes: Shapes, hidden: Hidden = 768, residual: Residual = True):
        super().__init__(shapes)
        self.attention = CrossAttention(shapes.image_width, shapes.text_width, shapes.text_width, residual)
        self.feed_forward = FeedForward(shapes.image_tokens * shapes.text_width, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(self.attention(image, text))
