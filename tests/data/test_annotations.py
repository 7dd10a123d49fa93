"""Annotations: the real file's own facts, and one line for every way to be wrong."""

import copy
import csv
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from recipevis.data import annotations
from recipevis.data.sources.base import PLAIN_ID
from recipevis.data.sources.local import Local
from recipevis.data.sources.youtube import YOUTUBE_ID, YouTube
from recipevis.data.tables import recipes as recipes_table
from recipevis.errors import InputError

YOUTUBE, PLAIN = YOUTUBE_ID, PLAIN_ID
GOOD = {
    "database": {
        "aaaaaaaaaaa": {
            "subset": "training",
            "duration": 60,
            "recipe_type": "101",
            "video_url": "https://www.youtube.com/watch?v=anotherone0",
            "annotations": [
                {"segment": [10, 20], "id": 0, "sentence": "  cut  the bread \n"},
                {"segment": [15.5, 15.5], "id": 1, "sentence": "toast it"},
            ],
        },
        "bbbbbbbbbbb": {
            "subset": "validation",
            "duration": 30.5,
            "recipe_type": "102",
            "annotations": [{"segment": [0, 1], "id": 0, "sentence": "boil water"}],
        },
        "ccccccccccc": {"subset": "testing", "duration": 10, "recipe_type": "101"},
    }
}


def parse(value, ids=YOUTUBE, limit=None):
    return annotations.parse(json.dumps(value).encode(), "file.json", ids, limit)


def changed(path: str, value):
    """The good file with one value replaced, or removed where the value is ..."""
    entry = whole = copy.deepcopy(GOOD)
    *keys, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    for key in ["database", *keys]:
        entry = entry[key]
    if value is ...:
        del entry[last]
    else:
        entry[last] = value
    return whole


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name.replace("__", "."))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def test_sentences_lose_their_outer_spaces_only_and_steps_count_by_position():
    first, second = parse(GOOD)
    assert first.steps[0] == recipes_table.Step(0, 10.0, 20.0, "cut  the bread")
    assert first.steps[1].middle_s == 15.5  # a step of no length
    assert (second.video_id, second.subset, second.duration_s) == ("bbbbbbbbbbb", "validation", 30.5)


def test_written_and_read_back(tmp_path):
    recipes = parse(GOOD)
    recipes_table.write_recipes(tmp_path / "a.json", recipes)
    before = (tmp_path / "a.json").read_bytes()
    assert recipes_table.read_recipes(tmp_path / "a.json") == recipes
    recipes_table.write_recipes(tmp_path / "a.json", recipes_table.read_recipes(tmp_path / "a.json"))
    assert (tmp_path / "a.json").read_bytes() == before


@pytest.mark.parametrize("content", [None, b"{", b"[1]", b'[{"video_id": "a"}]'])
def test_reading_what_is_not_ours(tmp_path, content):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json"):
        recipes_table.read_recipes(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("aaaaaaaaaaa/annotations/1/segment", [20, 10]),
        ("aaaaaaaaaaa/annotations/0/segment", [-1, 10]),
        ("aaaaaaaaaaa/annotations/0/segment", [1]),
        ("aaaaaaaaaaa/annotations/0/segment", ["1", 2]),
        ("aaaaaaaaaaa/annotations/0/segment", [True, 2]),
        ("aaaaaaaaaaa/annotations/0/segment", [0, float("inf")]),
        ("aaaaaaaaaaa/annotations/0/segment", [0, 10**400]),
        ("aaaaaaaaaaa/annotations/0/segment", [1e308, 1.7e308]),
        ("aaaaaaaaaaa/annotations/0/segment", [float("nan"), 1]),
        ("aaaaaaaaaaa/annotations/0/sentence", "cut\rit"),
        ("aaaaaaaaaaa/annotations/0/sentence", "cut\0it"),
        ("aaaaaaaaaaa/annotations/0/sentence", "cut \ud800 it"),
        ("aaaaaaaaaaa/recipe_type", "a\rb"),
        ("aaaaaaaaaaa/recipe_type", "\udfff"),
        ("aaaaaaaaaaa/duration", 10**400),
        ("aaaaaaaaaaa/annotations/0/segment", ...),
        ("aaaaaaaaaaa/annotations/0/sentence", ...),
        ("aaaaaaaaaaa/annotations/0/sentence", " \n "),
        ("aaaaaaaaaaa/annotations/0/sentence", 3),
        ("aaaaaaaaaaa/annotations/0", "x"),
        ("aaaaaaaaaaa/annotations", []),
        ("aaaaaaaaaaa/subset", "train"),
        ("aaaaaaaaaaa/subset", ...),
        ("aaaaaaaaaaa/duration", 0),
        ("aaaaaaaaaaa/duration", float("nan")),
        ("aaaaaaaaaaa/duration", "60"),
        ("aaaaaaaaaaa/recipe_type", ...),
        ("aaaaaaaaaaa", None),
    ],
)
def test_an_error_is_one_line_that_names_the_place(path, value):
    with pytest.raises(InputError) as error:
        parse(changed(path, value))
    video, _, step = path.partition("/annotations/")
    place = f"video {video.partition('/')[0]}" + (f", step {step.partition('/')[0]}" if step else "")
    assert str(error.value).startswith(f"file.json: {place}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("video_id", ["short", "twelve chars", "../a", "", "twelve_chars"])
def test_youtubes_ids_have_eleven_characters(video_id):
    with pytest.raises(InputError, match="video id"):
        parse({"database": {video_id: GOOD["database"]["aaaaaaaaaaa"]}}, YOUTUBE)


@pytest.mark.parametrize("video_id", ["../a", "a/b", "a\\b", "", ".a", "..", "a b", "a\n", "a" * 201, "ä"])
def test_an_id_is_a_plain_name(video_id):
    with pytest.raises(InputError, match="video id"):
        parse({"database": {video_id: GOOD["database"]["aaaaaaaaaaa"]}}, PLAIN)


@pytest.mark.parametrize("video_id", ["a", "my_video-2.part1", "-5dF_8", "_x"])
def test_plain_names(video_id):
    assert parse({"database": {video_id: GOOD["database"]["aaaaaaaaaaa"]}}, PLAIN)[0].video_id == video_id


@pytest.mark.parametrize(
    ("source", "url", "pattern"),
    [
        (YouTube, "https://www.youtube.com/watch?v={video_id}", YOUTUBE),
        (YouTube, "https://YouTube.com/watch?v={video_id}", YOUTUBE),
        (YouTube, "https://youtu.be/{video_id}", YOUTUBE),
        (YouTube, "http://mirror/{video_id}.mp4", PLAIN),
        (YouTube, "http://mirror/youtube.com/{video_id}.mp4", PLAIN),
        (YouTube, "http://notyoutube.com/{video_id}", PLAIN),
        (Local, "https://www.youtube.com/watch?v={video_id}", PLAIN),
    ],
)
def test_only_youtube_itself_has_ids_of_eleven_characters(source, url, pattern):
    assert source.id_pattern(SimpleNamespace(url=url)) is pattern


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"database": 3}', b'{"database": {}}'])
def test_files_that_hold_no_recipes(content):
    with pytest.raises(InputError, match=r"^file\.json: ") as error:
        annotations.parse(content, "file.json", YOUTUBE)
    assert "\n" not in str(error.value)


