"""How the page looks, and what its buttons do. All of it comes from this machine: fonts, scripts and pictures."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, Response
from nicegui import Client, run, ui

from recipevis.cli.outputs import data_address
from recipevis.cli.web import studio as limits
from recipevis.cli.web.downloads import FILES, content
from recipevis.cli.web.studio import Studio, checked, first_change, photo, read
from recipevis.errors import RecipeVisError

_EXAMPLE = (
    "take a blue tray and set it on the red counter\nfill the tray with dough\nadd the cream and let it settle\n"
    "now add some olives\nseason it with basil and serve"
)
_WELCOME = "The pictures will appear here. Try the example, or paste a recipe."
_HINT = "One sentence a line, Markdown or schema.org JSON"
_LOST = 60  # seconds until a page that lost its connection is forgotten, with its pictures
# No other host is ever asked, whatever a library's page says. NiceGUI's own scripts are inline.
_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'"
)
_STYLE = """
.rv-page { display: grid; grid-template-columns: minmax(280px, 380px) 1fr; gap: 24px; width: 100%; max-width: 1400px;
  margin: 0 auto; padding: 20px; align-items: start; }
.rv-steps { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 16px; width: 100%; }
.rv-picture { width: 100%; aspect-ratio: 1; border-radius: 6px; overflow: hidden; background: rgba(128, 128, 128, .15);
  display: flex; align-items: center; justify-content: center; }
