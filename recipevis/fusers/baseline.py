"""The paper's baseline: the text tokens alone condition the UNet (Figure 3)."""

from torch import Tensor

from recipevis.fusers.base import Fuser


class Baseline(Fuser):
    """No fusion: the text tokens are the condition tokens. The previous image is not used."""

    uses_image = False
    has_tokens = False

    def forward(self, text: Tensor, text_pooled: Tensor, image: Tensor, image_pooled: Tensor) -> Tensor:
        """See `Fuser.forward`; here c = t and d = e."""
        return text
