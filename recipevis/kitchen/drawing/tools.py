"""The cook's arm and the tools."""

import math

from recipevis.kitchen.drawing.canvas import Canvas, Point, shade

_STEEL, _SKIN, _SLEEVE = (196, 200, 204), (232, 190, 158), (92, 96, 124)


def arm(canvas: Canvas, hand: Point, elbow: Point, width: float) -> None:
    """A forearm from the picture's edge to a hand."""
    canvas.shadow(lambda c: c.line([hand, elbow], width, (255, 255, 255)), 0.35, 8)
    wrist = (hand[0] + (elbow[0] - hand[0]) * 0.34, hand[1] + (elbow[1] - hand[1]) * 0.34)
    canvas.line([hand, wrist], width * 0.72, _SKIN)
    canvas.line([wrist, elbow], width, _SLEEVE)
    along = math.atan2(hand[1] - elbow[1], hand[0] - elbow[0])
    canvas.disc(hand, width * 0.52, _SKIN)
    for finger in (-0.75, -0.25, 0.25, 0.75):
        tip = (hand[0] + width * math.cos(along + finger), hand[1] + width * math.sin(along + finger))
        canvas.line([hand, tip], width * 0.26, shade(_SKIN, 0.97))


def _hand(canvas: Canvas) -> None:
    arm(canvas, (186, 202), (252, 276), 32)


def _jug(canvas: Canvas) -> None:
    canvas.shadow(lambda c: c.disc((206, 190), 34, (255, 255, 255)), 0.4, 8)
    canvas.polygon((186, 168), [(-20, -12), (12, -12), (12, 16), (-4, 22)], 0, shade(_STEEL, 0.9))
    canvas.ring((234, 216), 18, 7, shade(_STEEL, 0.7))
    canvas.disc((206, 190), 34, _STEEL)
    canvas.disc((206, 190), 25, shade(_STEEL, 0.72))
    canvas.arc((206, 190), 30, 170, 280, 4, shade(_STEEL, 1.2))


def _shaker(canvas: Canvas) -> None:
    canvas.shadow(lambda c: c.line([(170, 172), (214, 216)], 40, (255, 255, 255)), 0.4, 8)
    canvas.line([(186, 188), (222, 224)], 40, (232, 234, 238))
    canvas.line([(170, 172), (184, 186)], 36, (120, 124, 132))
    for point in ((166, 170), (174, 164), (172, 178)):
        canvas.disc(point, 2.5, (40, 40, 44))


def _spoon(canvas: Canvas) -> None:
    canvas.shadow(lambda c: c.line([(128, 160), (262, 250)], 18, (255, 255, 255)), 0.4, 6)
    canvas.line([(128, 160), (262, 250)], 11, (176, 124, 74))
    canvas.disc((128, 160), 20, (188, 136, 84))
    canvas.disc((126, 158), 13, (164, 114, 66))


def _spatula(canvas: Canvas) -> None:
    canvas.shadow(lambda c: c.line([(150, 176), (262, 250)], 24, (255, 255, 255)), 0.4, 6)
    canvas.line([(160, 182), (262, 250)], 9, (70, 70, 76))
    canvas.polygon((140, 168), [(28, 17), (-24, 20), (-24, -20), (28, -17)], 0.59, _STEEL)
    for slot in (-9, 0, 9):
        canvas.polygon(
            (140, 168), [(16, slot + 2), (-16, slot + 2), (-16, slot - 2), (16, slot - 2)], 0.59, shade(_STEEL, 0.6)
        )


def _mitt(canvas: Canvas) -> None:
    canvas.shadow(lambda c: c.line([(190, 196), (262, 262)], 54, (255, 255, 255)), 0.4, 8)
    canvas.line([(196, 202), (270, 270)], 52, (110, 134, 158))
    canvas.line([(188, 222), (214, 236)], 20, (124, 148, 172))
    canvas.line([(228, 250), (252, 226)], 6, (236, 236, 232))


TOOLS = {"hand": _hand, "jug": _jug, "shaker": _shaker, "spoon": _spoon, "spatula": _spatula, "mitt": _mitt}
