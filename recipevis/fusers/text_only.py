"""A control, not in the paper: the sentence alone, through the same feed-forward network."""

from torch import Tensor

from recipevis.fusers.base import FeedForward, Fuser, Hidden, Shapes


class TextOnly(Fuser):
    """Feed-forward on the text tokens alone."""

    uses_image = False

    def __init__(self, shapes: Shapes, hidden: Hidden = 768):
        super().__init__(shapes)
        self.feed_forward = FeedForward(shapes.text_tokens * shapes.text_width, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(text)
