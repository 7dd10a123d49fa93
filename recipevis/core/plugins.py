"""Classes that are found by the name of their file: fusers and sources."""

from importlib import import_module
from typing import TypeVar

from recipevis.errors import InputError

Base = TypeVar("Base")


def class_in(module: str, base: type[Base]) -> type[Base]:
    """The one subclass of `base` that a module defines; imported ones don't count.

    Raises:
        InputError: the module defines none, or more than one.
    """
    found = [
        value
        for value in vars(import_module(module)).values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module
    ]
    if len(found) != 1:
        file = f"{module.replace('.', '/')}.py"
        raise InputError(f"{file}: defines {len(found)} subclasses of {base.__name__}; must be 1")
    return found[0]
