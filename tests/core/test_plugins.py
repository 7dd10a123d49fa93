"""Classes that are found by the name of their file."""

import sys
from types import ModuleType

import pytest

from recipevis.core.plugins import class_in
from recipevis.errors import InputError


class Shape:
    """A base class."""


def module(monkeypatch, *own: str) -> str:
    """A module that imports `Shape` and a subclass, and defines the subclasses `own`."""
    made = ModuleType("made")
    made.Shape, made.Imported = Shape, type("Imported", (Shape,), {})
    for name in own:
        setattr(made, name, type(name, (Shape,), {"__module__": "made"}))
    monkeypatch.setitem(sys.modules, "made", made)
    return "made"


def test_the_modules_own_subclass_is_found(monkeypatch):
    assert class_in(module(monkeypatch, "Square"), Shape).__name__ == "Square"


@pytest.mark.parametrize("own", [(), ("Square", "Circle")])
def test_none_and_several_are_refused(monkeypatch, own):
    with pytest.raises(InputError, match=r"made\.py"):
        class_in(module(monkeypatch, *own), Shape)
