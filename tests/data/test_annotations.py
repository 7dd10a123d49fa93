"""Annotations: the real file's own facts, and one line for every way to be wrong."""

import bz2
import copy
import csv
import gzip
import io
import json
import lzma
import socket
import tarfile
import threading
import zipfile
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


def test_sentences_lose_their_outer_spaces_only_and_steps_count_by_position():
    first, second = parse(GOOD)
    assert first.steps[0] == recipes_table.Step(0, 10.0, 20.0, "cut  the bread")
    assert first.steps[1].middle_s == 15.5  # a step of no length
    assert (second.video_id, second.subset, second.duration_s) == ("bbbbbbbbbbb", "validation", 30.5)


@pytest.mark.parametrize("path", ["aaaaaaaaaaa/annotations/0/sentence", "aaaaaaaaaaa/recipe_type"])
def test_invisible_characters_are_cleaned_as_in_recipes(path):
    recipe = parse(changed(path, "\ufefffry\u200b it\u00ad in\x85oil\u2028\x0b\u200e "))[0]
    assert "fry it in oil" in (recipe.recipe_type, recipe.steps[0].sentence)
    with pytest.raises(InputError, match=r"video aaaaaaaaaaa.*empty"):
        parse(changed(path, "\u200b\ufeff\u2028\u00ad"))


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


CONTENT = json.dumps(GOOD).encode()


