"""Recipes of the toy kitchen, in YouCook2's form: each step's sentence, and the scene after it.

The next image depends on the sentence and on the previous image: only a recipe's first sentence names the colours of
counter and vessel, and each ingredient is named in its own step only. A recipe is a function of the seed and the
video's id alone, so a renderer that knows both needs no file.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recipevis.randomness import numpy_generator

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "white", "brown")


@dataclass(frozen=True)
class RecipeType:
    """The choices that a type of recipe allows.

    Attributes:
        vessel: bowl, pot, pan, tray, plate or dish.
        bases: ingredients that fill the whole vessel; a recipe has one of each group, in order.
        toppings: ingredients that lie on the bases in heaps.
        act: what is done to all of it.
        finish: ingredients that are sprinkled on top.
    """

    vessel: str
    bases: tuple[tuple[str, ...], ...]
    toppings: tuple[str, ...]
    act: str
    finish: tuple[str, ...]


TYPES = {
    "salad": RecipeType(
        "bowl",
        (("lettuce", "spinach"),),
        ("tomatoes", "cucumbers", "olives", "carrots", "onions", "feta"),
        "toss",
        ("parmesan", "parsley"),
    ),
    "soup": RecipeType(
        "pot",
        (("vegetable stock", "tomato sauce", "cream"),),
        ("carrots", "potatoes", "peas", "mushrooms", "broccoli", "chicken"),
        "stir",
        ("paprika", "parsley"),
    ),
    "omelette": RecipeType(
        "pan",
        (("beaten eggs",),),
        ("mushrooms", "tomatoes", "peppers", "onions", "feta", "peas"),
        "fold",
        ("paprika", "parsley"),
    ),
    "pizza": RecipeType(
        "tray",
        (("dough",), ("tomato sauce", "cream")),
        ("mushrooms", "olives", "peppers", "onions", "tomatoes", "feta"),
        "bake",
        ("basil", "parmesan"),
    ),
    "stir fry": RecipeType(
        "pan",
        (("noodles", "rice"),),
        ("broccoli", "carrots", "peppers", "prawns", "mushrooms", "chicken"),
        "toss",
        ("basil", "parsley"),
    ),
    "rice bowl": RecipeType(
        "bowl",
        (("rice",),),
        ("prawns", "cucumbers", "carrots", "chicken", "broccoli", "peas"),
        "stir",
        ("parsley", "paprika"),
    ),
    "pasta": RecipeType(
        "plate",
        (("noodles",), ("tomato sauce", "cream")),
        ("mushrooms", "olives", "tomatoes", "prawns", "peas", "feta"),
        "toss",
        ("basil", "paprika"),
    ),
    "gratin": RecipeType(
        "dish",
        (("cream", "tomato sauce"),),
        ("potatoes", "broccoli", "mushrooms", "carrots", "onions", "chicken"),
        "bake",
        ("paprika", "parsley"),
    ),
    "fruit tart": RecipeType(
        "dish",
        (("dough",), ("custard", "chocolate")),
        ("strawberries", "blueberries", "kiwis", "oranges", "bananas", "raspberries"),
        "bake",
        ("sugar", "cocoa"),
    ),
    "fruit bowl": RecipeType(
        "bowl",
        (("yoghurt", "custard"),),
        ("strawberries", "blueberries", "kiwis", "oranges", "bananas", "raspberries"),
        "stir",
        ("cocoa", "sugar"),
    ),
}

_POURED = {"vegetable stock", "tomato sauce", "cream", "beaten eggs", "custard", "chocolate", "yoghurt"}
_FIRST = (
    "place a {colour} {vessel} on the {counter} counter",
    "put the {colour} {vessel} on a {counter} counter",
    "take a {colour} {vessel} and set it on the {counter} counter",
    "start on a {counter} counter with a {colour} {vessel}",
    "on the {counter} counter get a {colour} {vessel} ready",
)
_POUR = (
    "pour the {} into the {vessel}",
    "pour in the {}",
    "cover everything with {}",
    "add the {} and let it settle",
)
_LAY = (
    "lay the {} in the {vessel}",
    "fill the {vessel} with {}",
    "put in the {}",
    "spread the {} in the {vessel}",
    "start with the {}",
)
_ADD = (
    "add {} to the {vessel}",
    "chop the {} and put them in",
    "scatter the {} over it",
    "drop in the {}",
    "slice the {} and add them to the {vessel}",
    "arrange the {} on top",
    "now add some {}",
)
_SPRINKLE = (
    "sprinkle {} over it",
    "finish with {}",
    "dust everything with {}",
    "season it with {} and serve",
)
_ACTS = {
    "toss": ("toss everything together", "toss it all until well mixed", "mix everything with two spoons and toss"),
    "stir": ("stir everything well", "stir until it is mixed", "stir with a wooden spoon"),
    "fold": ("fold it in half", "fold one half over the other", "lift one side with a spatula and fold it"),
    "bake": ("bake until golden", "put it in the oven and bake it", "bake for twenty minutes until crisp"),
}
_TOOLS = {"toss": "spoon", "stir": "spoon", "fold": "spatula", "bake": "mitt"}


@dataclass(frozen=True)
class View:
    """Where the camera is: the picture is turned and enlarged about its centre, then shifted.

    Attributes:
        right, down: shift of the picture, pixels of 256.
        zoom: enlargement.
        degrees: of the turn, clockwise.
    """

    right: float
    down: float
    zoom: float
    degrees: float


@dataclass(frozen=True)
class Scene:
    """Everything that is visible at one time.

    Attributes:
        counter: colour of the counter.
        vessel: its kind; empty: none yet.
        colour: the vessel's colour; empty: no vessel yet.
        contents: ingredients in the vessel, in the order in which they were added.
        acts: what was done to them.
        finish: the ingredient sprinkled on top; empty: none.
        board: the ingredient on the board; empty: none.
        tool: the tool over the vessel: hand, jug, shaker, spoon, spatula or mitt; empty: none.
        view: where the camera is; None: above the middle.
    """

    counter: str
    vessel: str
    colour: str
    contents: tuple[str, ...] = ()
    acts: tuple[str, ...] = ()
    finish: str = ""
    board: str = ""
    tool: str = ""
    view: View | None = None


@dataclass(frozen=True)
class KitchenStep:
    """One step: its times in seconds, its sentence, and the scene before it, at its beginning and after it."""

    start_s: int
    end_s: int
    sentence: str
    before: Scene
    begun: Scene
    done: Scene


@dataclass(frozen=True)
class KitchenRecipe:
    """One video: its type, its duration in seconds and its steps, with idle time around each."""

    recipe_type: str
    duration_s: int
    steps: tuple[KitchenStep, ...]


def recipe(seed: int, video_id: str, camera_cuts: float = 0.0) -> KitchenRecipe:
    """The recipe of a video, 3 to 7 steps.

    Args:
        seed: `dataset.seed`.
        video_id: `<subset>-<number>`; the number chooses the type, so that each split has all types.
        camera_cuts: share of the steps after the first that begin with another view. All else is the same for any.
    """
    random = numpy_generator(seed, "kitchen", video_id)
    names = tuple(TYPES)
    recipe_type = names[int(video_id.rpartition("-")[2]) % len(names)]
    made = TYPES[recipe_type]
    counter, colour = (COLOURS[index] for index in random.choice(len(COLOURS), 2, replace=False))
    bases = [group[random.integers(len(group))] for group in made.bases]
    toppings = [made.toppings[i] for i in random.permutation(len(made.toppings))[: random.integers(1, 4)]]
    acts = [made.act] if random.random() < 0.6 else []
    finish = [made.finish[random.integers(len(made.finish))]] if random.random() < 0.6 else []

    def say(templates: tuple[str, ...], *things: str) -> str:
        return worded(random, templates, *things, vessel=made.vessel, colour=colour, counter=counter)

    scene = Scene(counter, made.vessel, colour)
    said = [(say(_FIRST), replace(scene, vessel="", colour=""), scene)]
    for name in [*bases, *toppings]:
        waiting = replace(scene, board=name)
        scene = replace(scene, contents=(*scene.contents, name))
        templates = _ADD if name in toppings else _POUR if name in _POURED else _LAY
        tool = "jug" if name in _POURED else "hand"
        said.append((say(templates, name), waiting, replace(scene, board=name, tool=tool)))
    for act in acts:
        said.append((say(_ACTS[act]), scene, replace(scene, acts=(act,), tool=_TOOLS[act])))
        scene = replace(scene, acts=(act,))
    for name in finish[: 7 - len(said)]:
        said.append((say(_SPRINKLE, name), scene, replace(scene, finish=name, tool="shaker")))
    return _timed(recipe_type, _filmed(said, camera_cuts, numpy_generator(seed, "camera", video_id)), random)


def _filmed(said: list[tuple[str, Scene, Scene]], cuts: float, random: np.random.Generator) -> list:
    """The sentences and scenes as a camera sees them that cuts to another view in this share of the steps."""
    view, filmed = None, [said[0]]
    for sentence, begun, done in said[1:]:
        if random.random() < cuts:
            low, high = (-36, -36, 0.9, -15), (36, 36, 1.35, 15)
            view = View(*(round(float(value), 2) for value in random.uniform(low, high)))
        filmed.append((sentence, replace(begun, view=view), replace(done, view=view)))
    return filmed


def worded(random: np.random.Generator, templates: tuple[str, ...], *things: str, **names: str) -> str:
    """A random template, filled in."""
    sentence = templates[random.integers(len(templates))].format(*things, **names)
    return sentence.replace("a orange", "an orange")


def _timed(recipe_type: str, said: list[tuple[str, Scene, Scene]], random: np.random.Generator) -> KitchenRecipe:
    """Give the steps times in whole seconds, as in YouCook2."""
    time, steps, before = int(random.integers(1, 4)), [], said[0][1]
    for sentence, begun, done in said:
        end = time + int(random.integers(3, 7))
        steps.append(KitchenStep(time, end, sentence, before, begun, done))
        time, before = end + int(random.integers(1, 4)), replace(done, tool="", board="")
    return KitchenRecipe(recipe_type, time, tuple(steps))


def youcook2(seed: int, training_videos: int, validation_videos: int) -> dict[str, Any]:
    """The annotations of both splits, in YouCook2's form."""
    database = {}
    for subset, videos in (("training", training_videos), ("validation", validation_videos)):
        for number in range(videos):
            video_id = f"{subset}-{number:04d}"
            made = recipe(seed, video_id)
            database[video_id] = {
                "subset": subset,
                "duration": made.duration_s,
                "recipe_type": made.recipe_type,
                "annotations": [
                    {"segment": [step.start_s, step.end_s], "id": index, "sentence": step.sentence}
                    for index, step in enumerate(made.steps)
                ],
            }
    return {"database": database}
