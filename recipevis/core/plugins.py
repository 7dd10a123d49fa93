"""Classes that are found by the name of their file: fusers and sources."""

from importlib import import_module
from typing import TypeVar

Base = TypeVar("Base")


def class_in(module: str, base: type[Base]) -> type[Base]:
    """The one subclass of `base` that a module defines; imported ones don't count.

    Raises:
        ValueError: the module defines none, or more than one.
    """
    (found,) = (
        value
        for value in vars(import_module(module)).values()
        if isinstance(value, type) and issubclass(value, base) and value.__module__ == module
    )
    return found
