"""Every way in which a server can fail, against one on loopback: each ends in its class or in a good file."""

import json
import os
import threading
import time
from datetime import date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from recipevis.config import load
from recipevis.data import ffmpeg, video
from recipevis.data.download import LOG_COLUMNS, download, log_so_far
from recipevis.data.sources.base import PERMANENT, REFUSALS, FetchError
from recipevis.data.sources.youtube import (
    _MESSAGES,
    ALIKE_IN_A_ROW,
    REFUSALS_IN_A_ROW,
    WITHHELD_IN_A_ROW,
    YouTube,
    _kind,
)
from recipevis.data.store import ASK_ALL, Store
from recipevis.data.tables.recipes import Recipe, Step
from recipevis.data.tables.videos import ERRORS
from recipevis.data.ytdlp.environment import OPTIONS, age
from recipevis.data.ytdlp.pace import Pace, Streak
from recipevis.errors import InputError, SourceError


class Server(ThreadingHTTPServer):
    """Answers by the first word of a video's id; counts how often each was asked for."""

    def __init__(self, content: bytes, short: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.short, self.asked, self.cookies = content, short, {}, []
        self.hang, self.mended = threading.Event(), False
        self.url = f"http://127.0.0.1:{self.server_port}/{{video_id}}.mp4"

    def handle_error(self, request, client_address):
        """A client that gives up is what some of the tests are about."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        name = self.path.rpartition("/")[2].removesuffix(".mp4")  # of a proxy's whole address, too
        self.server.cookies.append(self.headers.get("Cookie", ""))
        count = self.server.asked[name] = self.server.asked.get(name, 0) + (self.command == "GET")
        getattr(self, name.split("-")[0])(count)

    def send(self, content: bytes, kind="video/mp4", status=200, length: int | None = None, **headers: str):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def whole(self, count):
        self.send(self.server.content)

    def baking(self, count):
        self.send(self.server.content, Set_Cookie="taste=sweet")

    def status(self, count):
        code = int(self.path.split("-")[1][:3])
        self.send(b"no", "text/plain", code)

    def later(self, count):
        self.send(b"no", "text/plain", 429, Retry_After="7")

    def once(self, count):
        self.status_once(count, 503)

    def status_once(self, count, code):
        if count <= 1:
            self.send(b"no", "text/plain", code)
        else:
            self.whole(count)

    def busy(self, count):  # a refusal, then the video
        self.status_once(count, 429)

    def cut(self, count):
        self.send(self.server.content[: len(self.server.content) // 2], length=len(self.server.content))
        self.close_connection = True

    def cutonce(self, count):
        self.cut(count) if count <= 2 else self.whole(count)

    def drip(self, count):
        self.send(self.server.content[:10], length=len(self.server.content))
        self.wfile.flush()
        self.server.hang.wait(20)
        self.close_connection = True

    def long(self, count):  # more bytes than it says
        self.send(self.server.content, length=len(self.server.content) - 50)
        self.close_connection = True

    def html(self, count):
        self.send(b"<html><body>no video here</body></html>", "text/html")

    def disguised(self, count):
        self.send(b"<html><body>no video here</body></html>" * 50)

    def empty(self, count):
        self.send(b"")

    def noise(self, count):
        self.send(np.random.default_rng(0).bytes(50_000))

    def unfit(self, count):  # one format, too large; the video once the server is mended
        playlist = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9000000,RESOLUTION=1920x1080\nbig.m3u8\n"
        self.whole(count) if self.server.mended else self.send(playlist, "application/vnd.apple.mpegurl")

    def short(self, count):
        self.send(self.server.short if count <= 2 else self.server.content)

    def shortgone(self, count):  # too short, and then an error; a request of yt-dlp's is two of these
        self.send(self.server.short) if count <= 2 else self.send(b"no", "text/plain", 404)

    def shortbusy(self, count):
        self.send(self.server.short) if count <= 2 else self.send(b"no", "text/plain", 429)

    def ever(self, count):  # too short whenever it is asked for
        self.send(self.server.short)


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    pictures = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), dtype=np.uint8)
    for name, count in (("whole", 12), ("short", 4)):
        ffmpeg.write(folder / f"{name}.mp4", pictures[:count], rate=2)
    return (folder / "whole.mp4").read_bytes(), (folder / "short.mp4").read_bytes()


@pytest.fixture
def server(contents):
    server = Server(*contents)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.hang.set()
    server.shutdown()
    server.server_close()


def store_of(server, retries=1, timeout_s=0.4):
    return Store(YouTube(server.url, "b[height<=?480]", retries, timeout_s, (0, 0), backoff_s=0))


@pytest.mark.parametrize(
    ("video_id", "kinds"),
    [
        ("status-404abcd", {"not_found"}),
        ("status-410abcd", {"not_found"}),
        ("status-403abcd", {"network", "other"}),
        ("status-503abcd", {"network"}),
        ("status-429abcd", {"rate_limited"}),
        ("cut-abcdefghi", {"network", "damaged"}),
        ("drip-abcdefgh", {"network"}),
        ("html-abcdefgh", {"damaged"}),
        ("disguised-abc", {"damaged"}),
        ("empty-abcdefg", {"damaged", "network"}),
        ("noise-abcdefg", {"damaged"}),
    ],
)
def test_a_failure_ends_in_its_class_and_leaves_no_file(server, video_id, kinds):
    start, asked = time.monotonic(), store_of(server)
    with pytest.raises(FetchError) as error:
        asked.get(video_id)
    assert error.value.kind in kinds, str(error.value)
    assert time.monotonic() - start < 30
    assert not list(asked.folder.glob("*.mp4"))


@pytest.mark.parametrize(
    "video_id", ["whole-abcdefg", "once-abcdefgh", "busy-abcdefgh", "cutonce-abcde", "long-abcdefgh"]
)
def test_what_passes_ends_in_a_good_file(server, video_id):
    path = store_of(server, retries=3).get(video_id)
    assert video.probe(path) == 6
    if not video_id.startswith("long"):
        assert path.read_bytes() == server.content


def test_a_mirror_keeps_what_came_whole_and_nothing_else(server):
    asked = store_of(server, retries=0)
    assert asked.get("whole-abcdefg").read_bytes() == server.content
    for video_id, kinds in (("status-404abcd", {"not_found"}), ("html-abcdefgh", {"damaged", "other"})):
        with pytest.raises(FetchError) as error:
            asked.get(video_id)
        assert error.value.kind in kinds, str(error.value)
    assert sorted(path.name for path in asked.folder.iterdir()) == [
        ".failed",
        ".partial",
        ".source",
        "whole-abcdefg.mp4",
    ]


@pytest.mark.parametrize("name", ["params.yaml", "params/paper.yaml", "params/kitchen-large.yaml"])
def test_the_committed_format_takes_a_mirrors_file_whose_height_is_not_known(server, root, name):
    asked = Store(YouTube(server.url, load(root / name).download.format, 0, 1, (0, 0), 0))
    assert asked.get("whole-abcdefg").read_bytes() == server.content


COOKIE_FILE = "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\twho\tme\n"


def test_cookies_are_shown_and_the_users_file_stays_as_it_is(server, tmp_path, monkeypatch):
    file = tmp_path / "cookies.txt"
    file.write_text(COOKIE_FILE)
    monkeypatch.setenv("RECIPEVIS_COOKIES", str(file))
    asked = store_of(server)
    asked.get("baking-abcdef")
    assert set(server.cookies) <= {"who=me", "who=me; taste=sweet"}
    asked.get("whole-abcdefg")
    assert sorted(server.cookies[-1].split("; ")) == ["taste=sweet", "who=me"], "what a server sets is kept for the run"
    assert file.read_text() == COOKIE_FILE


@pytest.mark.parametrize(
    ("variable", "content"),
    [
        ("RECIPEVIS_COOKIES", None),
        ("RECIPEVIS_COOKIES", b'[{"domain": ".youtube.com"}]'),
        ("RECIPEVIS_COOKIES", b"who=me"),
        ("RECIPEVIS_COOKIES", b"\xff\xfe"),
        ("RECIPEVIS_COOKIES", b"# Netscape HTTP Cookie File\n"),
        ("RECIPEVIS_COOKIES_FROM_BROWSER", "netscape"),
        ("RECIPEVIS_COOKIES_FROM_BROWSER", "firefox"),
    ],
)
def test_unreadable_cookies_stop_the_stage_before_any_request(server, tmp_path, monkeypatch, variable, content):
    file = tmp_path / "cookies.txt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, content if isinstance(content, str) else str(file))
    with pytest.raises(InputError, match=rf"^{variable}: ") as error:
        store_of(server)
    assert "\n" not in str(error.value)
    assert file.exists() == isinstance(content, bytes)
    assert server.asked == {}


@pytest.mark.parametrize("name", ["100%", "%(id)s %d", "$HOME", "${HOME} $$"])
def test_any_name_of_the_home(server, tmp_path, monkeypatch, name):
    monkeypatch.setenv("RECIPEVIS_HOME", str(tmp_path / name))
    path = store_of(server).get("whole-abcdefg")
    assert tmp_path / name in path.parents
    assert path.read_bytes() == server.content


def test_no_server():
    with pytest.raises(FetchError) as error:
        Store(YouTube("http://127.0.0.1:9/{video_id}.mp4", "b", 0, 5, (0, 0), 0)).get("abcdefghijk")
    assert error.value.kind == "network", str(error.value)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("[youtube] x: Private video. Sign in if you've been granted access to this video", "private"),
        ("[youtube] x: Video unavailable. This video has been removed by the uploader", "removed"),
        ("[youtube] x: This video is no longer available because the account has been terminated", "removed"),
        ("[youtube] x: Sign in to confirm your age. This video may be inappropriate", "age_or_country_locked"),
        ("[youtube] x: The uploader has not made this video available in your country", "age_or_country_locked"),
        ("[youtube] x: Sign in to confirm you’re not a bot. Use --cookies-from-browser", "login_or_bot_check"),
        ("unable to download video data: HTTP Error 429: Too Many Requests", "rate_limited"),
        ("[youtube] x: Video unavailable", "not_found"),
        ("[generic] x: Unable to download webpage: HTTP Error 404: Not Found", "not_found"),
        ("[youtube] x: Requested format is not available", "no_suitable_format"),
        ("unable to download video data: The read operation timed out", "network"),
        ("unable to download webpage: HTTP Error 503: Service Unavailable", "network"),
        ("something new", "other"),
    ],
)
def test_messages_have_their_kind(message, kind):
    assert _kind(Exception(f"ERROR: {message}")) == kind
    assert kind in ERRORS


@pytest.mark.parametrize(
    "message",
    [
        "unable to write data: [Errno 28] No space left on device",
        "unable to open for writing: [Errno 122] Disk quota exceeded",
        "Postprocessing: av_interleaved_write_frame(): No space left on device",
    ],
)
def test_a_full_disk_stops_and_is_no_failed_video(monkeypatch, message):
    import yt_dlp

    def full(self, *_, **__):
        raise yt_dlp.utils.DownloadError(f"ERROR: {message}")

    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", full)
    store = Store(YouTube("http://127.0.0.1:9/{video_id}", "b", 0, 1, (0, 0), 0))
    with pytest.raises(SourceError, match="the disk is full") as error:
        store.get("GLd3aX16zBg")
    assert error.value.exit_status == 3


def recipe(video_id: str) -> Recipe:
    return Recipe(video_id, "training", "101", 6.0, (Step(0, 0.0, 1.0, "stir"), Step(1, 4.0, 6.0, "serve")))


def test_too_short_is_asked_for_once_more_then_kept_with_a_flag(server, tmp_path):
    table, _ = download(
        [recipe("short-abcdef"), recipe("ever-abcdefg"), recipe("whole-abcdef")], store_of(server), 1, tmp_path
    )
    assert list(table.status) == ["ok"] * 3
    assert list(table["flags"]) == ["", "short", ""]
    assert list(table.duration_s) == [6, 2, 6]


def test_a_short_one_is_kept_where_the_second_ask_fails_but_for_a_refusal(server, tmp_path):
    recipes = [recipe("shortgone-a"), recipe("shortbusy-a")]
    asked = store_of(server)
    table, _ = download(recipes, asked, 1, tmp_path)
    assert list(table.error) == ["", "rate_limited"]
    assert list(table["flags"]) == ["short", ""]
    assert table.duration_s[0] == 2
    assert not (asked.folder / ".failed/shortgone-a.json").exists()


def aged(store, video_id, hours):
    """Move all asks for a video into the past."""
    note = store.folder / ".failed" / f"{video_id}.json"
    read = json.loads(note.read_text())
    for ask in read["asks"]:
        ask["at"] = (datetime.fromisoformat(ask["at"]) - timedelta(hours=hours)).isoformat()
    note.write_text(json.dumps(read))


def runs(server, tmp_path, ids, **arguments):
    """Rows of a run in a work folder of its own, which failing videos were asked for (known ones may be), the log."""
    work, before = tmp_path / f"{time.monotonic_ns()}", dict(server.asked)
    work.mkdir()
    table, log = download([recipe(name) for name in ids], store_of(server, **arguments), 1, work)
    failed = table.video_id[table.status == "failed"]
    return table, {name for name in failed if server.asked.get(name, 0) > before.get(name, 0)}, log


def test_a_failure_is_final_once_two_asks_apart_agree(server, tmp_path, monkeypatch):
    ids = ["whole-abcdefg", "status-404abcd", "status-503abcd"]
    failing = set(ids[1:])
    store = store_of(server)
    assert runs(server, tmp_path, ids)[1] == failing
    assert runs(server, tmp_path, ids)[1] == failing  # at once, so nothing is confirmed
    aged(store, "status-404abcd", 5.9)
    assert runs(server, tmp_path, ids)[1] == failing
    aged(store, "status-404abcd", 0.2)
    assert runs(server, tmp_path, ids)[1] == failing  # the ask that confirms it
    table, asked, _ = runs(server, tmp_path, ids)
    assert asked == {"status-503abcd"}
    assert list(table.error) == ["", "not_found", "network"]
    monkeypatch.setenv(ASK_ALL, "1")
    assert runs(server, tmp_path, ids)[1] == failing


def test_another_set_up_confirms_a_failure_and_no_faulty_one_does(server, tmp_path, monkeypatch):
    gone = ["status-404abcd"]
    assert runs(server, tmp_path, gone)[1] == set(gone)  # nothing ever came: the set-up may be at fault
    monkeypatch.setenv("RECIPEVIS_YTDLP_ARGS", "--user-agent me")
    runs(server, tmp_path, gone)
    assert runs(server, tmp_path, gone)[1] == set(gone)
    runs(server, tmp_path, ["whole-abcdefg"])
    runs(server, tmp_path, gone)  # from here on a known video answers
    monkeypatch.setenv("RECIPEVIS_YTDLP_ARGS", "--user-agent you")
    assert runs(server, tmp_path, gone)[1] == set(gone)
    table, asked, _ = runs(server, tmp_path, gone)
    assert asked == set()
    assert list(table.error) == ["not_found"]


@pytest.mark.parametrize(
    ("content", "hours", "again"),
    [
        ({"kind": "not_found", "message": "no"}, 0, True),
        ({"kind": "not_found", "message": "no"}, 7, False),  # with the first ask of this version, which agrees
        ({"kind": "no_suitable_format", "message": "no"}, 7, True),
        ({"asks": []}, 0, True),
        ({"asks": [{"kind": "not_found"}]}, 0, True),
        ([], 0, True),
        (None, 0, True),
    ],
    ids=str,
)
def test_notes_of_earlier_versions_count_as_one_ask(server, tmp_path, content, hours, again):
    runs(server, tmp_path, ["whole-abcdefg"])
    note = store_of(server).folder / ".failed/status-404abcd.json"
    note.parent.mkdir(exist_ok=True)
    note.write_text("{" if content is None else json.dumps(content))
    os.utime(note, (time.time() - 3600 * hours,) * 2)
    gone = ["status-404abcd"]
    assert runs(server, tmp_path, gone)[1] == set(gone)
    assert runs(server, tmp_path, gone)[1] == (set(gone) if again else set())


class Scripted(YouTube):
    """yt-dlp's answers come from a script: kinds of failures by id. Every other video comes."""

    def __init__(self, content, failing, backoff_s=0.0):
        super().__init__("http://127.0.0.1:9/{video_id}", "b", 0, 1, (0, 0), backoff_s)
        self.content, self.failing, self.fetched, self.looked_at = content, failing, [], []

    def _extract(self, video_id, options, download):
        (self.fetched if download else self.looked_at).append(video_id)
        if kind := self.failing.get(video_id):
            raise FetchError(kind, f"{video_id} fails")
        if download:
            Path(options["outtmpl"]).with_name("video.mp4").write_bytes(self.content)
        return {"format_id": "1"}, []


KINDS = [
    "login_or_bot_check",
    "rate_limited",
    "formats_withheld",
    "network",
    "not_found",
    "no_suitable_format",
    "other",
]
GOOD = [f"good-{number:03d}" for number in range(3)]
GONE = [f"gone-{number:03d}" for number in range(25)]


@pytest.fixture
def scripted(contents, tmp_path):
    """Runs a list of videos against a new source of the same name, in a new work folder; the table and the source."""

    def run(ids, failing, workers=1, work=None, **arguments):
        source = Scripted(contents[0], failing, **arguments)
        work = work or tmp_path / f"{time.monotonic_ns()}"
        work.mkdir(exist_ok=True)
        return download([recipe(name) for name in ids], Store(source), workers, work)[0], source

    return run


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_ends_where_what_is_left_is_really_gone(scripted, kind, workers, monkeypatch):
    """With the good ones first, in a second project, and where the notes have gone; without a long pause."""
    monkeypatch.setattr(Pace, "hold", lambda self, seconds: pytest.fail("paused"))
    failing = dict.fromkeys(GONE, kind)
    if workers == 1:
        assert set(scripted(GOOD + GONE, failing, backoff_s=900)[0].error) == {"", kind}
    else:
        scripted(GOOD, failing)
    table, source = scripted(GONE + GOOD, failing, workers, backoff_s=900)
    assert list(table.error) == [kind] * 25 + [""] * 3
    for note in Store(source).folder.glob(".failed/*"):
        note.unlink()
    table, source = scripted(GONE, failing, workers, backoff_s=900)
    assert set(table.error) == {kind}
    assert 0 < len(source.looked_at) <= len(GONE)


def test_any_of_the_known_videos_may_answer(scripted):
    """The latest known ones may have gone themselves, and are then asked for last."""
    _, source = scripted(GOOD, {})
    lost = Store(source).stored_ids()[:2]
    table, source = scripted(GONE, dict.fromkeys([*GONE, *lost], "login_or_bot_check"))
    assert set(table.status) == {"failed"}
    assert [source.looked_at.count(name) for name in lost] == [1, 1]


@pytest.mark.parametrize(
    ("kind", "known", "workers"),
    [(kind, known, 1 + 3 * (n % 2)) for n, kind in enumerate(KINDS) for known in (True, False)],
)
def test_a_dead_mirror_stops_the_stage_and_reruns_get_to_the_end(scripted, kind, known, workers):
    """Nothing answers, whether or not anything came before. No failure becomes final: a mended mirror gives all."""
    if known:
        scripted(GOOD, {})
    failing = dict.fromkeys(GOOD + GONE, kind)
    with pytest.raises(SourceError) as error:
        scripted(GONE, failing, workers)
    assert error.value.exit_status == 3
    assert "\n" not in str(error.value)
    for _ in range(4):
        try:
            table, source = scripted(GONE, failing, workers)
        except SourceError:
            continue
        break
    assert set(table.error) == {kind}
    for name in GONE:
        aged(Store(source), name, 7)
    table, _ = scripted(GONE, {})
    assert set(table.status) == {"ok"}


def test_a_stopped_run_has_no_rows_of_the_streak_and_resumes(scripted, tmp_path):
    failing = dict.fromkeys(GONE, "not_found")
    work = tmp_path / "work"
    with pytest.raises(SourceError):
        scripted([*GOOD[:1], *GONE], failing | dict.fromkeys(GOOD, "not_found"), work=work)
    assert not list(work.glob("*.json"))
    assert set(log_so_far([recipe(name) for name in GOOD + GONE], work).error) == {"not_found"}
    table, _ = scripted(GOOD + GONE, {}, work=work)
    assert set(table.status) == {"ok"}


def test_formats_that_nobody_gives_are_the_set_ups_fault(server, tmp_path):
    """yt-dlp is too old: no video has a format. Once that is mended, the same command gets all."""
    recipes, work = [recipe(f"unfit-{number:05d}") for number in range(ALIKE_IN_A_ROW + 2)], tmp_path / "work"
    work.mkdir()
    with pytest.raises(SourceError, match="no_suitable_format") as error:
        download(recipes, store_of(server), 1, work)
    assert "yt-dlp" in str(error.value)
    for note in store_of(server).folder.glob(".failed/*.json"):
        aged(store_of(server), note.stem, 7)
    server.mended = True
    table, _ = download(recipes, store_of(server), 1, work)
    assert set(table.status) == {"ok"}
    assert not list(store_of(server).folder.glob(".failed/*"))


def test_few_videos_without_a_format_are_never_final_while_nothing_comes(server, tmp_path, monkeypatch):
    ids = ["unfit-00000", "unfit-00001"]
    runs(server, tmp_path, ids)
    for name in ids:
        aged(store_of(server), name, 30)
    monkeypatch.setenv(OPTIONS, "--user-agent me")
    table, _, _ = runs(server, tmp_path, ids)
    assert set(table.error) == {"no_suitable_format"}
    server.mended = True
    assert set(runs(server, tmp_path, ids)[0].status) == {"ok"}


def test_a_half_done_run_asks_again_under_another_set_up(server, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    recipes = [recipe("whole-abcdefg"), recipe("status-404abcd")]
    for variable, asks in (("", True), ("", False), ("--user-agent me", True)):
        monkeypatch.setenv(OPTIONS, variable)
        before = server.asked.get("status-404abcd", 0)
        table, _ = download(recipes, store_of(server), 1, work)
        assert list(table.error) == ["", "not_found"]
        assert (server.asked.get("status-404abcd", 0) > before) == asks


WARNINGS = {  # in yt-dlp's words, shortened
    "token": "[youtube] x: web client https formats require a GVS PO Token which was not provided.",
    "SABR": "[youtube] Some tv client https formats have been skipped as they are missing a URL. YouTube may",
    "n": "[youtube] x: n challenge solving failed: Some formats may be missing. Ensure you have a supported runtime",
    "signature": "[youtube] x: Signature solving failed: Some formats may be missing.",
    "runtime": "[youtube] No supported JavaScript runtime could be found. Only deno is enabled by default;",
    "old n": "[youtube] x: nsig extraction failed: Some formats may be missing",
    "images": "Only images are available for download. Use --list-formats to see them",
    "DRM": "[youtube] x: Some tv client https formats have been skipped as they are DRM protected.",
}


def answering(monkeypatch, message, warnings=(), notes=()):
    """Let yt-dlp fail with a message after warnings, or give a video where the message is empty."""
    import yt_dlp

    extract = yt_dlp.YoutubeDL.extract_info

    def answer(self, *arguments, **options):
        for warning in warnings:
            self.report_warning(warning)
        for note in notes:
            self.write_debug(note)
        if message:
            raise yt_dlp.utils.DownloadError(f"ERROR: {message}")
        return extract(self, *arguments, **options)

    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", answer)


@pytest.mark.parametrize(
    ("warning", "loud"),
    [*((warning, True) for warning in WARNINGS.values()), (WARNINGS["token"], False), (WARNINGS["SABR"], False)],
)
def test_formats_missing_for_want_of_a_token_are_a_refusal(server, tmp_path, monkeypatch, warning, loud):
    said = {"warnings": [warning]} if loud else {"notes": [f"x: {warning}"]}
    answering(monkeypatch, "[youtube] x: Requested format is not available. Use --list-formats", **said)
    table, _, log = runs(server, tmp_path, ["whole-abcdefg"])
    assert list(table.error) == ["formats_withheld"]
    assert warning in log.warnings[0]
    with pytest.raises(SourceError) as error:
        runs(server, tmp_path, [f"whole-{number:05d}" for number in range(25)])
    for advice in ("yt-dlp", "deno", OPTIONS, "RECIPEVIS_COOKIES"):
        assert advice in str(error.value)
    assert "\n" not in str(error.value)


def test_a_video_without_a_fitting_format_stays_one_where_tokens_were_found(server, tmp_path, monkeypatch):
    notes = ["x: Retrieved a gvs PO Token for web client", "[jsc:deno] Solving JS challenges using deno"]
    answering(monkeypatch, "[youtube] x: Requested format is not available", ["[generic] Falling back"], notes)
    table, _, log = runs(server, tmp_path, ["whole-abcdefg"])
    assert list(table.error) == ["no_suitable_format"]
    assert list(log.warnings) == ["[generic] Falling back"]


def test_withheld_formats_stop_after_few_videos_and_no_pause(server, tmp_path, monkeypatch):
    answering(monkeypatch, "unable to download video data: HTTP Error 403: Forbidden", [WARNINGS["token"]])
    recipes = [recipe(f"whole-{number:05d}") for number in range(25)]
    store = Store(YouTube(server.url, "b", 0, 1, (0, 0), backoff_s=3600))
    with pytest.raises(SourceError):
        download(recipes, store, 1, tmp_path)
    assert len(list(store.folder.glob(".failed/*"))) == WITHHELD_IN_A_ROW


def test_warnings_beside_a_video_that_came_are_logged(server, tmp_path, monkeypatch):
    answering(monkeypatch, "", ["one\nof two lines", "two", "two"], ["noise", WARNINGS["SABR"]])
    table, _, log = runs(server, tmp_path, ["whole-abcdefg"])
    assert list(table.status) == ["ok"]
    assert log.columns[-1] == "warnings"
    assert log.warnings[0].startswith("one of two lines | two")
    assert log.warnings[0].count("two") == 2
    assert "SABR" not in log.warnings[0]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("--foo", "--foo"),
        ("'open", "quotation"),
        ("--extractor-args x", "extractor-args"),
        ("--sleep-interval x", "sleep"),
        ("--js-runtimes foo", "foo"),
        ("--impersonate nobody", "nobody"),
        ("--help", "help"),
        ("--username me", "--username"),  # yt-dlp would ask for the password at the terminal
        ("--ap-username me", "--ap-username"),
        ("--version", "help"),
        ("--config-locations /nowhere", "/nowhere"),
        ("-f best", "download.format"),
        ("-x", "--format"),
        ("--retries 3", "download.retries"),
        ("--output x", "--output"),
        ("--cookies x", "RECIPEVIS_COOKIES"),
        ("--proxy x", "RECIPEVIS_PROXY"),
        ("--exec ls", "--exec"),
        ("--simulate", "--simulate"),
        ("--plugin-dirs x", "--plugin-dirs"),
        ("-v", "--verbose"),
        ("http://127.0.0.1/a", "http://127.0.0.1/a"),
    ],
)
def test_wrong_options_of_yt_dlp_stop_before_any_request(server, tmp_path, monkeypatch, capfd, options, named):
    monkeypatch.setenv(OPTIONS, options)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=rf"^{OPTIONS}: ") as error:
        store_of(server)
    assert named in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())
    assert server.asked == {}


