"""Photos as people have them: turned, with transparency, with 16 bits."""

import numpy as np
from PIL import Image, ImageOps


def upright(image: Image.Image) -> np.ndarray:
    """A picture as uint8 RGB [h, w, 3]: turned as its EXIF data say, what is transparent is white, 16 bits become 8."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits; Pillow would clip them
        image = Image.fromarray((np.asarray(image).clip(0, 65_535) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))
