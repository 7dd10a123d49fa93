"""Pictures of the kitchen's scenes: a counter seen from above, a vessel, a few coloured shapes."""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from recipevis.kitchen.recipes import KitchenRecipe, Scene

WIDTH, HEIGHT, RATE = 320, 240, 2  # pixels, pixels, pictures a second
_SUPERSAMPLING = 3  # drawn so many times as large, for smooth edges
_CENTRE = (150, 122)  # of the vessel, pixels
_BESIDE = (268, 60)  # of what waits beside it

_PAINT = {
    "red": (196, 58, 50),
    "blue": (66, 110, 180),
    "green": (88, 148, 92),
    "yellow": (234, 200, 92),
    "orange": (228, 140, 60),
    "purple": (132, 92, 160),
    "white": (236, 233, 226),
    "brown": (150, 108, 76),
}
_RADIUS = {"bowl": 82, "pot": 78, "pan": 84, "plate": 88}  # pixels
# Ingredient: shape, pieces, radius in pixels, colour, second colour.
_LOOKS = {
    "lettuce": ("leaf", 7, 24, (120, 180, 70), (164, 208, 110)),
    "spinach": ("leaf", 7, 17, (46, 110, 56), (84, 148, 84)),
    "tomatoes": ("disc", 6, 13, (214, 50, 40), (240, 110, 90)),
    "onions": ("ring", 6, 13, (230, 214, 232), (180, 130, 186)),
    "olives": ("ring", 7, 8, (52, 54, 40), (120, 120, 90)),
    "cheese": ("block", 8, 11, (248, 208, 84), (252, 228, 140)),
    "carrots": ("stick", 8, 16, (240, 128, 34), (250, 164, 84)),
    "beans": ("stick", 9, 13, (84, 160, 70), (130, 196, 110)),
    "potatoes": ("disc", 5, 16, (226, 198, 130), (240, 220, 166)),
    "mushrooms": ("disc", 6, 12, (192, 164, 136), (228, 208, 184)),
    "eggs": ("disc", 2, 34, (250, 248, 240), (250, 186, 40)),
}
_SPRINKLED = {"salt": (250, 250, 250), "pepper": (40, 36, 34)}
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))  # spreads pieces evenly over a disc


def video(recipe: KitchenRecipe) -> Iterator[np.ndarray]:
    """The pictures of a recipe's video, uint8 RGB [HEIGHT, WIDTH, 3], RATE a second.

    A step's second half shows what it made. Between two steps the camera drifts and an arm is in the way, so the
    wrong time gives the wrong picture.
    """
    for index in range(recipe.duration_s * RATE):
        time = index / RATE
        step = next((step for step in recipe.steps if time < step.end_s), None)
        if step is None:
            yield _idle(recipe.steps[-1].done, index)
        elif time < step.start_s:
            yield _idle(step.before, index)
        else:
            # Strictly before the middle: the frame shown at the middle is of the done step.
            yield _picture(step.begun if time < step.start_s + (step.end_s - step.start_s) / 4 else step.done)


def _idle(scene: Scene, index: int) -> np.ndarray:
    """A scene out of place, with an arm across it."""
    picture = Image.fromarray(_picture(scene))
    shift = (1, 0, 6 * (index % 3) - 6, 0, 1, 4)
    moved = picture.transform(picture.size, Image.Transform.AFFINE, shift, fillcolor=_PAINT[scene.counter])
    arm = Image.new("L", (picture.width * 2, picture.height * 2))
    ImageDraw.Draw(arm).line([(360 + 60 * (index % 2), 500), (330, 270)], fill=255, width=90)
    moved.paste((96, 84, 110), mask=arm.resize(picture.size, Image.Resampling.BOX))
    return np.asarray(moved)


@lru_cache(64)
def _picture(scene: Scene) -> np.ndarray:
    """One scene, uint8 RGB [HEIGHT, WIDTH, 3]."""
    image = Image.new("RGB", (WIDTH * _SUPERSAMPLING, HEIGHT * _SUPERSAMPLING), _PAINT[scene.counter])
    draw = ImageDraw.Draw(image)
    for y in range(0, HEIGHT, 48):  # the counter's planks
        _rectangle(draw, (0, y, WIDTH, y + 2), _shade(_PAINT[scene.counter], 0.9))
    if scene.vessel:
        _vessel(draw, scene)
    for layer, name in enumerate(scene.contents):
        _pieces(draw, name, _CENTRE, _RADIUS[scene.vessel] * 0.62, layer, mixed="toss" in scene.acts)
    if "stir" in scene.acts:
        for turn in range(3):  # a spoon's trace
            radius = _RADIUS[scene.vessel] * (0.25 + 0.2 * turn)
            box = _box(_CENTRE, radius)
            draw.arc(box, 20 + 80 * turn, 200 + 80 * turn, fill=(255, 244, 220), width=4 * _SUPERSAMPLING)
    for name in scene.acts:
        if name in _SPRINKLED:
            for x, y in _spread(60, _CENTRE, _RADIUS[scene.vessel] * 0.7, 0.5):
                _disc(draw, (x, y), 2, _SPRINKLED[name])
    if scene.beside:
        _disc(draw, (_BESIDE[0] + 4, _BESIDE[1] + 6), 44, _shade(_PAINT[scene.counter], 0.75))
        _disc(draw, _BESIDE, 44, (216, 212, 204))
        _pieces(draw, scene.beside, _BESIDE, 24, 0)
    return np.asarray(image.reduce(_SUPERSAMPLING))


