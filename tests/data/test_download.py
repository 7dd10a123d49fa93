"""Download: a row for every video, nothing asked for twice."""

import hashlib
import threading

import numpy as np
import pytest

from recipevis.data import ffmpeg
from recipevis.data.download import LOG_COLUMNS, download
from recipevis.data.sources.base import FetchError, Source
from recipevis.data.sources.local import Local
from recipevis.data.store import Store
from recipevis.data.tables.recipes import Recipe, Step
from recipevis.data.tables.videos import COLUMNS
from recipevis.errors import SourceError


def recipe(video_id, subset="training"):
    return Recipe(video_id, subset, "101", 2.0, (Step(0, 0.0, 1.0, "stir"),))


class Counting(Source):
    """Has a few videos, counts how often it is asked, and breaks on demand."""

    def __init__(self, breaks_at=None):
        self.name = self.about = "counting"
        self.asked, self.breaks_at, self._lock = [], breaks_at, threading.Lock()

    @classmethod
    def from_config(cls, dataset, download):
        return cls()

    def fetch(self, video_id, folder):
        with self._lock:
            self.asked.append(video_id)
            if self.breaks_at == len(self.asked):
                raise SourceError("no more")
        if video_id.startswith("gone"):
            raise FetchError("removed", "the\nuploader   removed it")
        path = folder / "video.mkv"
        ffmpeg.write(path, np.full((4, 32, 32, 3), 10 * len(video_id), np.uint8), rate=2)
        return path


RECIPES = [recipe("b"), recipe("gone"), recipe("aa"), recipe("gone2", "validation"), recipe("ccc", "validation")]


def test_rows_in_order_whatever_the_number_of_workers(tmp_path):
    tables = []
    for workers in (1, 3):
        (tmp_path / str(workers)).mkdir()
        source = Counting()
        table, log = download(RECIPES, Store(source), workers, tmp_path / str(workers))
        tables.append(table.to_csv(index=False))
    assert tables[0] == tables[1]
    assert tuple(table.columns) == COLUMNS
    assert tuple(log.columns) == LOG_COLUMNS
    assert list(table.video_id) == [recipe.video_id for recipe in RECIPES]
    assert list(table.status) == ["ok", "failed", "ok", "failed", "ok"]
    assert list(log.message)[1] == "the uploader removed it"
    for row in table.itertuples():
        assert (row.file == "") == (row.error != "")
        if row.file:
            content = (Store(source).folder / row.file).read_bytes()
            assert (row.bytes, row.sha256) == (len(content), hashlib.sha256(content).hexdigest())
            assert row.duration_s == 2.0
    lines = tables[0].splitlines()
    assert lines[2] == "gone,training,101,failed,removed,,,,,"


def test_an_interrupted_run_goes_on_and_ends_the_same(tmp_path):
    (tmp_path / "a").mkdir()
    broken = Counting(breaks_at=3)
    with pytest.raises(SourceError):
        download(RECIPES, Store(broken), 1, tmp_path / "a")
    rest = Counting()
    table, _ = download(RECIPES, Store(rest), 1, tmp_path / "a")
    # All once and the one that broke twice: failures of the first run aren't asked for again, either
    assert sorted(broken.asked + rest.asked) == sorted(["aa", *(recipe.video_id for recipe in RECIPES)])
    (tmp_path / "b").mkdir()
    again = Counting()
    undisturbed, log = download(RECIPES, Store(again), 1, tmp_path / "b")
    assert again.asked == ["gone", "gone2"]  # the others are in the store
    assert list(log.tries) == [0, 1, 0, 1, 0]
    assert undisturbed.to_csv() == table.to_csv()


def test_a_video_that_ends_at_the_middle_of_a_step_is_short(tmp_path):
    late = Recipe("b", "training", "101", 2.0, (Step(0, 1.0, 3.0, "stir"),))
    table, _ = download([late], Store(Counting()), 1, tmp_path)
    assert list(table["flags"]) == ["short"]  # as frames says `past_end` of it


def test_a_video_spoilt_in_the_store_is_fetched_once_more(tmp_path):
    store = Store(Counting())
    whole = store.get("b").read_bytes()
    (store.folder / "b.mkv").write_bytes(b"noise")
    table, log = download(RECIPES[:1], store, 1, tmp_path)
    assert list(table.error) == [""]
    assert list(log.tries) == [1]
    assert (store.folder / "b.mkv").read_bytes() == whole
    assert store.source.asked == ["b", "b"]


def test_a_link_to_a_video_spoilt_since_is_a_row_and_the_users_file_stays(tmp_path):
    (tmp_path / "videos").mkdir()
    file = tmp_path / "videos/b.mkv"
    ffmpeg.write(file, np.full((4, 32, 32, 3), 10, np.uint8), rate=2)
    store = Store(Local(tmp_path / "videos"))
    store.get("b")
    file.write_bytes(b"noise")
    table, log = download(RECIPES[:1], store, 1, tmp_path)
    assert list(table.error) == ["damaged"]
    assert log.message[0].startswith(f"{file}: it can't be read: ")
    assert file.read_bytes() == b"noise"
    assert store.stored("b") is None


def test_no_id_is_in_anothers_way(tmp_path):
    store, ids = Store(Counting()), ["a", "a.lock", "a.new", "a.json", "pace"]
    table, _ = download([recipe(video_id) for video_id in ids], store, 1, tmp_path)
    assert set(table.status) == {"ok"}
    assert list(table.file) == [f"{video_id}.mkv" for video_id in ids]
    assert [store.stored(video_id).name for video_id in ids] == list(table.file)