def tar(mode: str, *members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


MAC = ("./._a.json", b"\0\5"), ("README.txt", b"text"), ("x/", b""), ("./a.json", CONTENT)
SOUND = {
    "plain": CONTENT,
    "BOM": b"\xef\xbb\xbf" + CONTENT,
    "UTF-16": CONTENT.decode().encode("utf-16"),
    "CRLF": json.dumps(GOOD, indent=1).replace("\n", "\r\n").encode(),
    "gz": gzip.compress(CONTENT),
    "gz of UTF-16": gzip.compress(CONTENT.decode().encode("utf-16")),
    "bz2": bz2.compress(CONTENT),
    "xz": lzma.compress(CONTENT),
    "tar": tar("w", *MAC),
    "tar.gz": tar("w:gz", *MAC),
    "tar.bz2": tar("w:bz2", *MAC),
    "tar.xz": tar("w:xz", *MAC),
    "zip": zipped(("A.JSON", CONTENT)),
    "zip made on a Mac": zipped(("x/a.json", CONTENT), ("__MACOSX/x/._a.json", b"\0\5"), ("x/README", b"text")),
}
ENCRYPTED = bytearray(zipped(("a.json", CONTENT)))
ENCRYPTED[6] |= 1  # the flag in the member's header and in the directory
ENCRYPTED[ENCRYPTED.index(b"PK\1\2") + 8] |= 1
UNKNOWN_METHOD = bytearray(zipped(("a.json", CONTENT)))
UNKNOWN_METHOD[8] = UNKNOWN_METHOD[UNKNOWN_METHOD.index(b"PK\1\2") + 10] = 9  # Deflate64
BAD_CRC = bytearray(gzip.compress(CONTENT))
BAD_CRC[-6] ^= 255
BAD_ZIP_CRC = bytearray(zipped(("a.json", CONTENT)))
BAD_ZIP_CRC[BAD_ZIP_CRC.index(b"PK\1\2") + 16] ^= 255
WRONG = {  # content, and what the message names
    "empty": (b"", "empty"),
    "empty gz": (gzip.compress(b" "), "empty"),
    "web page": (b"\n<!doctype html><title>502 Bad Gateway</title>", "web page"),
    "web page, gz": (gzip.compress(b"<html>"), "web page"),
    "gz cut short": (SOUND["gz"][:-20], "unpacked"),
    "gz with a wrong CRC": (bytes(BAD_CRC), "unpacked"),
    "no gz": (b"\x1f\x8bnothing", "unpacked"),
    "bz2 cut short": (SOUND["bz2"][:-20], "unpacked"),
    "xz cut short": (SOUND["xz"][:-20], "unpacked"),
    "tar cut short": (SOUND["tar"][: SOUND["tar"].index(b'{"database') + 20], "unpacked"),
    "tar.gz cut short": (SOUND["tar.gz"][:200], "unpacked"),
    "zip cut short": (SOUND["zip"][:-40], "unpacked"),
    "zip with a wrong CRC": (bytes(BAD_ZIP_CRC), "unpacked"),
    "encrypted zip": (bytes(ENCRYPTED), "encrypted"),
    "zip of an unknown method": (bytes(UNKNOWN_METHOD), "unpacked"),
    "zip without JSON": (zipped(("a.txt", CONTENT)), "'a.txt'"),
    "tar without JSON": (tar("w:gz", ("a.txt", CONTENT)), "'a.txt'"),
    "empty zip": (zipped(), "nothing"),
    "two in a zip": (zipped(("a.json", CONTENT), ("b.json", CONTENT)), "'b.json'"),
    "two in a tar": (tar("w:gz", ("a.json", CONTENT), ("b\n.json", CONTENT)), "'a.json'"),
    "neither": (b"Rar!\x1a\x07\x01\0", "JSON"),
}


@pytest.mark.parametrize("form", SOUND)
def test_a_file_is_read_in_every_form_whatever_its_name(form):
    for name in ("a.json", "a.tar.gz", "a"):
        assert annotations.parse(SOUND[form], name, YOUTUBE) == parse(GOOD)


@pytest.mark.parametrize("form", WRONG)
def test_a_file_in_no_form_is_one_line_that_names_it(form):
    content, named = WRONG[form]
    with pytest.raises(InputError) as error:
        annotations.parse(content, "the file", YOUTUBE)
    assert str(error.value).startswith("the file: ")
    assert named in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.fixture
def serve():
    """A function: start a server on loopback that gives these contents by name, with these headers; its address."""
    servers = []

    def start(contents, **headers):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                content = contents.get(self.path.removeprefix("/").replace("%20", " "))
                self.send_response(404 if content is None else 200)
                for key, value in headers.items():
                    self.send_header(key.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(content or b"<html>no such page</html>")

            def log_message(self, *arguments):
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def load(address, **changes):
    dataset = {"source": "local", "annotations": str(address), "url": "", "limit": None, "only": None}
    return annotations.load(SimpleNamespace(**dataset | changes))


def test_every_form_is_read_from_a_path_and_from_a_url(tmp_path, serve):
    address = serve(SOUND | {form: content for form, (content, _) in WRONG.items()})
    for form, content in SOUND.items():
        (tmp_path / form).write_bytes(content)
        assert load(tmp_path / form) == load(f"{address}/{form}") == load(f"HTTP{address[4:]}/{form}") == parse(GOOD)
    for form in ("empty", "web page", "gz cut short", "encrypted zip", "absent"):
        with pytest.raises(InputError) as error:
            load(f"{address}/{form}")
        assert str(error.value).startswith(f"{address}/{form}: ")
        assert len(str(error.value).splitlines()) == 1
    (tmp_path / "folder").mkdir()
    for wrong in (tmp_path / "folder", tmp_path / "absent.json", "~no such user/a.json", "a\0b", "http://[", "http://"):
        with pytest.raises(InputError) as error:
            load(wrong)
        assert str(error.value).startswith(f"{wrong}: ")
        assert len(str(error.value).splitlines()) == 1


def test_a_server_that_compresses_on_the_way(serve):
    """Also one that says so and doesn't."""
    address = serve({"a.json": SOUND["gz"], "b.json": CONTENT}, Content_Encoding="gzip")
    assert load(f"{address}/a.json") == parse(GOOD)
    with pytest.raises(InputError, match=r"b\.json"):
        load(f"{address}/b.json")


def test_limit_keeps_the_first_of_each_subset():
    many = {f"{number:011d}": GOOD["database"]["aaaaaaaaaaa"] for number in range(5)} | GOOD["database"]
    kept = parse({"database": many}, limit=2)
    assert [recipe.video_id for recipe in kept] == ["00000000000", "00000000001", "bbbbbbbbbbb"]


def test_fetching(tmp_path, monkeypatch, serve):
    (tmp_path / "a.json").write_bytes(b"content")
    assert annotations.fetch(str(tmp_path / "a.json")) == b"content"
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))  # relative to the workspace, not to a queued experiment's copy
    assert annotations.fetch("a.json") == b"content"
    with pytest.raises(InputError, match=r"b\.json"):
        annotations.fetch("b.json")
    address = serve({"a.json": b"content"})
    assert annotations.fetch(f"{address}/a.json") == b"content"
    with pytest.raises(InputError, match="404"):
        annotations.fetch(f"{address}/b.json")
    with socket.socket() as free:  # nobody listens on a port that is bound only
        free.bind(("127.0.0.1", 0))
        with pytest.raises(InputError, match=r"a\.json"):
            annotations.fetch(f"http://127.0.0.1:{free.getsockname()[1]}/a.json")


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
