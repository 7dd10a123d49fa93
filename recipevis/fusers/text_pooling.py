"""Add the pooled text to every image token (Figure 6)."""

from torch import Tensor, nn

from recipevis.fusers.base import FeedForward, Fuser, Hidden, Shapes


class TextPooling(Fuser):
    """Project the pooled text to the image width, add it to every image token, feed-forward."""

    def __init__(self, shapes: Shapes, hidden: Hidden = 768):
        super().__init__(shapes)
        self.project = nn.Linear(shapes.text_width, shapes.image_width)
        self.feed_forward = FeedForward(shapes.image_tokens * shapes.image_width, hidden, shapes)

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`."""
        return self.feed_forward(image + self.project(text_pooled)[:, None])  # [b, p, v] + [b, 1, v]
