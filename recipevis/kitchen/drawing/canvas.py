"""The canvas of the toy kitchen: shapes with soft shadows, and ways to place points."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SIDE = 256  # of a finished picture, pixels
SCALE = 2  # a picture is drawn larger by this factor, then reduced, for smooth edges
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))  # spreads pieces evenly over a disc

Colour = tuple[int, int, int]
Point = tuple[float, float]


class Canvas:
    """A picture drawn larger than it will be; coordinates and sizes are the finished picture's pixels."""

    def __init__(self, image: Image.Image):
        self.image, self.draw = image, ImageDraw.Draw(image)

    def finished(self) -> np.ndarray:
        """The picture at its own size, uint8 RGB [SIDE, SIDE, 3]."""
        return np.asarray(self.image.reduce(SCALE))

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        """A filled circle."""
        self.draw.ellipse(box(centre, radius), fill=colour)

    def ring(self, centre: Point, radius: float, width: float, colour: Colour) -> None:
        """A circle's outline, `width` wide, inside the radius."""
        self.draw.ellipse(box(centre, radius), outline=colour, width=round(width * SCALE))

    def arc(self, centre: Point, radius: float, start: float, end: float, width: float, colour: Colour) -> None:
        """Part of a circle's outline, from `start` to `end` degrees."""
        self.draw.arc(box(centre, radius), start, end, fill=colour, width=round(width * SCALE))

    def line(self, points: list[Point], width: float, colour: Colour) -> None:
        """A line with round ends."""
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self.draw.line(scaled, fill=colour, width=round(width * SCALE), joint="curve")
        for point in (points[0], points[-1]):
            self.disc(point, width / 2, colour)

    def polygon(self, centre: Point, corners: list[Point], turn: float, colour: Colour) -> None:
        """A filled polygon: corners around a centre, turned by `turn` radians."""
        cosine, sine = math.cos(turn), math.sin(turn)
        points = [(centre[0] + x * cosine - y * sine, centre[1] + x * sine + y * cosine) for x, y in corners]
        self.draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=colour)

    def slab(self, centre: Point, half: Point, corner: float, colour: Colour) -> None:
        """A rectangle with round corners; `half` is half its width and height."""
        (x, y), (w, h) = centre, half
        box = [(x - w) * SCALE, (y - h) * SCALE, (x + w) * SCALE, (y + h) * SCALE]
        self.draw.rounded_rectangle(box, corner * SCALE, fill=colour)

    def shadow(self, draw: Callable[["Canvas"], None], strength: float = 0.35, blur: float = 7) -> None:
        """Darken softly the area that `draw` fills with white, shifted away from the light."""
        small = Image.new("RGB", (SIDE * SCALE, SIDE * SCALE))
        draw(Canvas(small))
        mask = small.getchannel(0).reduce(2 * SCALE)
        mask = ImageChops.offset(mask, 3, 4)  # wraps around, so the wrapped edges are cleared
        mask.paste(0, (0, 0, 3, mask.height))
        mask.paste(0, (0, 0, mask.width, 4))
        mask = mask.filter(ImageFilter.GaussianBlur(blur / 2))
        mask = mask.resize(self.image.size, Image.Resampling.BILINEAR).point(lambda value: round(value * strength))
        self.image.paste((24, 18, 20), mask=mask)


def leaf(length: float) -> list[Point]:
    """Corners of a leaf around its middle; `length` is half its length."""
    return [
        (length, 0),
        (length * 0.3, length * 0.5),
        (-length * 0.7, length * 0.35),
        (-length, 0),
        (-length * 0.7, -length * 0.35),
        (length * 0.3, -length * 0.5),
    ]


def spread(count: int, centre: Point, radius: float, turn: float) -> list[Point]:
    """Points spread evenly over a disc, pixels."""
    points = []
    for number in range(count):
        distance, angle = radius * math.sqrt((number + 0.5) / count), number * _GOLDEN_ANGLE + turn
        points.append((centre[0] + distance * math.cos(angle), centre[1] + distance * math.sin(angle)))
    return points


def shade(colour: Colour, factor: float) -> Colour:
    """A colour made darker, or lighter with a factor above 1."""
    return tuple(min(255, round(value * factor)) for value in colour)


def box(centre: Point, radius: float) -> list[float]:
    """A circle's box as Pillow draws it, in the large picture's pixels."""
    (x, y), scale = centre, SCALE
    return [(x - radius) * scale, (y - radius) * scale, (x + radius) * scale, (y + radius) * scale]
