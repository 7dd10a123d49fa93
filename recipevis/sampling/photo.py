"""Photos as people have them: turned, with transparency, with 16 bits."""

import numpy as np
from PIL import ExifTags, Image
from PIL.Image import Transpose

# By the orientation in the EXIF data. `ImageOps.exif_transpose` also writes these data anew, and fails if one is odd.
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> np.ndarray:
    """A picture as uint8 RGB [h, w, 3]: turned as its EXIF data say, what is transparent is white, 16 bits become 8."""
    turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I"):  # 16 bits; Pillow would clip them
        image = Image.fromarray((np.asarray(image).clip(0, 65_535) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))