.rv-button { min-height: 40px; }
.body--dark { --q-primary: #cf7038 !important; }
.rv-recipe textarea { min-height: 11em; }
.rv-pair { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; width: min(640px, 80vw); }
@media (max-width: 800px) { .rv-page { grid-template-columns: 1fr; padding: 12px; } }
"""


def serve(studio: Studio, listening: socket.socket, address: str) -> None:
    """Serve the page until Ctrl-C.

    Args:
        studio: draws.
        listening: the socket.
        address: printed when the page can be opened.
    """
    site = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @site.middleware("http")
    async def bounded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        length = request.headers.get("content-length", "")
        if request.method not in ("GET", "HEAD") and not (
            length.isdecimal() and int(length) < limits.MOST_BYTES + 100_000
        ):
            return Response("too large", status_code=413)
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    @ui.page("/")
    def page() -> None:
        Page(studio)

    ui.run_with(site, title="RecipeVis", dark=None, reconnect_timeout=_LOST, show_welcome_message=False)
    print(f"open {address} (Ctrl-C ends it)", flush=True)
    uvicorn.Server(uvicorn.Config(site, log_level="warning", timeout_graceful_shutdown=2)).run(sockets=[listening])


class _explained:
    """Shows an error to the visitor: one of the project as it is, any other without details, which go to the log.

    Args:
        client: the visitor's; if its page was closed, an error is nobody's, since every change of the page is one.
    """

    def __init__(self, client: Client):
        self._client = client

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if self._client.id not in Client.instances:
            pass
        elif isinstance(error, RecipeVisError):
            ui.notify(str(error), type="negative", multi_line=True, timeout=8000, close_button="Close")
        elif isinstance(error, Exception):
            logging.getLogger(__name__).error("app", exc_info=error)
            ui.notify("That failed; the terminal says why.", type="negative")
        return isinstance(error, Exception)


def _at_work(action: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """What a button does: the others are off meanwhile, and errors are explained.

    A second click, which comes before the browser knows that the button is off, does nothing.
    """

    @wraps(action)
    async def done(page: "Page", *arguments: Any) -> None:
        if not page.idle:
            return
        page.idle, page._stopped = False, False
        try:
            with _explained(page.client):
                await action(page, *arguments)
        finally:
            page.idle = True

    return done


class Card:
    """A step: its picture, its sentence and what can be done with them."""

    def __init__(self, page: "Page", step: int, sentence: str):
        with ui.card().classes("p-3 gap-2").props("flat bordered").mark("step"):
            self._frame = ui.element("div").classes("rv-picture")
            self.sentence = (
                ui.textarea(value=sentence, label=f"Step {step + 1}")
                .props(f"autogrow dense outlined maxlength={limits.MOST_CHARACTERS} rows=1")
                .classes("w-full")
            )
            with ui.row().classes("gap-1 w-full"):
                redraw = ui.button("Redraw from here", icon="refresh", on_click=partial(page.redraw, step))
                other = ui.button("Another version", icon="compare", on_click=partial(page.compare, step))
        for button in (redraw, other):
            button.props("flat dense no-caps size=12px").classes("rv-button").bind_enabled_from(page, "idle")
        other.bind_visibility_from(page, "drawn", backward=lambda drawn: drawn > step)

    def show(self, picture: np.ndarray | None, busy: bool = False) -> None:
        """Show a picture, uint8 [h, w, 3]; None: none is there yet, and with `busy` it is being drawn."""
        self._frame.clear()
        with self._frame:
            if picture is not None:
                _picture(picture, f"Picture of {self.sentence.props['label'].lower()}").classes("w-full h-full")
            elif busy:
                ui.spinner(size="lg")


class Page:
    """One visitor's recipe."""

    def __init__(self, studio: Studio):
        self.studio = studio
        self.sentences: list[str] = []  # those that the pictures were drawn from, and those still to draw
        self.pictures: list[np.ndarray] = []
        self.first_image: np.ndarray | None = None
        self.cards: list[Card] = []
        self.idle, self.drawn, self.status = True, 0, _WELCOME
        self._stopped, self._gone, self._versions = False, False, 0
        self._waits: asyncio.Task | None = None  # the drawing that waits for its turn
        self.client = ui.context.client
        self.client.on_delete(self._leave)
        ui.add_css(_STYLE)
        ui.colors(primary="#b3541e")
        ui.query(".nicegui-content").classes("p-0")
        with ui.element("main").classes("rv-page"):
            self._build_form()
            self._build_result()

    def _build_form(self) -> None:
        with ui.card().classes("gap-3 w-full").props("flat bordered"):
            ui.label("RecipeVis").classes("text-2xl font-medium").props("role=heading aria-level=1")
            ui.label("One picture for each step, drawn from its sentence and the picture before it.")
            self.recipe = (
                ui.textarea("Recipe", value=_EXAMPLE)
                .props(f'outlined autogrow maxlength={limits.MOST_TEXT} hint="{_HINT}"')
                .classes("w-full rv-recipe")
            )
            with ui.row().classes("gap-2"):
                _opener("Open a file", "description", ".txt,.md,.markdown,.json,.jsonld", self._open)
                _opener("First photo", "photo_camera", "image/png,image/jpeg,image/webp", self._take_photo)
            self._photo = ui.row().classes("items-center gap-3")
            with ui.row().classes("gap-2 w-full"):
                draw = ui.button("Draw", icon="brush", on_click=self.draw).props("no-caps").classes("grow")
                draw.bind_enabled_from(self, "idle")
                stop = ui.button("Stop", icon="stop", on_click=self.stop).props("no-caps outline")
                stop.bind_visibility_from(self, "idle", backward=lambda idle: not idle)

    def _build_result(self) -> None:
        with ui.column().classes("w-full gap-3"):
            ui.label().bind_text_from(self, "status").classes("text-base").props("role=status aria-live=polite")
            self._note = ui.label().classes("text-sm text-orange-9")
            self._steps = ui.element("div").classes("rv-steps")
            with ui.row().classes("gap-2").bind_visibility_from(self, "drawn", backward=bool):
                for name, icon in zip(FILES, ("image", "movie", "data_object"), strict=True):
                    button = ui.button(name, icon=icon, on_click=partial(self._download, name))
                    button.props("no-caps outline").bind_enabled_from(self, "idle")

    async def _open(self, name: str, uploaded: bytes) -> None:
        self.recipe.value = "\n".join(await run.io_bound(read, uploaded, name))

    async def _take_photo(self, name: str, uploaded: bytes) -> None:
        self.first_image = await run.io_bound(photo, uploaded, self.studio.pixels, name)
        self._photo.clear()
        with self._photo:
            _picture(self.first_image, "First photo").classes("w-20 h-20 rounded")
            ui.label("The first step is drawn from it.").classes("text-sm")
            ui.button(icon="close", on_click=self._drop_photo).props('flat dense round aria-label="Remove the photo"')

    def _drop_photo(self) -> None:
        self.first_image = None
        self._photo.clear()

    @_at_work
    async def draw(self) -> None:
        """Draw the recipe in the form."""
        sentences = await run.io_bound(read, self.recipe.value or "")
        async with self._turn():
            self._steps.clear()
            with self._steps:
                self.cards = [Card(self, step, sentence) for step, sentence in enumerate(sentences)]
            await self._draw(sentences, 0)

    @_at_work
    async def redraw(self, step: int) -> None:
        """Redraw from a step on, or from an earlier one whose sentence was edited; the pictures before stay."""
        sentences = self._edited()
        self._show_edited(sentences)
        async with self._turn():
            await self._draw(sentences, min(first_change(self.sentences, sentences, step), self.drawn))

    @_at_work
    async def compare(self, step: int) -> None:
        """Draw another version of a step, ask which is better, and draw the later steps anew if it is the other."""
        self._versions += 1
        sentences = [*self.sentences[:step], *self._edited()[step:]]
        async with self._turn():
            self.status = f"Another version of step {step + 1}"
            drawing = self.studio.draw(sentences[: step + 1], self.first_image, self.pictures[:step], self._versions)
            other = await run.io_bound(next, drawing)
        self.status = ""
        if self._gone or not await self._is_better(step, sentences[step], other):
            return
        self._show_edited(sentences)
        self.sentences = sentences
        self._keep([*self.pictures[:step], other])
        self.cards[step].show(other)
        for card in self.cards[self.drawn :]:
            card.show(None)
        if self.drawn < len(sentences):
            async with self._turn():
                await self._draw(sentences, self.drawn)

    def _edited(self) -> list[str]:
        """The sentences under the pictures."""
        return checked([card.sentence.value or "" for card in self.cards])

    def _show_edited(self, sentences: list[str]) -> None:
        """Show edited sentences in the form, too, so that Draw draws them again."""
        if sentences != self.sentences:
            self.recipe.value = "\n".join(sentences)

    async def _is_better(self, step: int, sentence: str, other: np.ndarray) -> bool:
        with ui.dialog() as dialog, ui.card().classes("max-w-none"):
            ui.label(f"Which picture of step {step + 1} is better?").classes("text-lg")
            ui.label(sentence)
            with ui.element("div").classes("rv-pair"):
                for picture, name, is_other in (
                    (self.pictures[step], "Keep this", False),
                    (other, "Take the new one", True),
                ):
                    with ui.column().classes("gap-2"):
                        _picture(picture, name).classes("w-full rounded")
                        choose = partial(dialog.submit, is_other)
                        ui.button(name, on_click=choose).props("no-caps outline").classes("w-full")
            if step + 1 < len(self.sentences):
                ui.label("The steps after the new one are drawn again.").classes("text-sm")
        chosen = await dialog
        if self._gone:
            return False
        dialog.delete()
        return bool(chosen)

    async def _draw(self, sentences: list[str], start: int) -> None:
        """Draw from a step on, each picture shown as soon as it is there."""
        self.sentences = sentences
        self._note.text = self.studio.unknown(sentences)
        self._keep(self.pictures[:start])
        for card in self.cards[start:]:
            card.show(None)
        count = len(sentences)
        drawing = self.studio.draw(sentences, self.first_image, self.pictures)
        for step in range(start, count):
            if self._stopped:
                break
            self.status = f"Drawing step {step + 1} of {count}: {sentences[step]}"
            self.cards[step].show(None, busy=True)
            try:
                picture = await run.io_bound(next, drawing)
            except Exception:
                self.cards[step].show(None)
                raise
            if self._gone:
                return
            self.cards[step].show(picture)
            self._keep([*self.pictures, picture])
        self.status = f"{count} steps" if self.drawn == count else f"Stopped after {self.drawn} of {count} steps"

    def _keep(self, pictures: list[np.ndarray]) -> None:
        self.pictures, self.drawn = pictures, len(pictures)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """One's turn at the model."""
        self._waits = asyncio.current_task()
        self.status = "Waiting for other recipes" if self.studio.waiting else ""
        try:
            async with self.studio.turn():
                self._waits = None
                yield
        except BaseException:
            self.status = "Stopped" if self._stopped else ""
            raise
        finally:
            self._waits = None

    def stop(self) -> None:
        """Stop after the step that is being drawn; a recipe that waits gives up its place."""
        self._stopped = True
        if self._waits:
            self._waits.cancel()

    def _leave(self) -> None:
        self._gone = True
        self.stop()

    async def _download(self, name: str) -> None:
        with _explained(self.client):
            sentences = self.sentences[: self.drawn]
            ui.download.content(await run.io_bound(content, name, self.pictures, sentences), name)


def _picture(picture: np.ndarray, name: str) -> ui.image:
    """A picture within the page: a file would need a place on the server's disk."""
    return ui.image(data_address(picture)).props(f'no-spinner no-transition loading=eager alt="{name}"')


def _opener(label: str, icon: str, accept: str, take: Callable[[str, bytes], Awaitable[None]]) -> None:
    """A button that opens a file of the visitor; `take` gets its name and content."""

    async def uploaded(event: Any) -> None:
        with _explained(event.client):
            await take(event.file.name, await event.file.read())
        upload.reset()

    def rejected() -> None:
        ui.notify(f"{label}: no such kind of file, or larger than {limits.MOST_BYTES:,} bytes", type="negative")

    upload = ui.upload(on_upload=uploaded, on_rejected=rejected, auto_upload=True, max_file_size=limits.MOST_BYTES)
    upload.props(f'accept="{accept}"').classes("hidden")
    button = ui.button(label, icon=icon).props("no-caps outline size=13px").classes("rv-button")
    button.on("click", js_handler=f"() => getElement({upload.id}).pickFiles()")
