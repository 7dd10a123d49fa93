"""A control, not in the paper: the previous image alone, through the same feed-forward network."""

from torch import Tensor

from recipevis.fusers.base import FeedForward, Fuser, Hidden, Shapes


class ImageOnly(Fuser):
    """Feed-forward on the image tokens alone."""

    uses_text = False

    def __init__(self, shapes: Shapes, hidden: Hidden = 768):
        super().__init__(shapes)
        self.feed_forward = FeedForward(shapes.image_tokens * shapes.image_width, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(image)
