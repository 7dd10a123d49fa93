"""Videos through yt-dlp, from YouTube or a mirror, at a pace that YouTube tolerates."""

import io
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from recipevis.core import files
from recipevis.core.findings import Finding
from recipevis.data.sources.base import NOT_VIDEOS, PASSING, PLAIN_ID, REFUSALS, FetchError, SetUpFault, Source, digest
from recipevis.data.tables.recipes import Recipe
from recipevis.data.ytdlp import environment
from recipevis.data.ytdlp.environment import COOKIES, OPTIONS, PROXY, Log
from recipevis.data.ytdlp.pace import Pace, Streak
from recipevis.errors import InputError, SourceError, disk_full

YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
# So many failures alike in a row are the set-up's, unless a known video answers.
REFUSALS_IN_A_ROW = 5  # more requests would only make it worse
WITHHELD_IN_A_ROW = 5
UNANSWERED_IN_A_ROW = 20
ALIKE_IN_A_ROW = 10  # of any other kind
_KNOWN_ASKED = 3  # known videos that are asked for before the set-up is called faulty
_PROVEN_S = 600  # one video that came vouches for the set-up for so long
# Requests for one video: yt-dlp's own retries don't cover every kind. A video for members only is refused each time, so
# there must be few.
_TRIES = 2
_MENDED_BY_WAITING = REFUSALS - {"formats_withheld"}
_WORTH_ANOTHER = _MENDED_BY_WAITING | {"network"}
_LONGEST_PAUSE_S = 3600  # also where the server asks for a longer one
_YOUTUBE_HOST = re.compile(r"(.+\.)?(youtube\.com|youtu\.be)")