def test_options_of_yt_dlp_are_passed_through(server, tmp_path, monkeypatch):
    monkeypatch.setenv(
        OPTIONS, "--extractor-args 'youtube:player_client=tv,android' --add-headers 'Cookie: who=me' -t sleep"
    )
    source = store_of(server).source
    assert source._options["extractor_args"] == {"youtube": {"player_client": ["tv", "android"]}}
    assert source._options["format"] == "b[height<=?480]"
    monkeypatch.setenv(OPTIONS, "--add-headers 'Cookie: who=me'")
    runs(server, tmp_path, ["whole-abcdefg"])
    assert server.cookies[-1] == "who=me"


@pytest.mark.parametrize(
    ("version", "state", "days"),
    [
        ("2026.10.26", "ok", "31 days"),
        ("2026.10.11.232930.dev0", "note", "46 days"),
        ("2025.10.26", "note", "396 days"),
        ("local", "ok", ""),
    ],
)
def test_the_doctor_says_how_old_yt_dlp_is_and_how_to_update_it(version, state, days):
    finding = age(version, date(2026, 11, 26))
    assert finding.state == state
    assert days in finding.text
    if state == "note":
        assert finding.remedy.endswith("-m pip install -U yt-dlp yt-dlp-ejs")


def test_refusals_in_a_row_stop_the_stage_and_the_same_command_goes_on(server, tmp_path):
    ids = [*(f"status-429abc{number}" for number in range(4)), "whole-hijklmn"]
    recipes, work = [recipe(name) for name in ids], tmp_path / "work"
    work.mkdir()
    with pytest.raises(SourceError, match="5 refusals in a row") as error:
        download(recipes, store_of(server), 1, work)
    assert error.value.exit_status == 3
    assert server.asked.get("whole-hijklmn") is None
    assert sum(server.asked.values()) == REFUSALS_IN_A_ROW
    assert not list(work.glob("*.json"))  # no refused video counts as tried
    log = log_so_far(recipes, work)
    assert list(log.columns) == list(LOG_COLUMNS)
    assert [tuple(row) for row in log[["video_id", "error"]].to_numpy()] == [
        ("status-429abc0", "rate_limited"),
        ("status-429abc1", "rate_limited"),
    ]
    table, _ = download(recipes, store_of(server), 1, work)
    assert list(table.status) == ["failed"] * 4 + ["ok"]


