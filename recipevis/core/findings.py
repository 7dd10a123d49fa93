"""What `recipevis doctor` reports: one finding a line."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that the doctor checked.

    Attributes:
        what: the name of the thing.
        state: `ok`; `note`, the run works but there is something to know; or `missing`, the run would fail or stop.
        text: what the doctor found.
        remedy: what to do; empty where nothing is to be done.
    """

    what: str
    state: Literal["ok", "note", "missing"]
    text: str
    remedy: str = ""