class YouTube(Source):
    """Downloads through yt-dlp, from YouTube or any other site that yt-dlp knows.

    Cookies, proxy and yt-dlp's own options come from the environment: `RECIPEVIS_COOKIES` (a file),
    `RECIPEVIS_COOKIES_FROM_BROWSER` (a browser's name), `RECIPEVIS_PROXY` (an address), `RECIPEVIS_YTDLP_ARGS` (as on
    yt-dlp's command line). They are read once.

    When videos fail alike, one after the other, a video that came earlier is asked for. If it answers, the failures are
    the videos' own and the source goes on; if none does, the source stops.

    Args:
        url: the address of a video, with `{video_id}` in it.
        format: yt-dlp's format selector.
        retries: tries per request.
        timeout_s: seconds without an answer that end a request.
        pause_s: shortest and longest pause between two videos, seconds.
        backoff_s: pause after a refusal, seconds; doubled with each further refusal in a row.

    Raises:
        InputError: the cookies can't be read, or yt-dlp's options are wrong.
    """

    licence = "each video belongs to its author; YouTube's terms apply"
    video_bytes = 13.4e6  # five minutes at 360 lines
    remote = True

    def __init__(
        self, url: str, format: str, retries: int, timeout_s: float, pause_s: Sequence[float], backoff_s: float
    ):
        self.name, self.about = f"youtube-{digest(url, format)}", f"{url}, {format}"
        programs = (environment.version("yt-dlp"), environment.version("yt-dlp-ejs"), shutil.which("deno") or "")
        self.set_up = digest(*programs, *(os.environ.get(name, "") for name in (*COOKIES, PROXY, OPTIONS)))
        self._url, self._cookies = url, environment.cookies()
        self._pace, self._backoff_s, self._streak = Pace(tuple(pause_s)), backoff_s, Streak()
        self._asking = threading.Lock()  # held while a known video is asked for
        self._good_at = -float("inf")  # when the latest request that was answered with a video began; `time.monotonic`
        self._bad_at, self._bad_count = -float("inf"), 0  # when no known video answered, and how many were asked for
        self._doubted: set[str] = set()  # known videos that didn't answer
        self._warnings: dict[str, Sequence[str]] = {}
        self._options = {"cachedir": False} | environment.users_options()
        self._options |= {
            "format": format,
            "retries": retries,
            "fragment_retries": retries,
            "extractor_retries": min(retries, 3),
            "socket_timeout": timeout_s,
            "noplaylist": True,
            "quiet": True,
            "noprogress": True,
        }
        if proxy := os.environ.get(PROXY):
            self._options["proxy"] = proxy

    @classmethod
    def from_config(cls, dataset: Any, download: Any) -> "YouTube":
        """See `Source.from_config`."""
        how = (download.retries, download.timeout_s, download.pause_s, download.backoff_s)
        return cls(dataset.url, download.format, *how)

    @classmethod
    def id_pattern(cls, dataset: Any) -> re.Pattern:
        """YouTube's ids have 11 characters; a mirror names its videos as it likes."""
        return YOUTUBE_ID if _YOUTUBE_HOST.fullmatch(urlsplit(dataset.url).hostname or "") else PLAIN_ID

    @classmethod
    def findings(cls, dataset: Any, recipes: Sequence[Recipe] | None) -> Iterator[Finding]:
        """How old yt-dlp is, whether it has a JavaScript runtime and right options, and whether cookies are set."""
        yield environment.age(environment.version("yt-dlp"), datetime.now(UTC).date())
        runtime = next((name for name in ("deno", "node", "bun", "qjs") if shutil.which(name)), None)
        if runtime in ("deno", None):
            found = ("ok", runtime, "") if runtime else ("missing", "no deno, node, bun or qjs", "pip install deno")
            yield Finding("JavaScript for yt-dlp", *found)
        else:
            name = "quickjs" if runtime == "qjs" else runtime
            chosen = name in os.environ.get(OPTIONS, "")
            remedy = "" if chosen else f"pip install deno, or set {OPTIONS}='--js-runtimes {name}'"
            text = runtime if chosen else f"{runtime}, which yt-dlp only uses when told to"
            yield Finding("JavaScript for yt-dlp", "ok" if chosen else "missing", text, remedy)
        if os.environ.get(OPTIONS):
            try:
                environment.users_options()
            except InputError as error:
                yield Finding("yt-dlp's options", "missing", str(error), f"correct {OPTIONS}")
            else:
                yield Finding("yt-dlp's options", "ok", f"from {OPTIONS}")
        variable = next((name for name in COOKIES if os.environ.get(name)), None)
        if variable is None:
            yield Finding("cookies", "note", "none: about 300 videos an hour as a guest", f"set {COOKIES[0]}")
        elif variable == COOKIES[0] and not files.user_path(os.environ[variable]).is_file():
            text = f"{files.user_path(os.environ[variable])}: no such file"
            yield Finding("cookies", "missing", text, f"set {variable}")
        else:
            yield Finding("cookies", "ok", f"from {variable}")

    @classmethod
    def ask(cls, dataset: Any, download: Any, recipes: Sequence[Recipe] | None) -> Iterator[Finding]:
        """Whether one of the first annotated videos would come, in which format. Downloads none."""
        try:
            source = cls.from_config(dataset, download)
        except InputError as error:
            yield Finding("one video", "missing", str(error), "correct it, then ask again")
            return
        failures, answer = [], None
        for recipe in (recipes or ())[:_KNOWN_ASKED]:
            try:
                answer, said = source._look(recipe.video_id)
            except FetchError as error:
                said = source.warnings(recipe.video_id)
                failures.append((_group(error.kind), [f"{recipe.video_id}: {error.kind}: {error}", *said]))
                if error.kind in PASSING:
                    break
            else:
                answer = " | ".join([f"{recipe.video_id}: {answer}", *said])
                break
        for group, lines in failures:
            remedy = "" if answer else _advice(group)
            yield Finding("one video", "note" if answer else "missing", " | ".join(lines), remedy)
        if answer:
            yield Finding("one video", "ok", answer)
        elif not failures:
            yield Finding("one video", "missing", "no annotations, so no video to ask for")

    def warnings(self, video_id: str) -> Sequence[str]:
        """See `Source.warnings`."""
        return self._warnings.get(video_id, ())

    def is_sound(self) -> bool:
        """See `Source.is_sound`."""
        return self._answers(time.monotonic() - _PROVEN_S, _KNOWN_ASKED)

    def fetch(self, video_id: str, folder: Path) -> Path:
        """See `Source.fetch`."""
        noted = self.past.failed(video_id)
        for tries in count(1):
            self._pace.wait()
            if tries == 1:
                began = time.monotonic()
            try:
                path = self._ask(video_id, folder)
            except FetchError as error:
                refused = error.kind in _MENDED_BY_WAITING
                last = tries == _TRIES or error.kind not in _WORTH_ANOTHER or (refused and error.kind == noted)
                if last or refused:
                    self._failed(video_id, error, began, error.kind == noted)
                if last:
                    raise
            else:
                self._streak.end()
                self._good_at = max(self._good_at, began)
                return path

    def _failed(self, video_id: str, error: FetchError, began: float, noted: bool) -> None:
        """Count a failure; pause after a refusal.

        Raises:
            SetUpFault: there were too many alike, and no known video answers.
        """
        group = _group(error.kind)
        failures, is_long, video_ids = self._streak.failed(group, video_id, noted, _in_a_row(group))
        if is_long or group == "refusal":
            if self._answers(began, _KNOWN_ASKED if is_long else 1):
                self._streak.end()
            elif is_long:
                self._pace.stop(_stop_message(group, failures, len(video_ids), f"{self._url}: {error.kind}: {error}"))
                raise SetUpFault(self._pace.stopped, video_ids, error)
            elif not noted and failures < REFUSALS_IN_A_ROW:
                pause_s = max(self._backoff_s * 2 ** (failures - 1), error.retry_after_s)
                pause_s = min(pause_s, _LONGEST_PAUSE_S)
                self._pace.hold(pause_s)
                print(f"{error.kind}: pausing {pause_s:.0f} s, {failures} of {REFUSALS_IN_A_ROW}", flush=True)

    def _answers(self, since: float, most: int) -> bool:
        """Whether the server gives a video that it gave before.

        Args:
            since: a video that came after this time (`time.monotonic`) is answer enough.
            most: so many known videos are asked for until one answers.
        """
        with self._asking:  # other threads that fail meanwhile share the answer
            if self._good_at >= since and self._good_at >= self._bad_at:
                return True
            if self._bad_at >= since and self._bad_count >= most:
                return False
            known = sorted(self.past.came(), key=self._doubted.__contains__)[:most]
            for video_id in known:
                self._pace.wait()
                began = time.monotonic()
                try:
                    self._look(video_id)
                except FetchError:
                    self._doubted.add(video_id)
                    self._bad_at, self._bad_count = began, most
                else:
                    self._doubted.discard(video_id)
                    self._good_at = max(self._good_at, began)
                    return True
            return False

    def _ask(self, video_id: str, folder: Path) -> Path:
        from recipevis.data.ffmpeg import FFMPEG

        options = {"outtmpl": _literally(folder) + "/video.%(ext)s", "ffmpeg_location": FFMPEG}
        _, self._warnings[video_id] = self._extract(video_id, options, download=True)
        videos = [path for path in folder.iterdir() if path.suffix.lower() not in NOT_VIDEOS]
        if len(videos) != 1:
            raise FetchError("other", f"yt-dlp wrote {len(videos)} video files instead of one")
        return videos[0]

    def _look(self, video_id: str) -> tuple[str, Sequence[str]]:
        """What would come for a video, and the warnings. The first bytes are asked for, too.

        Raises:
            FetchError: the video wouldn't come.
        """
        from yt_dlp.utils import format_bytes

        info, warnings = self._extract(video_id, {"check_formats": "selected"}, download=False)
        if not info:
            raise FetchError("other", "yt-dlp found no video")
        size = info.get("filesize") or info.get("filesize_approx")
        parts = [f"format {info.get('format_id')}", info.get("ext"), info.get("height") and f"{info['height']} lines"]
        return ", ".join(filter(None, [*parts, size and format_bytes(size)])), warnings

    def _extract(self, video_id: str, options: dict[str, Any], download: bool) -> tuple[Any, Sequence[str]]:
        """yt-dlp's answer and its warnings."""
        import yt_dlp  # slow to import, and other sources don't need it

        log, cookies = _Log(), io.StringIO(self._cookies)  # not the user's file: yt-dlp writes the server's into it
        options = self._options | options | {"logger": log}
        if self._cookies:
            options["cookiefile"] = cookies
        try:
            with yt_dlp.YoutubeDL(options) as downloader:
                # yt-dlp only says to those who debug that YouTube withholds the formats of its default clients. Its
                # option `verbose` would also make ffmpeg print.
                downloader.write_debug = log.note
                info = downloader.extract_info(self._url.replace("{video_id}", video_id), download=download)
            # yt-dlp truncates the stream and writes on at its old position, hence the zeros.
            self._cookies = cookies.getvalue().lstrip("\0")
        except yt_dlp.utils.YoutubeDLError as error:
            if re.search(_DISK_FULL, str(error), re.IGNORECASE):  # yt-dlp drops the error number
                raise SourceError(disk_full(files.home())) from error
            kind, warnings = _kind(error), [*log.warnings, *log.withheld]
            if any(map(_WITHHELD.search, warnings)) and (kind == "no_suitable_format" or "Error 403" in str(error)):
                kind = "formats_withheld"
            self._warnings[video_id] = list(dict.fromkeys(warnings))
            raise FetchError(kind, str(error), _retry_after_s(error)) from error
        return info, list(dict.fromkeys(log.warnings))