def test_no_network_stops_the_stage_and_the_same_command_goes_on(server, tmp_path, monkeypatch):
    monkeypatch.setattr("recipevis.data.sources.youtube.UNANSWERED_IN_A_ROW", 4)
    url = "http://127.0.0.1:9/{video_id}.mp4"
    recipes = [recipe(f"whole-{number:05d}") for number in range(6)]
    unplugged = YouTube(url, "b", 0, 1, (0, 0), 0)
    asked, ask = [], unplugged._ask
    unplugged._ask = lambda video_id, folder: (asked.append(video_id), ask(video_id, folder))[1]
    with pytest.raises(SourceError, match="no answer for 4 videos in a row") as error:
        download(recipes, Store(unplugged), 1, tmp_path)
    assert error.value.exit_status == 3
    assert url in str(error.value)
    assert "\n" not in str(error.value)
    assert len(set(asked)) == 4
    assert set(log_so_far(recipes, tmp_path).error) == {"network"}
    table, _ = download(recipes, store_of(server), 1, tmp_path)
    assert set(table.status) == {"ok"}, "none counts as tried"


def test_a_streak_is_of_one_kind_and_ends_with_an_answer():
    streak = Streak()

    def long(*failures, most=3):
        return [streak.failed(kind, f"{number}", noted, most)[1] for number, (kind, noted) in enumerate(failures)]

    assert long(*[("a", False)] * 3) == [False, False, True]
    streak.end()
    assert long(("a", False), ("a", False), ("b", False), ("a", False), ("a", False)) == [False] * 5
    streak.end()
    # What an earlier run noted isn't counted, and as many more may fail
    assert long(("a", True), *[("a", False)] * 4) == [False, False, False, False, True]
    streak.end()
    assert streak.failed("a", "x", False, 3) == (1, False, ["x"])


