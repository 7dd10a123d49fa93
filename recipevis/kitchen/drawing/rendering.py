"""Pictures and videos of the toy kitchen from above: a counter, a vessel with food, a board, a tool."""

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

import numpy as np
from PIL import Image

from recipevis.kitchen.drawing.canvas import SCALE, SIDE, Canvas, Colour, shade
from recipevis.kitchen.drawing.food import fill, on_board
from recipevis.kitchen.drawing.tools import TOOLS, arm
from recipevis.kitchen.recipes import KitchenRecipe, Scene, View

RATE = 2  # pictures a second
CENTRE = (108, 146)  # of the vessel, pixels
_BOARD = (214, 40)  # its centre
_WOOD = (222, 190, 144)

PAINT: dict[str, Colour] = {
    "red": (200, 100, 94),
    "orange": (218, 154, 96),
    "yellow": (222, 200, 124),
    "green": (130, 166, 122),
    "blue": (110, 146, 186),
    "purple": (154, 124, 172),
    "white": (224, 220, 212),
    "brown": (146, 118, 96),
}
# Radius of a vessel and of its inside, pixels; for a dish, half its width.
_RADIUS = {"bowl": 98, "pot": 94, "pan": 94, "tray": 100, "plate": 100, "dish": 96}
_INSIDE = {"bowl": 82, "pot": 80, "pan": 80, "tray": 86, "plate": 76, "dish": 82}


def video(recipe: KitchenRecipe) -> Iterator[np.ndarray]:
    """The pictures of a recipe's video, uint8 RGB [SIDE, SIDE, 3], RATE a second.

    A step's first quarter shows the ingredient on the board, the rest shows the step's result. Between steps the camera
    moves and an arm covers the scene, so a frame from a wrong time is a wrong image.
    """
    for index in range(recipe.duration_s * RATE):
        time = index / RATE
        step = next((step for step in recipe.steps if time < step.end_s), None)
        if step is None:
            yield _idle(replace(recipe.steps[-1].done, tool="", board=""), index)
        elif time < step.start_s:
            yield _idle(step.before, index)
        else:
            # A quarter is well before the middle, so the middle frame shows the result.
            yield picture(step.begun if time < step.start_s + (step.end_s - step.start_s) / 4 else step.done)


def _idle(scene: Scene, index: int) -> np.ndarray:
    """A scene from a moving camera, with an arm across it."""
    sway, turn = 5 * math.sin(1.7 * index), math.radians(2 * math.sin(1.1 * index))
    cosine, sine = math.cos(turn), math.sin(turn)
    affine = (cosine, sine, sway, -sine, cosine, 4 * math.cos(1.3 * index))
    image = Image.fromarray(picture(scene))
    image = image.transform(image.size, Image.Transform.AFFINE, affine, fillcolor=PAINT[scene.counter])
    canvas = Canvas(image.resize((SIDE * SCALE, SIDE * SCALE)))
    arm(canvas, (150 + 30 * math.sin(index), 150), (200, 330), 26)
    return canvas.finished()


@lru_cache(64)
def picture(scene: Scene, hidden: str = "") -> np.ndarray:
    """One scene, uint8 RGB [SIDE, SIDE, 3].

    Args:
        scene: what is visible.
        hidden: an ingredient in the vessel that is left out; the others stay where they are.
    """
    canvas = Canvas(_still(scene.counter, scene.vessel, scene.colour).copy())
    if scene.contents:
        fill(canvas, scene, CENTRE, _INSIDE[scene.vessel] - 4, shade(PAINT[scene.colour], 0.6), hidden)
    if scene.board:
        on_board(canvas, scene.board)
    if scene.tool:
        TOOLS[scene.tool](canvas)
    if scene.view:
        canvas = Canvas(_seen(canvas.image, scene.view, PAINT[scene.counter]))
    return canvas.finished()


def _seen(image: Image.Image, view: View, counter: Colour) -> Image.Image:
    """A picture from another view; beyond its edges is the counter."""
    cosine, sine = (f(math.radians(view.degrees)) / view.zoom for f in (math.cos, math.sin))
    middle, right, down = image.width / 2, view.right * SCALE, view.down * SCALE
    rows = ((cosine, sine), (-sine, cosine))
    affine = [v for a, b in rows for v in (a, b, middle - a * (middle + right) - b * (middle + down))]
    return image.transform(image.size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC, fillcolor=counter)


@lru_cache(256)
def _still(counter: str, vessel: str, colour: str) -> Image.Image:
    """What doesn't change in a recipe: counter, board, empty vessel."""
    paint = PAINT[counter]
    canvas = Canvas(Image.new("RGB", (SIDE * SCALE, SIDE * SCALE), paint))
    for row in range(6):  # planks and their grain
        canvas.line([(-9, row * 52 + 20), (265, row * 52 + 20)], 2, shade(paint, 0.88))
        for grain in range(2):
            y = row * 52 + 36 + 18 * grain
            canvas.line(
                [(30 + 70 * ((row + grain) % 3), y), (110 + 70 * ((row + grain) % 3), y + 1)], 2, shade(paint, 0.94)
            )
    canvas.shadow(lambda c: c.slab(_BOARD, (58, 46), 12, (255, 255, 255)))
    canvas.slab(_BOARD, (58, 46), 12, _WOOD)
    for y in (14, 40, 66):
        canvas.line([(162, y), (262, y)], 1.5, shade(_WOOD, 0.94))
    if vessel:
        canvas.shadow(lambda c: _outline(c, vessel, (255, 255, 255), (255, 255, 255)), 0.45, 12)
        _outline(canvas, vessel, PAINT[colour], shade(PAINT[colour], 0.55 if vessel == "pan" else 0.8))
        _vessel(canvas, vessel, PAINT[colour])
    return canvas.image


def _outline(canvas: Canvas, vessel: str, colour: Colour, handles: Colour) -> None:
    (x, y), radius = CENTRE, _RADIUS[vessel]
    if vessel == "dish":
        canvas.slab(CENTRE, (radius, radius * 0.94), 30, colour)
        return
    if vessel == "pan":
        canvas.line([(x + 60, y + 60), (x + 150, y + 150)], 20, handles)
    if vessel == "pot":
        for side in (-1, 1):
            canvas.slab((x + side * radius, y), (12, 20), 8, handles)
    canvas.disc(CENTRE, radius, colour)


def _vessel(canvas: Canvas, vessel: str, colour: Colour) -> None:
    """The inside of a vessel, darker on the side of the wall's shadow."""
    inside, deep = _INSIDE[vessel], {"bowl": 0.8, "pot": 0.6, "pan": 0.56, "dish": 0.76}.get(vessel, 0.92)
    if vessel == "dish":
        canvas.slab(CENTRE, (inside, inside * 0.94), 24, shade(colour, deep))
        canvas.slab((CENTRE[0] + 3, CENTRE[1] + 4), (inside - 5, inside * 0.94 - 6), 22, shade(colour, deep + 0.08))
        return
    canvas.arc(CENTRE, _RADIUS[vessel] - 3, 170, 280, 3, shade(colour, 1.14))  # light on the rim
    canvas.disc(CENTRE, inside, shade(colour, deep))
    canvas.disc((CENTRE[0] + 3, CENTRE[1] + 4), inside - 6, shade(colour, deep + 0.08))