def _literally(folder: Path) -> str:
    """A path for yt-dlp's output template, in which `%` begins a field and `$` an environment variable."""
    return str(folder).replace("%", "%%").replace("$", "%(_|$)s")  # a field that never exists, with the default `$`


def _group(kind: str) -> str:
    """Which failures are alike."""
    return "refusal" if kind in _MENDED_BY_WAITING else kind


def _in_a_row(group: str) -> int:
    """How many failures in a row are the set-up's."""
    limits = {"refusal": REFUSALS_IN_A_ROW, "network": UNANSWERED_IN_A_ROW, "formats_withheld": WITHHELD_IN_A_ROW}
    return limits.get(group, ALIKE_IN_A_ROW)


def _advice(group: str) -> str:
    """What to do when videos fail alike, one after the other."""
    if group == "refusal":
        return (
            f"Wait an hour, or set {COOKIES[0]}=<file> or {COOKIES[1]}=<browser>, or use your own videos"
            " (dataset.source: local)"
        )
    if group == "network":
        return "Check the network and dataset.url"
    update = f"update yt-dlp ({environment.update_command()})"
    if group == "formats_withheld":
        return (
            f"{update.capitalize()}, look whether it finds deno (recipevis doctor), install a plugin that provides"
            f" tokens, choose other player clients ({OPTIONS}), or set {COOKIES[0]}=<file>"
        )
    return f"Check dataset.url and download.format, or {update}; `recipevis doctor --ask` tries one video"


