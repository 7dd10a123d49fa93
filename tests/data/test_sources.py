"""Sources and the store: whole or absent, linked not copied, every failure with its kind."""

import errno
import os
import pickle
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from recipevis.config import load
from recipevis.core import files
from recipevis.data import ffmpeg, video
from recipevis.data.sources.base import SOURCES, FetchError, Source, source_class
from recipevis.data.sources.kitchen import Kitchen
from recipevis.data.sources.local import Local
from recipevis.data.store import Store, open_store
from recipevis.data.tables.recipes import Recipe
from recipevis.errors import InputError


def clip(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    ffmpeg.write(path, np.full((4, 32, 32, 3), 90, np.uint8), rate=2)
    return path


def test_each_source_says_everything_that_others_ask(root):
    """What a new source must have, beside how it fetches."""
    dataset = load(root / "params.yaml").dataset
    assert {"kitchen", "local", "youtube"} <= set(SOURCES)
    for name in SOURCES:
        kind = source_class(name)
        assert issubclass(kind, Source)
        assert kind.licence
        assert kind.video_bytes >= 0
        assert kind.needs.keys() <= type(dataset).model_fields.keys()
        assert ("annotations" in kind.needs) == (kind.annotations(dataset) is None)
        assert kind.id_pattern(dataset).fullmatch("GLd3aX16zBg")


def test_sources_import_nothing_heavy():
    heavy = ("torch", "pandas", "numpy", "av", "yt_dlp", "PIL")
    code = (
        "import sys, recipevis.config; from recipevis.data.sources.base import SOURCES, source_class;"
        f"[source_class(name) for name in SOURCES]; print(sys.modules.keys() & {set(heavy)})"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_kitchen_renders_once_and_to_the_same_bytes(monkeypatch, tmp_path):
    store = Store(Kitchen(0))
    path = store.get("training-0000")
    assert path == store.folder / "training-0000.mp4"
    first = path.read_bytes()
    monkeypatch.setattr(store.source, "fetch", lambda *arguments: pytest.fail("fetched again"))
    assert store.get("training-0000") == path
    assert Store(Kitchen(0)).stored("training-0000") == path
    assert Store(Kitchen(1)).stored("training-0000") is Store(Kitchen(0, 0.5)).stored("training-0000") is None
    monkeypatch.setenv("RECIPEVIS_HOME", str(tmp_path / "elsewhere"))
    assert Store(Kitchen(0)).get("training-0000").read_bytes() == first


def test_local_links_what_it_finds_also_in_nested_folders(tmp_path):
    videos = tmp_path / "videos"
    paths = [clip(videos / "training/113/GLd3aX16zBg.mp4"), clip(videos / "a.b.mkv")]
    (videos / "a.b.json").write_text("{}")
    (videos / "a.b.M4A").write_bytes(b"sound")
    (videos / ".hidden.mp4").write_text("x")
    store = Store(Local(videos))
    for video_id, file in zip(("GLd3aX16zBg", "a.b"), paths, strict=True):
        path = store.get(video_id)
        assert path.parent == store.folder
        assert path.name == f"{video_id}{file.suffix}"
        assert path.is_symlink()
        assert path.resolve() == file.resolve()
    assert store.stored("a") is None, "a.b is another video"
    with pytest.raises(FetchError) as error:
        store.get("absent")
    assert error.value.kind == "not_found"
    paths[0].unlink()  # a link that leads nowhere is not a stored video
    assert store.stored("GLd3aX16zBg") is None


def test_two_folders_do_not_share_a_store(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert Store(Local(tmp_path / "a")).folder != Store(Local(tmp_path / "b")).folder
    with pytest.raises(InputError):
        Local(tmp_path / "c")


@pytest.mark.parametrize("make", ["text", "sound"])
def test_a_damaged_video_is_not_stored_and_the_error_names_the_users_file(tmp_path, make):
    if make == "text":
        (tmp_path / "a.mp4").write_bytes(b"<html>")
    else:
        sound = ["-f", "lavfi", "-i", "sine=duration=1", str(tmp_path / "a.mp4")]
        subprocess.run([ffmpeg.FFMPEG, "-v", "error", *sound], check=True)
    store = Store(Local(tmp_path))
    with pytest.raises(FetchError) as error:
        store.get("a")
    assert error.value.kind == "damaged"
    assert str(error.value).startswith(f"{tmp_path / 'a.mp4'}: ")
    assert store.stored("a") is None
    assert [path.name for path in store.folder.iterdir()] == [".partial"]
    assert not [path for path in (store.folder / ".partial").iterdir() if path.is_dir()]


def test_the_first_by_path_is_taken_and_a_link_that_leads_nowhere_is_not(tmp_path):
    videos = tmp_path / "videos"
    clip(videos / "c/a.mkv")
    clip(videos / "b/a.mp4")
    clip(videos / "b/a.mkv")
    (videos / "b/a.avi").symlink_to(tmp_path / "nowhere")
    (videos / "z.mp4").symlink_to(tmp_path / "nowhere")
    store = Store(Local(videos))
    assert store.get("a").resolve() == videos / "b/a.mkv"
    with pytest.raises(FetchError) as error:
        store.get("z")
    assert error.value.kind == "not_found"


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The bytes of a video."""
    return clip(tmp_path_factory.mktemp("clip") / "a.mp4").read_bytes()


@pytest.fixture
def lay(tmp_path):
    """A function: write files into the folder `videos`, None: an empty folder; the source's store and the folder."""

    def write(contents):
        for name, content in contents.items():
            path = tmp_path / "videos" / os.fsdecode(name)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.mkdir(exist_ok=True) if content is None else path.write_bytes(content)
            except OSError as error:
                if error.errno == errno.EILSEQ:
                    pytest.skip("this file system takes names in UTF-8 only")
                raise
        return Store(Local(tmp_path / "videos")), tmp_path / "videos"

    return write


@pytest.mark.parametrize(
    ("video_id", "name"),
    [
        ("GLd3aX16zBg", "GLd3aX16zBg.mp4.mkv"),
        ("GLd3aX16zBg", "GLd3aX16zBg.MP4.MKV"),
        ("GLd3aX16zBg", "GLd3aX16zBg.f137.mp4"),
        ("GLd3aX16zBg", "A soup [the best] [GLd3aX16zBg].mp4"),
        ("-Ld3aX16zB_", "A soup [-Ld3aX16zB_].f137.mp4"),
        ("GLd3aX16zBg", "GLd3aX16zBg.f299-drc.webm.mkv"),
        ("GLd3aX16zBg", "GLd3aX16zBg.720p.mp4"),
        ("-abcDEF1234", "113/-abcDEF1234.MP4"),
        ("a.b", "a.b.mp4"),
        ("a.mp4", "a.mp4.mkv"),
        ("f137", "f137.f137.mp4"),
        ("a", "a.mp4/a.mkv"),
        ("a", "50 %d $HOME/a.mp4"),
        ("a", "two\nlines/a.mp4"),
        ("a", b"latin-\xe9/a.mp4"),
        ("a", "a.mp4 (1)"),
        ("a", b"a.mp\xff"),
    ],
)
def test_a_video_is_found_by_its_id_however_people_name_files(lay, content, video_id, name):
    store, videos = lay({name: content, "a.c.mp4": content, "another.mp4": content})
    path = store.get(video_id)
    assert path.resolve() == videos / os.fsdecode(name)
    assert path.stem == video_id
    assert path.name.isascii()
    assert path.name.isprintable()
    assert Store(Local(videos)).stored(video_id) == path


def test_an_id_with_a_dot_is_not_taken_for_a_shorter_one(lay, content):
    store, _ = lay({name: content for name in ("a.b.mp4", "a.b.c.mp4", "a.temp.mp4", "ab.mp4")})
    with pytest.raises(FetchError, match=r"a\.b\.mp4"):
        store.get("a")


@pytest.mark.parametrize(
    ("good", "others"),
    [
        ("a.mp4", ["a.description", "a.info.json", "a.NPY", "a.en.vtt", "a.live_chat.json", "a.jpg", "a.mp4.part"]),
        ("a.webm", ["a.aaa", "a.features", "a.mp4.aaa"]),  # of unknown endings: they are not even opened
        ("a.mp4", ["a.f137.mp4", "a.mp4.mkv", "b.a.mp4", "a.mp4.f137.mkv"]),
        ("b/a.mkv", ["b/a.mp4", "c/a.avi"]),
        ("a.mp4.mkv", ["a.unknown"]),
    ],
)
def test_the_likeliest_file_is_opened_first(lay, content, monkeypatch, good, others):
    store, videos = lay(dict.fromkeys([good, *others], content))
    opened, probe = [], video.probe
    monkeypatch.setattr(video, "probe", lambda path: opened.append(path.resolve()) or probe(path))
    assert store.get("a").resolve() == videos / good
    assert opened == [videos / good]


@pytest.mark.parametrize("bad", ["a.mp4", "a.avi", "a.mkv.mkv"])
@pytest.mark.parametrize("spoilt", [b"", b"<html>"], ids=["empty", "html"])
def test_every_file_of_an_id_is_tried_until_one_opens(lay, content, bad, spoilt):
    store, videos = lay({bad: spoilt, "b/a.f0.mp4.webm": spoilt, "z/a.unknown": content, "a.zip": content})
    assert store.get("a").resolve() == videos / "z/a.unknown"
    assert store.stored("a").is_symlink()


def test_the_error_names_what_was_tried_and_what_lies_there(lay, content):
    others = {"a.jpg": b"", "a.nfo": b"text", "a.mp4.part-Frag3": content, "a.temp.mp4": content, "a.avi": None}
    for number in range(9):
        others[f"{number}/b.mp4"] = b"<html>"
    store, videos = lay({"a.mp4": b"", "a.unknown": b"text", "c": content} | others)
    (videos / "a.mkv").symlink_to(videos / "nowhere")
    store = Store(Local(videos))
    with pytest.raises(FetchError) as error:
        store.get("a")
    assert error.value.kind == "damaged"
    for name in ("a.mp4", "a.unknown", "a.mkv", "a.jpg", "a.nfo"):
        assert f"{videos / name}: " in str(error.value)
    with pytest.raises(FetchError) as error:
        store.get("b")
    assert str(error.value).count("b.mp4: ") == 9
    (videos / "a.mp4").unlink()
    (videos / "a.unknown").unlink()
    for video_id in ("a", "c"):  # nothing to open
        with pytest.raises(FetchError) as error:
            Store(Local(videos)).get(video_id)
        assert error.value.kind == "not_found"
        assert str(videos / video_id) in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(FetchError, match=r"absent\.\*") as error:
        store.get("absent")
    assert error.value.kind == "not_found"


def test_linked_folders_are_searched_once_and_lost_ones_named(lay, content, tmp_path, monkeypatch):
    store, videos = lay({"113/a.mp4": content, "locked/b.mp4": content, ".hidden/d.mp4": content})
    disk = tmp_path / "disk/114"
    disk.mkdir(parents=True)
    (disk / "c.mp4").write_bytes(content)
    (disk / "back").symlink_to(videos)  # a loop
    for name, target in (("114", disk), ("again", disk), ("self", "self"), ("115", tmp_path / "unmounted")):
        (videos / name).symlink_to(target)
    scan, scanned, locked = os.scandir, [], [str(videos / "locked")]

    def scandir(path):
        scanned.append(str(path))
        if str(path) in locked:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    store = Store(Local(videos))
    assert store.get("a").resolve() == videos / "113/a.mp4"
    assert store.get("c").resolve() == disk / "c.mp4"
    assert len([path for path in scanned if path.startswith(str(videos))]) < 10, "the loop ends"
    for video_id in ("b", "d"):
        with pytest.raises(FetchError) as error:
            store.get(video_id)
        assert error.value.kind == "not_found"
        for name in ("locked", "115", "self"):
            assert f"{videos / name}: " in str(error.value)
    dataset = SimpleNamespace(videos_dir=str(videos))
    recipes = [Recipe(name, subset, "1", 1.0, ()) for name in "abcd" for subset in ("training", "validation")]
    folders, counted = Local.findings(dataset, recipes)
    assert str(videos / "locked") in folders.text
    assert "4 of 8" in counted.text, "as many as the store gives"
    locked.append(str(videos))
    with pytest.raises(InputError, match=re.escape(str(videos))):
        Local(videos)
    assert [finding.state for finding in Local.findings(dataset, recipes)] == ["missing"]


def test_a_pipe_is_not_opened(lay, content):
    _, videos = lay({"a.webm": content})
    os.mkfifo(videos / "a.mp4")
    assert Store(Local(videos)).get("a").resolve() == videos / "a.webm"


def test_names_that_are_no_text_reach_the_tables_as_text(lay):
    store, _ = lay({b"\xe9\n/a.mp4": b"<html>", b"a.\xff.jpg": b""})
    with pytest.raises(FetchError) as error:
        store.get("a")
    assert "a.mp4" in str(error.value)
    assert str(error.value).encode("utf-8").decode().isprintable()


def test_what_a_killed_process_left_is_removed():
    store = Store(Kitchen(0))
    left = store.folder / ".partial/training-0000.new"
    left.mkdir(parents=True)
    (left / "video.mp4").write_bytes(b"half")
    assert Store(Kitchen(0)).stored("training-0000") is None
    assert video.probe(store.get("training-0000")) > 0
    assert not left.exists()


def test_the_store_of_the_parameters(tmp_path, root):
    config = load(root / "params.yaml")
    dataset = config.dataset.model_copy(update={"videos_dir": str(tmp_path)})
    stores = [
        open_store(dataset.model_copy(update={"source": name}), config.download)
        for name in ("kitchen", "local", "youtube")
    ]
    another_format = config.download.model_copy(update={"format": "w"})
    stores.append(open_store(dataset.model_copy(update={"source": "youtube"}), another_format))
    assert len({store.folder for store in stores}) == 4


def test_a_local_store_in_another_process_keeps_its_folder_and_lists_the_videos_once(tmp_path, monkeypatch):
    clip(tmp_path / "videos/a.mkv")
    store = Store(Local(tmp_path / "videos"))
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    monkeypatch.setenv("RECIPEVIS_HOME", str(tmp_path / "the other machine's"))
    monkeypatch.setattr(files, "home", lambda: pytest.fail("asked the other machine"))
    copies = [pickle.loads(sent) for _ in range(2)]
    assert {copy.folder for copy in copies} == {store.folder}
    monkeypatch.setattr("recipevis.data.sources.local._search", lambda *arguments: pytest.fail("listed again"))
    assert copies[1].get("a").resolve() == tmp_path / "videos/a.mkv"
