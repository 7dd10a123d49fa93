"""Annotations: the real file's own facts, and one line for every way to be wrong."""

import copy
import csv
import io
import json
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from recipevis.data import annotations
from recipevis.data.tables import recipes as recipes_table
from recipevis.errors import InputError

YOUTUBE, LOCAL = annotations.YOUTUBE_ID, annotations.PLAIN_ID
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
    ("path", "value", "told"),
    [
        ("aaaaaaaaaaa/annotations/1/segment", [20, 10], "video aaaaaaaaaaa, step 1: ends at 10 s, before its start"),
        ("aaaaaaaaaaa/annotations/0/segment", [-1, 10], "step 0: starts at -1 s"),
        ("aaaaaaaaaaa/annotations/0/segment", [1], "two numbers"),
        ("aaaaaaaaaaa/annotations/0/segment", ["1", 2], "two numbers"),
        ("aaaaaaaaaaa/annotations/0/segment", [True, 2], "two numbers"),
        ("aaaaaaaaaaa/annotations/0/segment", [0, float("inf")], "two numbers"),
        ("aaaaaaaaaaa/annotations/0/segment", [0, 10**400], "video aaaaaaaaaaa, step 0: .*two numbers"),
        ("aaaaaaaaaaa/annotations/0/segment", [1e308, 1.7e308], "two numbers"),
        ("aaaaaaaaaaa/annotations/0/segment", [float("nan"), 1], "two numbers"),
        ("aaaaaaaaaaa/annotations/0/sentence", "cut\rit", r"video aaaaaaaaaaa, step 0: sentence holds .*'\\r'"),
        ("aaaaaaaaaaa/annotations/0/sentence", "cut\0it", r"step 0: sentence holds .*'\\x00'"),
        ("aaaaaaaaaaa/annotations/0/sentence", "cut \ud800 it", r"step 0: sentence holds .*'\\ud800'"),
        ("aaaaaaaaaaa/recipe_type", "a\rb", r"video aaaaaaaaaaa: recipe_type holds .*'\\r'"),
        ("aaaaaaaaaaa/recipe_type", "\udfff", "recipe_type holds"),
        ("aaaaaaaaaaa/duration", 10**400, "above 0"),
        ("aaaaaaaaaaa/annotations/0/segment", ..., "'segment' is missing"),
        ("aaaaaaaaaaa/annotations/0/sentence", ..., "'sentence' is missing"),
        ("aaaaaaaaaaa/annotations/0/sentence", " \n ", "empty sentence"),
        ("aaaaaaaaaaa/annotations/0/sentence", 3, "wrong type"),
        ("aaaaaaaaaaa/annotations/0", "x", "'segment' is missing"),
        ("aaaaaaaaaaa/annotations", [], "no steps"),
        ("aaaaaaaaaaa/subset", "train", "training or validation"),
        ("aaaaaaaaaaa/subset", ..., "'subset' is missing"),
        ("aaaaaaaaaaa/duration", 0, "above 0"),
        ("aaaaaaaaaaa/duration", float("nan"), "above 0"),
        ("aaaaaaaaaaa/duration", "60", "wrong type"),
        ("aaaaaaaaaaa/recipe_type", ..., "'recipe_type' is missing"),
        ("aaaaaaaaaaa", None, "'subset' is missing"),
        ("short", GOOD["database"]["aaaaaaaaaaa"], "must match"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(path, value, told):
    with pytest.raises(InputError, match=told) as error:
        parse(changed(path, value))
    assert str(error.value).startswith("file.json: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("video_id", ["../a", "a/b", "a\\b", "", ".a", "..", "a b", "a\n", "a" * 201, "ä"])
def test_an_id_is_a_plain_name(video_id):
    with pytest.raises(InputError, match="video id"):
        parse({"database": {video_id: GOOD["database"]["aaaaaaaaaaa"]}}, LOCAL)


@pytest.mark.parametrize("video_id", ["a", "my_video-2.part1", "-5dF_8", "_x"])
def test_plain_names(video_id):
    assert parse({"database": {video_id: GOOD["database"]["aaaaaaaaaaa"]}}, LOCAL)[0].video_id == video_id


@pytest.mark.parametrize(
    ("source", "url", "rule"),
    [
        ("youtube", "https://www.youtube.com/watch?v={video_id}", YOUTUBE),
        ("youtube", "https://YouTube.com/watch?v={video_id}", YOUTUBE),
        ("youtube", "https://youtu.be/{video_id}", YOUTUBE),
        ("youtube", "http://mirror/{video_id}.mp4", LOCAL),
        ("youtube", "http://mirror/youtube.com/{video_id}.mp4", LOCAL),
        ("youtube", "http://notyoutube.com/{video_id}", LOCAL),
        ("local", "https://www.youtube.com/watch?v={video_id}", LOCAL),
        ("kitchen", "https://www.youtube.com/watch?v={video_id}", LOCAL),
    ],
)
def test_eleven_characters_are_asked_for_where_youtube_is_asked(source, url, rule):
    assert annotations.id_rule(source, url) is rule


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"{}", b'{"database": 3}', b'{"database": {}}'])
def test_files_that_hold_no_recipes(content):
    with pytest.raises(InputError, match=r"^file\.json: ") as error:
        annotations.parse(content, "file.json", YOUTUBE)
    assert "\n" not in str(error.value)


def test_a_key_given_twice():
    entry = json.dumps(GOOD["database"]["aaaaaaaaaaa"])
    content = f'{{"database": {{"aaaaaaaaaaa": {entry}, "aaaaaaaaaaa": {entry}}}}}'
    with pytest.raises(InputError, match="'aaaaaaaaaaa' is there twice"):
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
    with pytest.raises(InputError, match="No such file"):
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
    with pytest.raises(InputError, match="can't be downloaded"):
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
        told = database[recipe.video_id]["annotations"]
        assert [[step.start_s, step.end_s] for step in recipe.steps] == [step["segment"] for step in told]
        assert [step.sentence for step in recipe.steps] == [step["sentence"].strip() for step in told]
    names = {row[0] for row in csv.reader((shared / "youcook2/label_foodtype.csv").open())}
    assert {recipe.recipe_type for recipe in recipes} <= names