def _stop_message(group: str, failures: int, videos: int, last: str) -> str:
    """Why the source stops, and what to do."""
    what = {"refusal": f"{failures} refusals in a row", "network": f"no answer for {videos} videos in a row"}
    begin = what.get(group, f"{videos} videos in a row failed alike")
    return f"{begin}, the last: {last}. {_advice(group)}; then run the same command again: finished downloads are kept"


def _retry_after_s(error: Exception) -> float:
    """The seconds in an HTTP response's header Retry-After; 0 if it is absent or a date."""
    cause = (getattr(error, "exc_info", None) or (None, None))[1]
    response = getattr(getattr(cause, "cause", None) or cause, "response", None)
    value = response.headers.get("Retry-After", "") if response is not None else ""
    return float(value) if value.isdigit() else 0.0


class _Log(Log):
    """A log that also keeps what yt-dlp says about withheld formats to those who debug it."""

    def __init__(self):
        super().__init__()
        self.withheld: list[str] = []

    def note(self, message: str, only_once: bool = False) -> None:
        """Called by yt-dlp in place of `write_debug`."""
        if _QUIETLY_WITHHELD.search(str(message)):
            self.withheld.append(" ".join(str(message).split()))


# Where yt-dlp says why formats are missing: YouTube wants a token, or JavaScript that yt-dlp couldn't run.
_WITHHELD = re.compile(
    r"PO Token|SABR|missing a url|some formats may be missing|(nsig|n challenge|signature)\b.*\bfail|challenge solv"
    r"|solving .*challenge|JavaScript runtime|JS challenge|only images are available|DRM protected|signature extraction"
    r"|IP is likely being blocked|needs to be reloaded",
    re.IGNORECASE,
)
# What it only says to those who debug; they also read of tokens that were found.
_QUIETLY_WITHHELD = re.compile(r"PO Token which was not provided|missing a url", re.IGNORECASE)
_DISK_FULL = r"no space left|errno 28|quota exceeded"
# yt-dlp's messages; the first pattern that matches gives the kind.
_MESSAGES = (
    ("age_or_country_locked", r"confirm your age"),  # "Sign in to confirm your age"
    ("rate_limited", r"HTTP Error 429|rate.?limit|too many requests"),
    ("private", r"private video|video is private"),
    ("private", r"members.?only|join this channel|available to this channel"),
    ("formats_withheld", r"DRM protected|page needs to be reloaded"),
    ("login_or_bot_check", r"not a bot|sign in|log ?in|cookies|HTTP Error 401|captcha|IP is likely being blocked"),
    (
        "age_or_country_locked",
        r"age.?restrict|confirm your age|inappropriate|your country|geo.?restrict|not available in",
    ),
    ("removed", r"removed|terminated|no longer available|copyright|deleted"),
    ("no_suitable_format", r"requested format is not available|no video formats"),
    ("not_found", r"HTTP Error (404|410)|video unavailable|does not exist|incomplete youtube id|video is unavailable"),
    ("damaged", r"unsupported url|is not a valid URL|file is empty|downloaded file is empty"),
    (
        "network",
        r"HTTP Error 5\d\d|timed? ?out|connection|unable to download|any data blocks|urlopen|resolve|incomplete|ssl"
        r"|reset|bytes read",
    ),
)


def _kind(error: Exception) -> str:
    """The kind of a yt-dlp error, by its message: yt-dlp has no finer exception types."""
    return next((kind for kind, words in _MESSAGES if re.search(words, str(error), re.IGNORECASE)), "other")
