"""Add the pooled image to every text token (Figure 5)."""

from torch import Tensor, nn

from recipevis.fusers.base import FeedForward, Fuser, Hidden, Shapes


class ImagePooling(Fuser):
    """Project the pooled image to the text width, add it to every text token, feed-forward."""

    def __init__(self, shapes: Shapes, hidden: Hidden = 768):
        super().__init__(shapes)
        self.project = nn.Linear(shapes.image_width, shapes.text_width)
        self.feed_forward = FeedForward(shapes.text_tokens * shapes.text_width, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(text + self.project(image_pooled)[:, None])  # [b, t, e] + [b, 1, e]
