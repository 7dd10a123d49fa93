"""What the page does, without the page: reads recipes and photos within bounds, and draws, one recipe at a time."""

import asyncio
import io
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from recipevis import images
from recipevis.cli.recipe.file import read_recipe
from recipevis.cli.recipe.schema import is_json
from recipevis.data.sentences import forbidden
from recipevis.data.vocabulary import Vocabulary
from recipevis.errors import InputError
from recipevis.sampling.photo import upright
from recipevis.sampling.sampler import Sampler, generate_recipe

MOST_STEPS = 30
MOST_CHARACTERS = 500  # of a sentence
MOST_TEXT = 100_000  # characters of a recipe; JSON may hold pictures, too
MOST_BYTES = 10_000_000  # of a file that is opened
MOST_PIXELS = 50_000_000  # of a photo
MOST_WAITING = 10  # drawings


def read(content: str | bytes, name: str = "recipe.txt") -> list[str]:
    """The steps of a pasted text or of the content of a recipe file, checked like `checked`.

    Args:
        content: see `read_recipe`.
        name: the file's name; its ending counts. Messages name it.

    Raises:
        InputError: it can't be read, or is too large.
    """
    content = content.encode(errors="replace") if isinstance(content, str) else content
    _check_bytes(content, name)
    suffix = Path(name).suffix[:10]
    if len(content) > MOST_TEXT:
        text = content.decode(errors="replace")
        if len(text) > MOST_TEXT and not is_json(text, suffix):
            raise InputError(f"{name}: has {len(text):,} characters, at most {MOST_TEXT:,}; open the recipe alone")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"recipe{suffix}"
        path.write_bytes(content)
        try:
            return checked(read_recipe(path))
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from None


def checked(sentences: Sequence[str]) -> list[str]:
    """Sentences on one line each.

    Raises:
        InputError: there are too many, or one is empty, too long or holds a control character.
    """
    sentences = [" ".join(sentence.split()) for sentence in sentences]
    if not 1 <= len(sentences) <= MOST_STEPS:
        raise InputError(f"the recipe has {len(sentences)} steps, this page draws 1 to {MOST_STEPS}")
    for number, sentence in enumerate(sentences, start=1):
        if not sentence:
            raise InputError(f"step {number} is empty; write a sentence")
        if len(sentence) > MOST_CHARACTERS:
            raise InputError(f"step {number} has {len(sentence)} characters, at most {MOST_CHARACTERS}: split it")
        if letter := forbidden(sentence):
            raise InputError(f"step {number} contains the character {letter!r}, which is not text; remove it")
    return sentences


def photo(content: bytes, pixels: int, name: str = "photo") -> np.ndarray:
    """A photo as the model takes it: turned as the camera says, squashed to a square as frames are.

    Args:
        content: of the file.
        pixels: side of the square.
        name: of the file, for messages.

    Returns:
        uint8 RGB [pixels, pixels, 3].

    Raises:
        InputError: it is no picture, or too large.
    """
    _check_bytes(content, name)
    try:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            image = Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP", "GIF", "BMP"))
        if image.width * image.height > MOST_PIXELS:
            raise InputError(f"{name}: has {image.width} x {image.height} pixels, at most {MOST_PIXELS:,}; shrink it")
        turned = upright(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise InputError(f"{name}: can't be read as a picture; choose a PNG, JPEG or WebP") from None
    return images.resized(turned, pixels)


def _check_bytes(content: bytes, name: str) -> None:
    if len(content) > MOST_BYTES:
        raise InputError(f"{name}: has {len(content):,} bytes, at most {MOST_BYTES:,}")


@dataclass
class Studio:
    """The model that all visitors share; it draws for one at a time, in the order in which they asked."""

    sampler: Sampler
    vocabulary: Vocabulary
    check: Callable[[np.ndarray], np.ndarray] | None = None  # a safety checker
    waiting: int = field(default=0, init=False)  # drawings, the one under way included
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)

    @property
    def pixels(self) -> int:
        """Side of an image."""
        return self.sampler.pipeline.config.pixels

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn.

        Raises:
            InputError: too many wait.
        """
        if self.waiting > MOST_WAITING:
            raise InputError("too many recipes are waiting; try again in a while")
        self.waiting += 1
        try:
            async with self._turn:
                yield
        finally:
            self.waiting -= 1

    def draw(
        self, sentences: Sequence[str], first_image: np.ndarray | None, kept: Sequence[np.ndarray], version: int = 0
    ) -> Iterator[np.ndarray]:
        """The images of the steps after `kept`, see `generate_recipe`; each version has other noise."""
        sampler = replace(self.sampler, seed=self.sampler.seed + version)
        drawn = generate_recipe(sampler, sentences, first_image, kept)
        return map(self.check, drawn) if self.check else drawn

    def unknown(self, sentences: Sequence[str]) -> str:
        """Say which words the model doesn't know and which steps it reads only in part; "" if it reads all."""
        notes = []
        if words := self.vocabulary.unknown(sentences):
            notes.append(f"The model doesn't know: {', '.join(words[:20])}.")
        cut = [str(number) for number, text in enumerate(sentences, start=1) if self.vocabulary.end(text) is not None]
        if cut:
            notes.append(f"The model doesn't read the end of step {', '.join(cut)}: shorten it.")
        return " ".join(notes)


def first_change(before: Sequence[str], after: Sequence[str], at_most: int) -> int:
    """The first step from which to redraw: the first one whose sentence has changed, and at most `at_most`."""
    pairs = enumerate(zip(before, after, strict=True))
    return min([step for step, (old, new) in pairs if old != new] + [at_most])
