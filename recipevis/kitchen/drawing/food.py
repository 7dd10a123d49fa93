"""Food in a vessel and on the board: bases, toppings, and the marks of what was done to them."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from recipevis.kitchen.drawing.canvas import SCALE, SIDE, Canvas, Colour, Point, box, leaf, shade, spread
from recipevis.kitchen.recipes import Scene

# Bases cover the whole vessel: colour, second colour, texture.
_BASES: dict[str, tuple[Colour, Colour, str]] = {
    "lettuce": ((128, 184, 76), (168, 210, 112), "leaves"),
    "spinach": ((58, 118, 62), (88, 148, 84), "leaves"),
    "vegetable stock": ((214, 160, 70), (232, 186, 104), "liquid"),
    "tomato sauce": ((196, 66, 40), (216, 92, 60), "liquid"),
    "cream": ((246, 236, 210), (252, 246, 230), "liquid"),
    "beaten eggs": ((246, 212, 96), (252, 228, 140), "liquid"),
    "custard": ((244, 218, 130), (250, 232, 166), "liquid"),
    "chocolate": ((92, 58, 44), (118, 78, 58), "liquid"),
    "yoghurt": ((244, 240, 244), (254, 252, 252), "liquid"),
    "dough": ((232, 208, 162), (220, 192, 140), "crust"),
    "noodles": ((236, 206, 126), (214, 178, 94), "strands"),
    "rice": ((246, 242, 228), (222, 216, 198), "grains"),
}
# Toppings lie in heaps: shape, position of the heap (sixths of a turn), pieces, radius of one (pixels), two colours.
_TOPPINGS: dict[str, tuple[str, int, int, float, Colour, Colour]] = {
    "tomatoes": ("slice", 0, 5, 20, (206, 48, 38), (236, 112, 88)),
    "cucumbers": ("slice", 1, 5, 20, (72, 132, 64), (198, 222, 158)),
    "olives": ("ring", 2, 7, 14, (58, 54, 50), (116, 112, 84)),
    "carrots": ("stick", 3, 7, 22, (236, 128, 40), (248, 164, 84)),
    "onions": ("ring", 4, 5, 20, (156, 92, 150), (226, 200, 224)),
    "feta": ("block", 5, 6, 16, (250, 248, 240), (226, 222, 208)),
    "potatoes": ("block", 0, 6, 18, (224, 190, 104), (240, 214, 142)),
    "peas": ("ball", 1, 12, 10, (104, 170, 66), (150, 204, 106)),
    "mushrooms": ("cap", 2, 5, 22, (170, 136, 106), (226, 204, 180)),
    "broccoli": ("floret", 5, 4, 25, (52, 118, 54), (96, 158, 84)),
    "chicken": ("block", 4, 5, 21, (198, 142, 88), (224, 178, 124)),
    "peppers": ("stick", 1, 7, 22, (196, 40, 44), (228, 88, 80)),
    "prawns": ("curl", 0, 5, 21, (240, 140, 112), (252, 192, 168)),
    "strawberries": ("heart", 0, 5, 21, (212, 44, 52), (240, 120, 110)),
    "blueberries": ("ball", 1, 10, 13, (66, 78, 138), (116, 130, 184)),
    "kiwis": ("slice", 2, 5, 21, (120, 166, 56), (200, 220, 140)),
    "oranges": ("slice", 3, 5, 21, (238, 146, 36), (250, 190, 96)),
    "bananas": ("slice", 4, 5, 21, (250, 232, 160), (224, 192, 106)),
    "raspberries": ("ball", 5, 8, 16, (196, 50, 92), (228, 108, 142)),
}
# Finishes are sprinkled: soft dust in the middle, or leaves.
_FINISHES: dict[str, tuple[Colour, str]] = {
    "paprika": ((190, 66, 26), "dust"),
    "parmesan": ((252, 238, 180), "dust"),
    "sugar": ((255, 255, 255), "dust"),
    "cocoa": ((92, 54, 34), "dust"),
    "parsley": ((70, 140, 58), "leaves"),
    "basil": ((40, 108, 52), "leaves"),
}


def fill(canvas: Canvas, scene: Scene, centre: Point, inside: float, bottom: Colour, hidden: str = "") -> None:
    """Draw the food in a scene's vessel, with the marks of what was done to it.

    Args:
        canvas: with the empty vessel.
        scene: with contents.
        centre: of the vessel, pixels.
        inside: radius of its inside, pixels; of a dish, half its width.
        bottom: its colour there.
        hidden: an ingredient that is not drawn.
    """
    food = Image.new("RGB", canvas.image.size, bottom)
    heaped, mixed = Canvas(food), "toss" in scene.acts or "stir" in scene.acts
    covers = [name for name in scene.contents if name in _BASES]
    for layer, name in enumerate(covers):
        if name == hidden:
            continue
        _base(heaped, name, centre, inside - 10 * layer, scene.vessel)
    toppings = [name for name in scene.contents if name in _TOPPINGS]
    for layer, name in enumerate(toppings):
        if name == hidden:
            continue
        if mixed:
            points = spread(_TOPPINGS[name][2] + 2, centre, inside * 0.84, layer * 2.1 + _TOPPINGS[name][1])
        else:
            turn = (_TOPPINGS[name][1] + 0.5) * math.tau / 6
            heap = (centre[0] + 0.52 * inside * math.cos(turn), centre[1] + 0.52 * inside * math.sin(turn))
            points = spread(_TOPPINGS[name][2], heap, inside * 0.36, _TOPPINGS[name][1])
        for number, point in enumerate(points):
            _piece(heaped, name, point, number * 1.9)
    if "stir" in scene.acts:
        for turn in range(3):  # the spoon's trace
            heaped.arc(centre, inside * (0.3 + 0.22 * turn), 30 + 100 * turn, 170 + 100 * turn, 5, (255, 246, 226))
    if "bake" in scene.acts:
        food = Image.blend(food, Image.new("RGB", food.size, (176, 100, 30)), 0.3)
        heaped = Canvas(food)
        for point in spread(9, centre, inside * 0.85, 0.7):
            heaped.disc(point, 6, (150, 84, 36))
    if "fold" in scene.acts:
        heaped = Canvas(food := _folded(food, bottom, centre, inside))
    if scene.finish:
        _sprinkle(heaped, scene.finish, centre, inside)
    mask = Image.new("L", food.size)
    shape = ImageDraw.Draw(mask)
    if scene.vessel == "dish":
        (x, y), w, h = centre, inside, inside * 0.94
        shape.rounded_rectangle(
            [(x - w) * SCALE, (y - h) * SCALE, (x + w) * SCALE, (y + h) * SCALE], 22 * SCALE, fill=255
        )
    else:
        shape.ellipse(box(centre, inside), fill=255)
    canvas.image.paste(food, mask=mask)


def _folded(food: Image.Image, bottom: Colour, centre: Point, inside: float) -> Image.Image:
    """Fold one half over the other: the lower half shows the underside, the upper half the empty pan."""
    folded = Image.new("RGB", food.size, bottom)
    canvas = Canvas(folded)
    lower = Canvas(Image.new("RGB", food.size))
    lower.draw.pieslice(box(centre, inside - 4), 0, 180, fill=(255, 255, 255))
    canvas.image.paste(food, mask=lower.image.getchannel(0))
    left, top, right, bottom_edge = box(centre, inside - 4)
    canvas.draw.pieslice([left, top, right, bottom_edge - 26 * SCALE], 0, 180, fill=(240, 196, 84))
    canvas.arc(centre, inside * 0.5, 20, 160, 4, (214, 160, 62))
    return folded


def _sprinkle(canvas: Canvas, name: str, centre: Point, inside: float) -> None:
    colour, form = _FINISHES[name]
    if form == "leaves":
        for number, point in enumerate(spread(9, centre, inside * 0.8, 0.4)):
            turn = number * 2.4
            canvas.polygon((point[0] + 2, point[1] + 3), leaf(14), turn, shade(colour, 0.6))
            canvas.polygon(point, leaf(14), turn, colour)
        return
    mask = Image.new("L", (SIDE // 4, SIDE // 4))
    draw = ImageDraw.Draw(mask)
    for x, y in spread(7, centre, inside * 0.72, 0.4):
        draw.ellipse([(x - 17) / 4, (y - 17) / 4, (x + 17) / 4, (y + 17) / 4], fill=150)
    mask = mask.filter(ImageFilter.GaussianBlur(1.5)).resize(canvas.image.size, Image.Resampling.BICUBIC)
    canvas.image.paste(colour, mask=mask)


def _base(canvas: Canvas, name: str, centre: Point, radius: float, vessel: str) -> None:
    """Draw the bases, which cover the vessel's bottom."""
    colour, second, texture = _BASES[name]
    if vessel == "dish":
        canvas.slab(centre, (radius, radius * 0.94), 22, colour)
    else:
        canvas.disc(centre, radius, colour)
    if texture == "leaves":
        for number, point in enumerate(spread(16, centre, radius * 0.9, 0.0)):
            turn = number * 2.1
            canvas.polygon(point, leaf(27), turn, shade(colour, 0.82))
            canvas.polygon(point, leaf(23), turn, colour if number % 2 else second)
    elif texture == "liquid":
        canvas.arc(centre, radius * 0.86, 160, 290, 5, second)
        canvas.arc(centre, radius * 0.62, 10, 120, 5, second)
        canvas.arc(centre, radius * 0.36, 190, 330, 5, second)
    elif texture == "crust":
        if vessel != "dish":
            canvas.ring(centre, radius, 9, second)
        for point in spread(12, centre, radius * 0.8, 1.0):
            canvas.disc(point, 3, second)
    elif texture == "strands":
        for number, point in enumerate(spread(12, centre, radius * 0.72, 0.5)):
            for ring in range(2):
                canvas.arc(point, 22 - 9 * ring, number * 47, number * 47 + 230, 3.5, second)
    else:
        for number, point in enumerate(spread(48, centre, radius * 0.92, 0.0)):
            canvas.polygon(point, [(6, 2), (-6, 2), (-6, -2), (6, -2)], number * 1.3, second)


