"""Text tokens attend to image tokens (Figure 7)."""

from torch import Tensor

from recipevis.fusers.base import CrossAttention, FeedForward, Fuser, Hidden, Residual, Shapes


class AttendToImage(Fuser):
    """Text tokens are the queries, image tokens the keys and values; then feed-forward."""

    def __init__(self, shapes: Shapes, hidden: Hidden = 768, residual: Residual = True):
        super().__init__(shapes)
        self.attention = CrossAttention(shapes.text_width, shapes.image_width, shapes.text_width, residual)
        self.feed_forward = FeedForward(shapes.text_tokens * shapes.text_width, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(self.attention(text, image))
