"""The page of `recipevis app` without a browser: quick clicks, several visitors, errors, edits."""

import asyncio
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from recipevis.cli.web.studio import MOST_WAITING, Studio
from recipevis.errors import InputError

testing = pytest.importorskip("nicegui.testing", reason="NiceGUI is not installed")

SENTENCES = ["put the pan on the stove", "add oil", "fry the egg"]


@dataclass(frozen=True)
class Sampler:
    """Notes each sentence that it draws; the image is the previous one (0 if there is none) plus 10, plus the seed."""

    seed: int = 0
    sentences: list = field(default_factory=list)
    goes_on: threading.Event = field(default_factory=threading.Event)
    pipeline = SimpleNamespace(config=SimpleNamespace(pixels=32))

    def generate(self, keys, prompts, previous, first):
        self.sentences.extend(prompts)
        assert self.goes_on.wait(30)
        if "break" in prompts[0]:
            raise InputError("it broke")
        return [np.full((32, 32, 3), (0 if one is None else one.max()) + 10 + self.seed, np.uint8) for one in previous]


@pytest.fixture
def sampler():
    found = Sampler()
    found.goes_on.set()
    return found


@pytest.fixture
def visit(sampler):
    """A function that opens the page and awaits `act`, which gets the page and its simulated visitor."""
    from recipevis.cli.web import page

    words = SimpleNamespace(unknown=lambda sentences: [], end=lambda sentence: None)

    async def opened(act):
        studio, pages = Studio(sampler, words), []
        async with testing.user_simulation(lambda: pages.append(page.Page(studio))) as user:
            await user.open("/")
            with user.client:
                pages[-1].recipe.value = "\n".join(SENTENCES)
                await act(pages[-1], user)

    return lambda act: asyncio.run(opened(act))


def values(page):
    return [int(picture.max()) for picture in page.pictures]


async def asked_for_another(page, user, sampler):
    """Ask for another version of the second step; the task that waits until the visitor has chosen."""

    async def compare():
        with user.client:
            await page.compare(1)

    comparing = asyncio.create_task(compare())
    await until(lambda: len(sampler.sentences) == 4)
    await user.should_see("Which picture of step 2 is better?")
    return comparing


async def until(condition):
    """Wait until something is so."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_second_click_does_nothing(visit, sampler):
    async def act(page, user):
        await asyncio.gather(page.draw(), page.draw())
        assert values(page) == [10, 20, 30]
        await asyncio.gather(page.redraw(1), page.redraw(0))
        assert values(page) == [10, 20, 30]
        assert not user.notify.messages

    visit(act)
    assert sampler.sentences == SENTENCES + SENTENCES[1:]


@pytest.mark.parametrize("leave", ["stop", "_leave"])
def test_who_waits_and_stops_or_leaves_gives_up_the_place(visit, sampler, leave):
    async def act(page, user):
        await page.draw()
        async with page.studio.turn():  # another visitor's
            drawing = asyncio.create_task(page.redraw(0))
            await until(lambda: page.studio.waiting == 2)
            getattr(page, leave)()
            await asyncio.wait([drawing])
            assert page.studio.waiting == 1
        assert page.idle
        assert values(page) == [10, 20, 30]  # the pictures that were there

    visit(act)
    assert sampler.sentences == SENTENCES


def test_stop_ends_after_the_step_that_is_drawn(visit, sampler):
    async def act(page, user):
        sampler.goes_on.clear()
        drawing = asyncio.create_task(page.draw())
        await until(lambda: sampler.sentences)
        page.stop()
        sampler.goes_on.set()
        await drawing
        assert values(page) == [10]
        assert page.status == "Stopped after 1 of 3 steps"

    visit(act)


def test_who_is_refused_keeps_the_pictures(visit):
    async def act(page, user):
        await page.draw()
        page.studio.waiting = MOST_WAITING + 1
        for again in (page.draw, lambda: page.redraw(1)):
            await again()
            assert values(page) == [10, 20, 30]
            assert page.idle
        assert len(user.notify.messages) == 2

    visit(act)


def test_after_an_error_nothing_looks_busy(visit):
    async def act(page, user):
        page.recipe.value = "add oil\nbreak it"
        await page.draw()
        assert user.notify.messages == ["it broke"]
        assert values(page) == [10]
        await user.should_not_see(kind=testing.user.ui.spinner)

    visit(act)


@pytest.mark.parametrize(("answer", "pictures"), [("Keep this", [10, 20, 30]), ("Take the new one", [10, 21, 31])])
def test_another_version_is_of_the_sentence_as_it_was_edited(visit, sampler, answer, pictures):
    async def act(page, user):
        await page.draw()
        page.cards[1].sentence.value = "add butter"
        comparing = await asked_for_another(page, user, sampler)
        user.find(answer).click()
        await comparing
        assert values(page) == pictures
        assert page.sentences[1] == ("add butter" if answer == "Take the new one" else "add oil")

    visit(act)
    assert sampler.sentences[3] == "add butter"


def test_the_form_shows_what_was_edited_and_drawn(visit):
    async def act(page, user):
        await page.draw()
        page.cards[2].sentence.value = "fry the onion"
        await page.redraw(2)
        assert page.recipe.value.splitlines() == [*SENTENCES[:2], "fry the onion"]

    visit(act)


def test_a_form_stays_as_it_was_pasted_if_nothing_was_edited(visit):
    async def act(page, user):
        page.recipe.value = pasted = "1. " + "\n2. ".join(SENTENCES)
        await page.draw()
        await page.redraw(1)
        assert page.recipe.value == pasted

    visit(act)


def test_who_leaves_while_being_asked_leaves_no_error(visit, sampler, caplog):
    async def act(page, user):
        await page.draw()
        comparing = await asked_for_another(page, user, sampler)
        [dialog] = user.find(kind=testing.user.ui.dialog).elements
        user.client.delete()
        dialog.submit(True)
        async with asyncio.timeout(30):
            await comparing
        assert values(page) == [10, 20, 30]

    visit(act)
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")]
