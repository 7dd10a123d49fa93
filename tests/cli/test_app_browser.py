"""`recipevis app` in headless Chromium, on a saved model of tiny untrained networks."""

import io
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from recipevis.model.networks import Backbone
from recipevis.sampling.pipeline import assemble
from recipevis.training.trainer import new_conditioner

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt install chromium"),
]
WAIT = 120_000  # milliseconds
RECIPE = "put the pan on the stove\nadd oil\nfry the egg"


@pytest.fixture(scope="module")
def address(tiny_backbone, tmp_path_factory):
    """The address of a running page."""
    backbone = Backbone(tiny_backbone)
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, seed=0)
    folder = tmp_path_factory.mktemp("app") / "model"
    assemble(backbone, conditioner, backbone.unet, pixels=32, blank="white").save_pretrained(folder)
    command = [sys.executable, "-c", "from recipevis.cli import app; app()", "app", "--port", "0", "--model", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            found = next(filter(None, (re.search(r"http://\S+", line) for line in server.stdout)))
            yield found[0]
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser, address):
    """The opened page; afterwards, that it asked no other host, logged no error and names no folder."""
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page, asked, errors = context.new_page(), set(), []
    page.set_default_timeout(WAIT)
    page.on("request", lambda request: asked.add(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(address)
    yield page
    assert not [url for url in asked if not url.startswith((address, "data:", f"blob:{address}"))]
    assert errors == []
    assert not re.search(r"/(tmp|home|root)/", page.content())
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def draw(page, recipe=RECIPE):
    page.get_by_label("Recipe", exact=True).fill(recipe)
    page.get_by_role("button", name="Draw", exact=True).click()
    drawn(page, 3)


def drawn(page, count):
    sync_api.expect(page.get_by_role("status")).to_have_text(f"{count} steps", timeout=WAIT)


def shown(page):
    """The addresses of the steps' pictures: each holds its picture."""
    images = page.locator(".rv-picture img")
    sync_api.expect(images).to_have_count(3)
    return [image.get_attribute("src") for image in images.all()]


def downloaded(page, name):
    with page.expect_download() as waiting:
        page.get_by_role("button", name=name).click()
    assert waiting.value.suggested_filename == name
    return waiting.value.path().read_bytes()


def test_paste_draw_edit_redraw_and_download(page):
    draw(page)
    before = shown(page)
    page.get_by_role("textbox", name="Step 2").fill("add butter")
    page.get_by_role("button", name="Redraw from here").nth(2).click()
    sync_api.expect(page.locator(".rv-picture img").nth(1)).not_to_have_attribute("src", before[1], timeout=WAIT)
    drawn(page, 3)
    after = shown(page)
    assert after[0] == before[0]
    assert after[1] != before[1]  # the third may look alike: the networks are untrained
    recipe = json.loads(downloaded(page, "recipe.json"))
    assert [step["text"] for step in recipe["recipeInstructions"]] == [
        "put the pan on the stove",
        "add butter",
        "fry the egg",
    ]
    assert Image.open(io.BytesIO(downloaded(page, "storyboard.png"))).width > 96
    assert downloaded(page, "recipe.mp4")[4:8] == b"ftyp"


@pytest.mark.parametrize(("button", "changed"), [("Keep this", False), ("Take the new one", True)])
def test_the_better_of_two_versions_is_picked(page, button, changed):
    draw(page)
    before = shown(page)
    page.get_by_role("button", name="Another version").nth(1).click()
    page.get_by_role("button", name=button).click()
    if changed:
        sync_api.expect(page.locator(".rv-picture img").nth(1)).not_to_have_attribute("src", before[1], timeout=WAIT)
        drawn(page, 3)
    sync_api.expect(page.get_by_role("dialog")).to_have_count(0)
    after = shown(page)
    assert after[0] == before[0]
    assert [one != other for one, other in zip(before[1:], after[1:], strict=True)] == [changed, changed]


def test_a_recipe_and_a_photo_are_opened(page, tmp_path):
    draw(page)
    before = shown(page)
    (tmp_path / "egg.md").write_text("# Egg\n\n1. put the pan on the stove\n2. add oil\n3. fry the egg\n")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)).save(tmp_path / "pot.png")
    recipe, photo = page.locator("input[type=file]").all()
    recipe.set_input_files(tmp_path / "egg.md")
    sync_api.expect(page.get_by_label("Recipe", exact=True)).to_have_value(RECIPE)
    photo.set_input_files(tmp_path / "pot.png")
    sync_api.expect(page.get_by_role("img", name="First photo")).to_be_visible()
    page.get_by_role("button", name="Draw", exact=True).click()
    sync_api.expect(page.locator(".rv-picture img").nth(0)).not_to_have_attribute("src", before[0], timeout=WAIT)
    drawn(page, 3)
    assert shown(page)[0] != before[0]


def test_what_is_no_recipe_is_explained(page):
    page.get_by_label("Recipe", exact=True).fill("")
    page.get_by_role("button", name="Draw", exact=True).click()
    sync_api.expect(page.get_by_role("alert")).to_be_visible()