def test_who_comes_after_a_stop_is_stopped():
    pace = Pace((0, 0))
    pace.stop("one")
    pace.stop("two")
    with pytest.raises(SourceError, match="one"):
        pace.wait()


def test_youtube_is_asked_from_this_machine_also_where_there_is_a_cluster(server, tmp_path):
    table, _ = download([recipe("whole-abcdefg")], store_of(server), 1, tmp_path, dask="tcp://127.0.0.1:9")
    assert list(table.status) == ["ok"]


def test_one_refused_video_stops_nothing(server, tmp_path):
    ids = ["status-429abcd", "whole-abcdefg", "status-429efgh", "whole-hijklmn", "status-429ijkl"]
    table, _ = download([recipe(name) for name in ids], store_of(server), 1, tmp_path)
    assert list(table.error) == ["rate_limited", "", "rate_limited", "", "rate_limited"]


def test_pauses_grow_and_the_server_may_ask_for_longer_ones(monkeypatch):
    now, slept = [1000.0], []
    monkeypatch.setattr(time, "time", lambda: now[0])

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    source = YouTube("http://127.0.0.1:9/{video_id}", "b", 0, 1, (0, 0), backoff_s=10)
    waits = []
    for retry_after_s in (0, 0, 50, 0):
        source._failed("a", FetchError("rate_limited", "no", retry_after_s), 0, False)
        slept.clear()
        source._pace.wait()
        waits.append(round(sum(slept)))
    assert waits == [10, 20, 50, 80]
    assert max(slept) <= 1  # so that a worker learns soon that another has given up
    with pytest.raises(SourceError):
        source._failed("a", FetchError("rate_limited", "no"), 0, False)
    with pytest.raises(SourceError):
        source._pace.wait()  # another thread


def test_between_two_videos_there_is_a_pause(monkeypatch):
    slept = []
    now = [0.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: (slept.append(seconds), now.__setitem__(0, now[0] + seconds)))
    pace = Pace((5, 10))
    pace.wait()
    assert slept == []
    for _ in range(3):
        slept.clear()
        pace.wait()
        assert 5 <= sum(slept) <= 10


def test_the_seconds_that_a_server_asks_for_are_heard_unless_a_known_video_answers(server):
    heard = []
    for known in (False, True):
        asked = store_of(server)
        if known:
            asked.get("whole-abcdefg")
        asked.source._pace.hold = heard.append
        for video_id in (f"later-abcdef{known:d}", f"status-429abc{known:d}"):
            with pytest.raises(FetchError):
                asked.get(video_id)
    assert heard == [7, 7, 0, 0]


def test_classes_are_closed():
    assert not PERMANENT & REFUSALS
    assert PERMANENT | REFUSALS | {kind for kind, _ in _MESSAGES} <= ERRORS.keys()
