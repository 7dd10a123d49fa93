"""Reading recipes as people have them: the steps of each kind of file, and one line for what is no recipe."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from recipevis.cli.recipe.file import read_recipe
from recipevis.errors import InputError

PEEL, HEAT, FRY = "Peel the carrots.", "Heat some oil in a pan.", "Fry until soft."
THREE = [PEEL, HEAT, FRY]


@pytest.fixture
def read(tmp_path):
    """Read a recipe from a file with this content."""

    def reading(content, name="recipe.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_recipe(path)

    return reading


PLAIN = {
    "points, brackets, words, bullets": f"1. {PEEL}\n2) {HEAT}\nStep 3: {FRY}\n• Serve.\n",
    "no space": "1.Peel the carrots.\n2.Heat some oil in a pan.\n3.Fry until soft.\n4.Serve.",
    "brackets": f"(1) {PEEL}\n(2) {HEAT}\n(3) {FRY}\n(4) Serve.",
    "numbers of their own": f"1\n{PEEL}\n2\n{HEAT}\n3\n{FRY}\n4\nServe.",
    "steps of their own": f"Step 1\n{PEEL}\nSTEP 2\n{HEAT}\nstep 3\n{FRY}\nStep 4:\nServe.",
    "numbers of their own, empty lines": f"1\n\n{PEEL}\n\n2\n\n{HEAT}\n\n3\n\n{FRY}\n\n4\n\nServe.\n",
    "points of their own": f"1.\n{PEEL}\n2.\n{HEAT}\n3.\n{FRY}\n4.\nServe.",
    "one line, glued": f"1. {PEEL}2. {HEAT}3. {FRY}4. Serve.",
    "one line, spaces": f"1) {PEEL} 2) {HEAT} 3) {FRY} 4) Serve.",
    "one line, steps": f"Step 1: {PEEL} Step 2: {HEAT} Step 3: {FRY} Step 4: Serve.",
    "one line, bullets": f"• {PEEL} • {HEAT} • {FRY} • Serve.",
    "dashes": f"- {PEEL}\n– {HEAT}\n— {FRY}\n* Serve.",
    "boxes": f"☐ {PEEL}\n▢ {HEAT}\n[ ] {FRY}\n- [x] Serve.",
    "bullets and numbers": f"• 1. {PEEL}\n• 2. {HEAT}\n• 3. {FRY}\n• 4. Serve.",
    "keycaps": f"1️⃣ {PEEL}\n2️⃣ {HEAT}\n3️⃣ {FRY}\n4️⃣ Serve.",
    "circles": f"① {PEEL}\n② {HEAT}\n③ {FRY}\n④ Serve.",
    "number and dash": f"1 - {PEEL}\n2 - {HEAT}\n3 – {FRY}\n4 - Serve.",
    "number and capital": f"1 {PEEL}\n2 {HEAT}\n3 {FRY}\n4 Serve.",
    "wrapped": "1. Peel the\n   carrots.\n2. Heat some oil\nin a pan.\n3. Fry until soft.\n4. Serve.",
    "letters": f"a) {PEEL}\nb) {HEAT}\nc) {FRY}\nd) Serve.",
    "Roman numbers": f"I. {PEEL}\nII. {HEAT}\nIII. {FRY}\nIV. Serve.",
    "number signs": f"#1 {PEEL}\n#2 {HEAT}\n#3 {FRY}\n#4 Serve.",
    "square brackets": f"[1] {PEEL}\n[2] {HEAT}\n[3] {FRY}\n[4] Serve.",
    "spelled numbers": f"Step one: {PEEL}\nStep two: {HEAT}\nStep Three - {FRY}\nStep four: Serve.",
    "steps of how many": f"Step 1 of 4\n{PEEL}\nStep 2 of 4\n{HEAT}\nStep 3/4: {FRY}\nStep 4 of 4\nServe.",
    "steps in French": f"Étape 1\n{PEEL}\nÉtape 2\n{HEAT}\nÉtape 3 : {FRY}\nÉtape 4\nServe.",
    "steps in Japanese": f"手順1 {PEEL}\n手順2 {HEAT}\n手順3 {FRY}\n手順4 Serve.",
    "circles in one line": f"①{PEEL}②{HEAT}③{FRY}④Serve.",
    "bold numbers": f"**1.** {PEEL}\n**2.** {HEAT}\n**3.** {FRY}\n**4.** Serve.",
    "a title": f"Carrot pan\nServes 4\n\n1. {PEEL}\n2. {HEAT}\n3. {FRY}\n4. Serve.",
    "ingredients before numbers": f"- 4 carrots\n- oil\n\n1) {PEEL}\n2) {HEAT}\n3) {FRY}\n4) Serve.",
    "rules": f"Pan\n===\nIngredients\n---\n4 carrots\n\nMethod\n------\n{PEEL}\n* * *\n{HEAT}\n____\n{FRY}\n──\nServe.",
    "headings": (
        f"Carrot pan\n\nIngredients:\n4 carrots\n1 tbsp oil\n\nMethod\n{PEEL}\n{HEAT}\n{FRY}\nServe.\n\nNotes\nSalt it."
    ),
    "heading and steps in one line": f"Directions: 1. {PEEL} 2. {HEAT} 3. {FRY} 4. Serve.",
    "ingredients without another heading": f"INGREDIENTS\n4 carrots\n1 tbsp oil\n\n{PEEL}\n{HEAT}\n{FRY}\nServe.",
    "HTML's lists": f"<ol>\n<li>{PEEL}</li><li>{HEAT}</li>\n<li class='x'><b>Fry</b> until soft.</li><li>Serve.</ol>",
    "HTML's paragraphs": f"<p>{PEEL}<p/><p>{HEAT}<br>{FRY}<BR />Serve.<!-- not this --></p>",
    "HTML, encoded": f"&lt;p&gt;{PEEL}&lt;/p&gt;&lt;p&gt;{HEAT}&lt;/p&gt;{FRY}\n&amp;nbsp;\nServe.",
    "two files joined": f"{PEEL}\n{HEAT}\ufeff{FRY}\n\ufeffServe.\n",
    "old Mac's line ends": f"{PEEL}\r{HEAT}\r{FRY}\rServe.\r",
    "Windows's line ends": f"1.\r\n{PEEL}\r\n2.\r\n{HEAT}\r\n3.\r\n{FRY}\r\n4.\r\nServe.\r\n",
}


@pytest.mark.parametrize("name", PLAIN)
def test_numbers_bullets_tags_and_ingredients_are_no_steps(read, name):
    assert read(PLAIN[name]) == [*THREE, "Serve."]


@pytest.mark.parametrize(
    "lines",
    [
        ["melt the butter", "fry an egg, slowly", "add 1.5 cups of milk"],
        ["2 eggs are whisked", "350 degrees is right", "1.5 cups of milk go in", "1 more egg"],
        ["2 eggs", "3 onions"],
        ["Bake at 180.", "10:30 is lunch", "-18 degrees is cold", "3-4 minutes"],
        ["Step back and wait", "Step 2 of the cleaning is to rinse", "steps follow"],
        ["heat < 5 minutes, > 2 minutes & stir", "AT&T, salt&copy and <carrots>", "a  double  space"],
        ["180. That is the temperature", "Mix 2. Then stir"],
        ["1 egg is beaten", "2 tomatoes are cut", "3 onions too"],
        ["把胡萝卜去皮切片", "🥕🔪👩\u200d🍳 slice the carrots 😋", "پیاز را خرد می\u200cکنیم"],
        ["methods vary", "Notes on salt: add it", "prepare: wash, peel, chop"],
        ["A) is not the first letter", "i. e. stir"],
        ["[Optional] preheat the oven", "{two} eggs", "name, title"],
    ],
)
def test_a_sentence_a_line_stays_as_it_is(read, lines):
    assert read("\n".join(lines)) == lines


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ("1. Add 1.5 cups. Mix 2. Stir.\n2. Heat.", ["Add 1.5 cups. Mix 2. Stir.", "Heat."]),  # line 2 is step 2
        (
            "1. Whisk.\n2. Stir.\nFor the sauce\n1. Melt.\n2. Pour.",
            ["Whisk.", "Stir.", "For the sauce", "Melt.", "Pour."],
        ),
        ("Preheat the oven.\n1. Whisk.\n2. Stir.", ["Preheat the oven.", "Whisk.", "Stir."]),
        ("180&deg C, salt &amp pepper, 1&nbsp;l", ["180° C, salt & pepper, 1 l"]),
        ("4. Whisk.\n5. Stir.", ["Whisk.", "Stir."]),
        ("1、把胡萝卜去皮\n2、炒一下", ["把胡萝卜去皮", "炒一下"]),
        ("1. 2 eggs are whisked\n2. 3 onions are cut", ["2 eggs are whisked", "3 onions are cut"]),
        ("1. Only this", ["Only this"]),
        ("1\nPeel,\nthen slice.\n2\nFry.", ["Peel, then slice.", "Fry."]),
        ("Bake at 180\x0bthen cool\x0c on a rack.\u2028Eat.\x85", ["Bake at 180 then cool on a rack. Eat."]),
        ("\u200b\nPeel.\n\u200e\u200f\n\ufeff\n\u00ad\n&shy;\n&#8203;", ["Peel."]),
        ("350&deg;F, caf&eacute;, &frac12; cup, &#39;hot&#x27;, &amp;deg;", ["350°F, café, ½ cup, 'hot', °"]),
    ],
)
def test_other_plain_texts(read, given, steps):
    assert read(given) == steps


MARKDOWN = {
    "front matter and headings": (
        "---\ntitle: Carrot pan\n---\n# Carrot pan\n\n## Ingredients\n\n- 4 carrots\n- 1 tbsp oil\n\n## Directions\n\n"
        "1. Peel the carrots.\n2. Heat some oil\n   in a pan.\n3. Fry until\n   soft.\n\n![photo](pan.jpg)\n"
    ),
    "no headings": (
        "- 4 carrots\n- oil\n\n1. Peel the carrots.\n1. Heat some *oil* in a [pan](pan.html).\n1. Fry until soft.\n"
    ),
    "bullets under the method": (
        "# Pan\n## What you need\n1. carrots\n2. oil\n## Method\n* **Peel** the carrots.\n* Heat some `oil` in a pan.\n"
        "* [ ] Fry until soft.\n## Notes\n* Salt it.\n"
    ),
    "paragraphs under the method": (
        "+++\ntitle = 'Pan'\n+++\nPan\n===\n\nIngredients\n---\n- carrots\n\nHow to make it\n---\n\nPeel the carrots.\n"
        "Heat some oil\nin a pan.\n\n<!-- later -->\nFry until soft.\n\n```\ncode\n```\n"
    ),
    "parts of the method": (
        "# Pan\n\n## Ingredients (serves 2)\n\n| what | how much |\n|---|---|\n| carrots | 4 |\n\n## Instructions:\n\n"
        "### Carrots\n1. Peel the carrots.\n\n### Oil\n1. Heat some oil in a pan.\n2. Fry until soft.\n\n"
        "## About me\n\nI cook.\n"
    ),
    "bold lines as headings": (
        "**Ingredients**\n\n- carrots\n\n**Method:**\n\n1) Peel the carrots.\n2) Heat some oil in a pan.\n"
        "3) Fry until soft.\n"
    ),
    "steps as headings": (
        "# Pan\n## Step 1\nPeel the carrots.\n## Step 2\nHeat some oil in a pan.\n## Step 3\nFry until soft.\n"
    ),
    "titles of steps": (
        "# Pan\n## Step 1: Carrots\n- Peel the carrots.\n## 2. Oil\n- Heat some oil in a pan.\n- Fry until soft.\n"
    ),
    "headings that are steps": "# Pan\n## 1. Peel the carrots.\nHeat some oil in a pan.\n## 2. Fry until soft.\n",
    "links of a note book": (
        "## Method\n1. Peel the [[carrot|carrots]].\n2. Heat some [[oil]] in a pan.\n3. Fry until soft.\n"
    ),
    "lists in lists": "1. Peel the carrots.\n   - Heat some oil in a pan.\n2. Fry until soft.\n",
    "ingredients, then text": (
        "# Pan\n- 4 carrots\n- 1 spoon of oil\n\nPeel the carrots.\n\nHeat some oil in a pan.\n\nFry until soft.\n"
    ),
    "only bullets": "# Pan\n\n- Peel the carrots.\n- Heat some oil in a pan.\n- Fry until soft.\n\nEnjoy!\n",
    "a sentence a line": "# Pan\n## Method\nPeel the carrots.\nHeat some oil in a pan.\nFry until soft.\n",
    "only text": "Peel the *carrots*.\nHeat some oil in a pan.\nFry until soft.\n",
    "HTML inside": (
        "## Method\n<ol><li>Peel the carrots.</li>\n<li>Heat some oil in a pan.</li></ol>\n\nFry until<br/>soft.\n"
    ),
}


@pytest.mark.parametrize("name", MARKDOWN)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_markdown(read, name, end):
    assert read(MARKDOWN[name].replace("\n", end), "recipe.md") == THREE


def test_lines_without_full_stops_are_steps_under_a_heading_too(read):
    assert read("# Pan\nmelt the butter\nfry an egg\n") == ["melt the butter", "fry an egg"]


def test_markdown_is_known_without_its_name(read):
    assert read(MARKDOWN["front matter and headings"], "recipe.txt") == THREE
    assert read(MARKDOWN["bullets under the method"], "recipe") == THREE


def step(text, **more):
    return {"@type": "HowToStep", "text": text, **more}


def recipe(instructions, **more):
    return {
        "@context": "https://schema.org",
        "@type": "Recipe",
        "name": "Pan",
        "recipeInstructions": instructions,
        **more,
    }


SECTIONS = [
    {"@type": "HowToSection", "name": "Carrots", "itemListElement": [step(PEEL)]},
    {"@type": "HowToSection", "name": "Pan", "itemListElement": [step(HEAT), {"@type": "HowToTip", "text": "Salt."}]},
    step(FRY),
]
DIRECTIONS = [{"@type": "HowToDirection", "text": text} for text in THREE]
SCHEMA = {
    "steps": recipe([step(text, name="a name", url="https://a/b#1") for text in THREE], recipeIngredient=["4 carrots"]),
    "strings": recipe(THREE),
    "numbered strings": recipe([f"{n}. {text}" for n, text in enumerate(THREE, start=1)]),
    "one string": recipe("\n".join(THREE)),
    "one string, HTML": recipe("".join(f"<li>{text}</li>" for text in THREE)),
    "one string, encoded HTML": recipe("".join(f"&lt;p&gt;{text}&lt;/p&gt;" for text in THREE)),
    "one string, numbers": recipe(f"1. {PEEL} 2. {HEAT} 3. {FRY}"),
    "in a list": [{"@type": "WebSite", "name": "Pans"}, recipe(THREE)],
    "in a graph": {"@graph": [{"@type": "Person", "name": "Cook"}, recipe([step(text) for text in THREE])]},
    "of several types": recipe(THREE) | {"@type": ["NewsArticle", "https://schema.org/Recipe"]},
    "as the main entity": {"@type": "WebPage", "mainEntity": recipe(THREE)},
    "sections": recipe(SECTIONS),
    "one section": recipe({"@type": "HowToSection", "itemListElement": [step(text) for text in THREE]}),
    "directions": recipe([step(PEEL), {"@type": "HowToStep", "itemListElement": DIRECTIONS[1:]}]),
    "an item list": recipe(
        {"@type": "ItemList", "itemListElement": [
            {"@type": "ListItem", "position": 3, "item": step(FRY)},
            {"@type": "ListItem", "position": "1", "item": step(PEEL)},
            {"@type": "ListItem", "position": 2, "name": HEAT},
        ]}
    ),
    "names alone": recipe([{"@type": "HowToStep", "name": text} for text in THREE]),
    "prefixes": {
        "@type": "schema:Recipe",
        "schema:recipeInstructions": {
            "@list": [{"@type": "schema:HowToStep", "schema:text": {"@value": text}} for text in THREE]
        },
    },
    "no type": {"recipeInstructions": THREE, "name": "Pan"},
    "twice the same": [recipe(THREE), recipe([step(text) for text in THREE])],
    "empty steps": recipe([step(PEEL), step(" "), step(HEAT), "", step(f"<p>{FRY}</p>"), None, 3]),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEMA)
def test_schema_org(read, name):
    assert read(json.dumps(SCHEMA[name]), "recipe.json") == THREE


def test_json_is_known_without_its_name(read):
    assert read("\ufeff\n" + json.dumps(SCHEMA["steps"], indent=1), "recipe.txt") == THREE
    assert read(json.dumps(SCHEMA["in a list"]), "recipe") == THREE
    assert read("\n".join(json.dumps(entry) for entry in SCHEMA["in a list"]), "recipe.jsonl") == THREE


def test_line_ends_inside_the_texts_of_json(read):
    given = json.dumps(recipe("|".join(THREE))).replace("|", "\r\n")
    assert read(given, "recipe.json") == THREE


def test_a_step_of_several_lines_is_one_step(read):
    given = recipe([step("Peel<br>the carrots."), step("Heat &amp; stir\nit.\u2028Now.")])
    assert read(json.dumps(given)) == ["Peel the carrots.", "Heat & stir it. Now."]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_with_a_byte_order_mark(read, encoding):
    assert read("crème\n把胡萝卜去皮\n".encode(encoding)) == ["crème", "把胡萝卜去皮"]


def archive():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("word/document.xml", "<w:p/>")
    return file.getvalue()


def picture(kind):
    file = io.BytesIO()
    Image.new("RGB", (9, 9), "red").save(file, kind)
    return file.getvalue()


CSV = 'title,ingredients,directions,NER\nPan,"[""4 carrots""]","[""Peel."", ""Fry.""]","[""carrots""]"\n'
REFUSED = {
    "row.csv": (CSV, "CSV"),
    "row.txt": (CSV, "table"),
    "rows.txt": (CSV.partition("\n")[2], "table"),
    "table.tsv": ("a\tb\n", "TSV"),
    "semicolons.txt": ("Name;Ingredients;Steps\nPan;carrots;peel\n", "table"),
    "recipe.pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "PDF"),
    "text.pdf": (b"%PDF-1.7\n1 0 obj\n", "PDF"),
    "recipe.docx": (archive(), "archive"),
    "recipe.gz": (gzip.compress(b"Peel."), "archive"),
    "photo.png": (picture("PNG"), "picture"),
    "photo.jpg": (picture("JPEG"), "picture"),
    "photo.bmp": (picture("BMP"), "picture"),
    "photo.webp": (picture("WEBP"), "binary"),
    "recipe.rtf": ("{\\rtf1\\ansi Peel.}", "rich text"),
    "page.html": ("<p>Peel.</p>", "HTML"),
    "page.txt": ("\n<!DOCTYPE html>\n<html><body><p>Peel.</p>", "HTML"),
    "head.txt": ("<!-- saved --><HTML lang='en'><head>", "HTML"),
    "feed.txt": ("<?xml version='1.0'?><rss><channel/></rss>", "XML"),
    "recipe.xml": ("<recipe/>", "XML"),
    "recipe.yaml": ("steps:\n- Peel.\n", "YAML"),
    "address.txt": ("https://example.com/pan\n", "address"),
    "latin.txt": ("Peel.\nPréchauffer le four à 180°.".encode("latin-1"), "line 2"),
    "utf16.txt": ("Peel.".encode("utf-16-le"), "UTF-16"),
    "half.txt": (b"\xff\xfeP\x00e", "UTF-16"),
    "binary": (bytes(range(256)), "binary"),
    "nul.txt": ("Peel.\0", "binary"),
    "large.txt": (b"stir " * 2_000_001, "bytes"),
    "empty.txt": ("", "empty"),
    "blank.txt": (" \n\t\n\u200b\ufeff\n", "steps"),
    "numbers.txt": ("1.\n2.\n", "steps"),
    "heading.md": ("---\ntitle: Pan\n---\n# Pan\n\n![photo](pan.jpg)\n", "steps"),
    "escape.txt": ("Peel.\nFry \x1b[2J it.", "step 2"),
    "broken.json": ('{"@type": "Recipe", "recipeInstructions": [', "JSON"),
    "broken.txt": ('{"@type": "Recipe", ', "JSON"),
    "deep.json": ("[" * 100_000, "JSON"),
    "deep steps.json": (
        '{"@type": "Recipe", "recipeInstructions": ' + '{"itemListElement":' * 900 + '"Peel."' + "}" * 901,
        "JSON",
    ),
    "other.json": ('{"steps": ["Peel."]}', "Recipe"),
    "strings.json": ('["Peel."]', "Recipe"),
    "number.json": ("3", "Recipe"),
    "nothing.json": (json.dumps(recipe([])), "recipeInstructions"),
    "several.json": (json.dumps([recipe(["Peel."], name="Pan A"), recipe(["Fry."], name="Pan B")]), "Pan A, Pan B"),
    "addresses.txt": ("https://example.com/pan\nhttps://example.com/pot\n", "address"),
    "address.json": (json.dumps(recipe("https://example.com/pan")), "address"),
    "pan.cook": ("Peel the @carrots{4}.\n", "Cooklang"),
    "pan.srt": ("1\n00:00:01,000 --> 00:00:02,500\nPeel.\n", "subtitles"),
    "subtitles.txt": ("WEBVTT\n\n00:01.000 --> 00:02.000\nPeel.\n", "subtitles"),
    "surrogate.json": (json.dumps(recipe(["Fry \ud800 it."])), "step 1"),
    "nan.json": ("NaN", "Recipe"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_recipe_is_refused_in_one_line(read, tmp_path, name):
    content, named = REFUSED[name]
    with pytest.raises(InputError) as error:
        read(content, name)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / name}: ")
    assert named in message
    assert len(message.splitlines()) == 1
    assert len(message) < 400


@pytest.mark.parametrize("given", ["https://example.com/pan?a=1", "http://example.com", "ftp://a/b"])
def test_an_address_is_refused_and_shown_as_given(monkeypatch, tmp_path, given):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="address") as error:
        read_recipe(Path(given))
    assert str(error.value).startswith(f"{given}: ")


def test_a_folder_and_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path, tmp_path / "absent.txt", tmp_path / "absent" / "a.txt"):
        with pytest.raises(InputError) as error:
            read_recipe(path)
        assert str(error.value).startswith(f"{path}: ")


def test_a_long_file_is_read_in_a_time_that_grows_with_its_length(read, monkeypatch):
    from recipevis.cli.recipe import text

    asked = []
    number = text._strong_number
    monkeypatch.setattr(text, "_strong_number", lambda line: asked.append(line) or number(line))
    assert len(read("stir\n" * 2000)) == 2000
    assert len(asked) <= 10 * 2000


@pytest.mark.parametrize(
    ("content", "steps"),
    [
        ("<!---->" * 40_000 + "stir", 1),
        ("<!--" * 50_000, 1),
        ("stir <script>a</script>" + "<script " * 20_000, 1),
        ("(" * 200_000, 1),
        ("1. stir\n" + "and stir\n" * 20_000, 1),
        (" ".join(f"{number}. stir" for number in range(1, 1000)) + " and stir" * 20_000, 999),
        ("• stir" * 20_000, 20_000),
    ],
    ids=["comments", "comments without an end", "scripts without an end", "brackets", "lines", "numbers", "bullets"],
)
@pytest.mark.timeout(300)  # a time that grows with the square of the length, or faster, would not end
def test_an_odd_text_is_read_to_its_end(read, content, steps):
    assert len(read(content)) == steps


def test_a_cookbook_in_one_line_is_one_step(read):
    assert read("stir " * 40_000) == [("stir " * 40_000).strip()]