def _piece(canvas: Canvas, name: str, point: Point, turn: float) -> None:
    """Draw one piece of a topping and its shadow."""
    shape, _, _, r, colour, second = _TOPPINGS[name]
    x, y = point
    dark = shade(colour, 0.62)
    if shape == "slice":
        canvas.disc((x + 1.5, y + 2), r, dark)
        canvas.disc(point, r, colour)
        canvas.disc(point, r * 0.68, second)
        canvas.disc(point, r * 0.2, colour)
    elif shape == "ring":
        canvas.ring((x + 1.5, y + 2), r, r * 0.45, dark)
        canvas.ring(point, r, r * 0.45, colour)
        canvas.ring(point, r * 0.82, 1.5, second)
    elif shape == "ball":
        canvas.disc((x + 1.5, y + 2), r, dark)
        canvas.disc(point, r, colour)
        canvas.disc((x - r * 0.25, y - r * 0.3), r * 0.42, second)
    elif shape == "stick":
        canvas.polygon((x + 1.5, y + 2), [(r, 6), (-r, 6), (-r, -6), (r, -6)], turn, dark)
        canvas.polygon(point, [(r, 6), (-r, 6), (-r, -6), (r, -6)], turn, colour)
        canvas.polygon(point, [(r * 0.85, 1), (-r * 0.85, 1), (-r * 0.85, -4), (r * 0.85, -4)], turn, second)
    elif shape == "block":
        half = r * 0.85
        square = [(half, half), (-half, half), (-half, -half), (half, -half)]
        canvas.polygon((x + 2, y + 3), square, turn, dark)
        canvas.polygon(point, square, turn, colour)
        canvas.polygon(point, [(a * 0.6, b * 0.6) for a, b in square], turn, second)
    elif shape == "cap":  # a mushroom cut lengthwise
        canvas.polygon((x + 1.5, y + 2), [(-6, 0), (6, 0), (8, r), (-8, r)], turn, dark)
        canvas.polygon(point, [(-6, 0), (6, 0), (8, r * 0.95), (-8, r * 0.95)], turn, second)
        dome = [(r * math.cos(a), -r * 0.8 * math.sin(a)) for a in np.linspace(-0.2, math.pi + 0.2, 14)]
        canvas.polygon(point, dome, turn, colour)
        canvas.polygon(point, [(a * 0.7, b * 0.6) for a, b in dome], turn, second)
    elif shape == "floret":
        canvas.disc((x + 2, y + 3), r * 0.95, dark)
        for bud in range(6):
            angle = turn + bud * math.tau / 6
            canvas.disc((x + r * 0.55 * math.cos(angle), y + r * 0.55 * math.sin(angle)), r * 0.45, colour)
        canvas.disc(point, r * 0.5, second)
    elif shape == "curl":
        degrees = math.degrees(turn)
        canvas.arc((x + 1.5, y + 2), r * 0.9, degrees, degrees + 250, r * 0.55, dark)
        canvas.arc(point, r * 0.9, degrees, degrees + 250, r * 0.55, colour)
        canvas.arc(point, r * 0.75, degrees + 10, degrees + 230, 2.5, second)
    else:  # a strawberry cut in half
        heart = [
            (0, r),
            (-r * 0.85, -r * 0.2),
            (-r * 0.5, -r * 0.8),
            (0, -r * 0.6),
            (r * 0.5, -r * 0.8),
            (r * 0.85, -r * 0.2),
        ]
        canvas.polygon((x + 1.5, y + 2), heart, turn, dark)
        canvas.polygon(point, heart, turn, colour)
        canvas.polygon(point, [(a * 0.5, b * 0.5) for a, b in heart], turn, second)


def on_board(canvas: Canvas, name: str) -> None:
    """Draw an ingredient on the board: pieces of a topping, or a jar of a base."""
    if name in _TOPPINGS:
        for number, point in enumerate(((184, 26), (216, 22), (196, 56), (230, 52))):
            _piece(canvas, name, point, number * 1.9 + 0.6)
        return
    colour, second, _ = _BASES[name]
    centre = (208, 40)
    canvas.shadow(lambda c: c.disc(centre, 34, (255, 255, 255)), 0.35, 5)
    canvas.disc(centre, 34, (236, 238, 240))
    canvas.disc(centre, 28, colour)
    canvas.arc(centre, 20, 160, 300, 5, second)