def test_a_key_given_twice():
    entry = json.dumps(GOOD["database"]["aaaaaaaaaaa"])
    content = f'{{"database": {{"aaaaaaaaaaa": {entry}, "aaaaaaaaaaa": {entry}}}}}'
    with pytest.raises(InputError, match="'aaaaaaaaaaa'"):
        annotations.parse(content.encode(), "file.json", YOUTUBE)


def test_archives():
    content = json.dumps(GOOD).encode()
    packed = archive(a__json=content, __a__json=b"hidden", readme__txt=b"text")
    assert annotations.parse(packed, "a.tar.gz", YOUTUBE) == parse(GOOD)
    for wrong in (archive(a__txt=content), archive(a__json=content, b__json=content), packed[:100], b"\x1f\x8bnothing"):
        with pytest.raises(InputError, match=r"^a\.tar\.gz: "):
            annotations.parse(wrong, "a.tar.gz", YOUTUBE)


def test_limit_keeps_the_first_of_each_subset():
    many = {f"{number:011d}": GOOD["database"]["aaaaaaaaaaa"] for number in range(5)} | GOOD["database"]
    kept = parse({"database": many}, limit=2)
    assert [recipe.video_id for recipe in kept] == ["00000000000", "00000000001", "bbbbbbbbbbb"]


class _Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/a.json" else 404)
        self.end_headers()
        self.wfile.write(b"content")

    def log_message(self, *arguments):
        pass


def test_fetching(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_bytes(b"content")
    assert annotations.fetch(str(tmp_path / "a.json")) == b"content"
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))  # relative to the workspace, not to a queued experiment's copy
    assert annotations.fetch("a.json") == b"content"
    with pytest.raises(InputError, match=r"b\.json"):
        annotations.fetch("b.json")
    server = HTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        assert annotations.fetch(f"{address}/a.json") == b"content"
        with pytest.raises(InputError, match="404"):
            annotations.fetch(f"{address}/b.json")
    finally:
        server.shutdown()
        server.server_close()
    with pytest.raises(InputError, match=r"a\.json"):
        annotations.fetch(f"{address}/a.json")


def test_youcook2_is_the_papers_table_2(shared):
    path = shared / "youcook2/youcookii_annotations_trainval.json"
    recipes = annotations.parse(path.read_bytes(), "youcook2", YOUTUBE)
    table = annotations.summary(recipes)
    assert table == {
        "training": {"recipe_types": 89, "videos": 1333, "videos_per_type": 14.98, "steps": 10337},
        "validation": {"recipe_types": 89, "videos": 457, "videos_per_type": 5.13, "steps": 3492},
    }
    # Against the file read by hand
    database = json.loads(path.read_text())["database"]
    assert [recipe.video_id for recipe in recipes] == list(database)
    for recipe in recipes:
        entries = database[recipe.video_id]["annotations"]
        assert [[step.start_s, step.end_s] for step in recipe.steps] == [step["segment"] for step in entries]
        assert [step.sentence for step in recipe.steps] == [step["sentence"].strip() for step in entries]
    names = {row[0] for row in csv.reader((shared / "youcook2/label_foodtype.csv").open())}
    assert {recipe.recipe_type for recipe in recipes} <= names