def _vessel(draw: ImageDraw.ImageDraw, scene: Scene) -> None:
    """The vessel with its shadow, handle and inside."""
    colour, radius, (x, y) = _PAINT[scene.colour], _RADIUS[scene.vessel], _CENTRE
    shadow = _shade(_PAINT[scene.counter], 0.75)
    _disc(draw, (x + 8, y + 12), radius, shadow)
    if scene.vessel == "pan":
        _rectangle(draw, (x + radius - 8, y + 2, WIDTH, y + 26), shadow)
        _rectangle(draw, (x + radius - 8, y - 12, WIDTH - 6, y + 12), (70, 62, 58))
    if scene.vessel == "pot":
        for side in (-1, 1):
            _disc(draw, (x + side * radius, y), 16, _shade(colour, 0.7))
    _disc(draw, _CENTRE, radius, colour)
    inside = {"bowl": 0.82, "pot": 0.6, "pan": 0.55, "plate": 1.12}[scene.vessel]
    _disc(draw, _CENTRE, radius * (0.7 if scene.vessel == "plate" else 0.88), _shade(colour, inside))


def _pieces(
    draw: ImageDraw.ImageDraw, name: str, centre: tuple, radius: float, layer: int, mixed: bool = False
) -> None:
    """An ingredient's pieces: a heap of their own in the vessel, or spread over all of it when mixed."""
    shape, count, piece, colour, second = _LOOKS[name]
    if layer and not mixed:
        angle = layer * math.tau / 5
        centre = (centre[0] + 0.5 * radius * math.cos(angle), centre[1] + 0.5 * radius * math.sin(angle))
    for number, (x, y) in enumerate(_spread(count, centre, radius * (1 if mixed else 0.72), layer * 1.3)):
        turn = number * 1.9 + layer
        _disc(draw, (x + 2, y + 3), piece * 0.8, _shade(colour, 0.55))  # its shadow
        if shape == "leaf":
            _polygon(draw, (x, y), [(piece, 0), (0, piece * 0.5), (-piece, 0), (0, -piece * 0.5)], turn, colour)
            _polygon(draw, (x, y), [(piece, 0), (0, 2), (-piece, 0), (0, -2)], turn, second)
        elif shape == "stick":
            corners = [(piece, 4), (-piece, 4), (-piece, -4), (piece, -4)]
            _polygon(draw, (x, y), corners, turn, colour)
            _polygon(draw, (x, y), [(a, b / 3) for a, b in corners], turn, second)
        elif shape == "block":
            corners = [(piece, piece), (-piece, piece), (-piece, -piece), (piece, -piece)]
            _polygon(draw, (x, y), corners, turn, colour)
            _polygon(draw, (x, y), [(a * 0.6, b * 0.6) for a, b in corners], turn, second)
        elif shape == "ring":
            draw.ellipse(_box((x, y), piece), outline=colour, width=5 * _SUPERSAMPLING)
            draw.ellipse(_box((x, y), piece * 0.75), outline=second, width=_SUPERSAMPLING)
        else:
            _disc(draw, (x, y), piece, colour)
            _disc(draw, (x, y), piece * 0.5, second)


def _spread(count: int, centre: tuple, radius: float, turn: float) -> list[tuple[float, float]]:
    """Points spread evenly over a disc, pixels."""
    points = []
    for number in range(count):
        distance, angle = radius * math.sqrt((number + 0.5) / count), number * _GOLDEN_ANGLE + turn
        points.append((centre[0] + distance * math.cos(angle), centre[1] + distance * math.sin(angle)))
    return points


def _shade(colour: tuple, factor: float) -> tuple:
    return tuple(min(255, round(value * factor)) for value in colour)


def _box(centre: tuple, radius: float) -> list[float]:
    (x, y), scale = centre, _SUPERSAMPLING
    return [(x - radius) * scale, (y - radius) * scale, (x + radius) * scale, (y + radius) * scale]


def _disc(draw: ImageDraw.ImageDraw, centre: tuple, radius: float, colour: tuple) -> None:
    draw.ellipse(_box(centre, radius), fill=colour)


def _rectangle(draw: ImageDraw.ImageDraw, box: tuple, colour: tuple) -> None:
    draw.rectangle([value * _SUPERSAMPLING for value in box], fill=colour)


def _polygon(draw: ImageDraw.ImageDraw, centre: tuple, corners: list, turn: float, colour: tuple) -> None:
    """A polygon around a point, turned by radians."""
    cosine, sine = math.cos(turn), math.sin(turn)
    points = [(centre[0] + x * cosine - y * sine, centre[1] + x * sine + y * cosine) for x, y in corners]
    draw.polygon([(x * _SUPERSAMPLING, y * _SUPERSAMPLING) for x, y in points], fill=colour)
