"""Where videos come from: rendered, a folder, or YouTube, all behind `Source`.

A source has a folder in the store, `RECIPEVIS_HOME/videos/<name>/`, a cache of `<video id>.<extension>`. What lies
there is whole: a video is made under another name, probed and only then renamed.
"""

import errno
import hashlib
import os
import random
import re
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import filelock

from recipevis import encoding, store, video
from recipevis.errors import InputError, SourceError
from recipevis.kitchen import recipes, rendering
from recipevis.parameters import Dataset, Download

# Why a video is not there: a closed list, shown in docs/data.md.
ERRORS = {
    "private": "its owner made it private",
    "removed": "its owner, or YouTube, removed it",
    "age_or_country_locked": "not for everyone, or not for this country",
    "login_or_bot_check": "YouTube wants proof that a person asks",
    "rate_limited": "too many requests in a short time",
    "not_found": "no such video",
    "network": "no answer, or one cut short",
    "no_suitable_format": "in none of the formats asked for",
    "damaged": "what came is no video that can be decoded",
    "other": "anything else; logs/download.csv has the message",
}
# Files that lie beside videos under the same name.
_NOT_VIDEOS = {".json", ".txt", ".csv", ".vtt", ".srt", ".jpg", ".jpeg", ".png", ".webp", ".part", ".ytdl", ".lock"}


class FetchError(Exception):
    """A video can't be had. `kind` is a key of `ERRORS`."""

    def __init__(self, kind: str, message: str):
        super().__init__(" ".join(message.split()))
        self.kind = kind


class Source(ABC):
    """Gets videos by id and keeps them in a folder of the store. Safe for threads and processes.

    Args:
        name: of the folder below `RECIPEVIS_HOME/videos`; another for whatever would give another video.
    """

    def __init__(self, name: str):
        self.folder = store.home() / "videos" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stored = _by_id(self.folder, self.folder.iterdir())

    @abstractmethod
    def _fetch(self, video_id: str, folder: Path) -> Path:
        """Put the video, or a link to it, into an empty folder under any name with its own extension.

        Raises:
            FetchError: it can't be had.
        """

    def stored(self, video_id: str) -> Path | None:
        """The video's file in the store, or None."""
        return next((path for path in self._stored.get(video_id, ()) if path.exists()), None)

    def get(self, video_id: str) -> Path:
        """The video's file in the store, fetched if it isn't there.

        Raises:
            FetchError: it can't be had, or is damaged.
            SourceError: the disk is full.
        """
        if path := self.stored(video_id):
            return path
        partial = self.folder / ".partial" / video_id
        partial.parent.mkdir(exist_ok=True)
        try:
            with filelock.FileLock(partial.with_name(f"{video_id}.lock")):
                shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
                partial.mkdir()
                path = self._checked(video_id, partial)
                shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise SourceError(self._disk_full()) from error
            raise
        self._stored[video_id] = [path]
        return path

    def _disk_full(self) -> str:
        return f"{self.folder}: the disk is full: make room, then run the same again"

    def _checked(self, video_id: str, partial: Path) -> Path:
        """Fetch into a folder, probe, rename."""
        fetched = self._fetch(video_id, partial)
        try:
            video.probe(fetched)
        except video.VideoError as error:
            raise FetchError("damaged", f"{error.reason}: {error}") from error
        path = self.folder / f"{video_id}{fetched.suffix}"
        os.replace(fetched, path)
        return path


class Kitchen(Source):
    """Renders the demo's videos.

    Args:
        seed: `dataset.seed`.
    """

    def __init__(self, seed: int):
        # Another renderer renders something else under the same ids.
        modules = [*sorted(Path(recipes.__file__).parent.glob("*.py")), Path(encoding.__file__)]
        code = hashlib.sha256(b"".join(module.read_bytes() for module in modules))
        super().__init__(f"kitchen-{seed}-{code.hexdigest()[:12]}")
        self._seed = seed

    def _fetch(self, video_id: str, folder: Path) -> Path:
        path = folder / "video.mp4"
        encoding.write(path, rendering.video(recipes.recipe(self._seed, video_id)), rendering.RATE)
        return path


class Local(Source):
    """Links the videos of a folder, nested folders included, into the store.

    Args:
        videos: holds `<video id>.<any extension>`. Of several for one id the first by path is taken.

    Raises:
        InputError: no such folder.
    """

    def __init__(self, videos: Path):
        if not videos.is_dir():
            raise InputError(f"{videos}: no such folder (dataset.videos_dir)")
        super().__init__(f"local-{_digest(videos.resolve().as_posix())}")
        self._files = _by_id(videos, videos.rglob("*"))

    def _fetch(self, video_id: str, folder: Path) -> Path:
        if video_id not in self._files:
            raise FetchError("not_found", f"no {video_id}.* in the folder")
        path = self._files[video_id][0]
        link = folder / f"video{path.suffix}"
        link.symlink_to(path.resolve())
        return link


class YouTube(Source):
    """Downloads through yt-dlp, from YouTube or whatever else it knows.

    Cookies and proxy come from the environment: `RECIPEVIS_COOKIES` (a file), `RECIPEVIS_COOKIES_FROM_BROWSER` (a
    browser's name), `RECIPEVIS_PROXY` (an address).

    Args:
        url: the address, with `{video_id}` in it.
        format: yt-dlp's format selector.
        retries: tries per request.
        timeout_s: seconds without an answer that end a request.
        pause_s: shortest and longest pause between two videos, seconds.
    """

    def __init__(self, url: str, format: str, retries: int, timeout_s: float, pause_s: Sequence[float]):
        super().__init__(f"youtube-{_digest(url, format)}")
        self._url, self._pause_s = url, tuple(pause_s)
        self._options = {
            "format": format,
            "retries": retries,
            "fragment_retries": retries,
            "extractor_retries": min(retries, 3),
            "socket_timeout": timeout_s,
            "noplaylist": True,
            "cachedir": False,
            "quiet": True,
            "noprogress": True,
            "logger": _Silent(),
            "ffmpeg_location": encoding.FFMPEG,
        }
        if cookies := os.environ.get("RECIPEVIS_COOKIES"):
            self._options["cookiefile"] = cookies
        if browser := os.environ.get("RECIPEVIS_COOKIES_FROM_BROWSER"):
            self._options["cookiesfrombrowser"] = (browser,)
        if proxy := os.environ.get("RECIPEVIS_PROXY"):
            self._options["proxy"] = proxy
        self._asked = threading.local()

    def _fetch(self, video_id: str, folder: Path) -> Path:
        import yt_dlp  # other sources need not wait for it

        if getattr(self._asked, "before", False):
            time.sleep(random.uniform(*self._pause_s))
        self._asked.before = True
        options = self._options | {"outtmpl": str(folder / "video.%(ext)s")}
        try:
            with yt_dlp.YoutubeDL(options) as downloader:
                downloader.extract_info(self._url.replace("{video_id}", video_id))
        except yt_dlp.utils.YoutubeDLError as error:
            if re.search(_DISK_FULL, str(error), re.IGNORECASE):  # yt-dlp keeps no error number
                raise SourceError(self._disk_full()) from error
            raise FetchError(_kind(error), str(error)) from error
        files = [path for path in folder.iterdir() if path.suffix not in _NOT_VIDEOS]
        if len(files) != 1:
            raise FetchError("other", f"{len(files)} files came")
        return files[0]


class _Silent:
    """yt-dlp's messages come with its errors, too."""

    def debug(self, message: str) -> None:
        pass

    warning = error = debug


_DISK_FULL = r"no space left|errno 28|quota exceeded"
# What yt-dlp says, in the order of asking: the first that fits names the kind.
_MESSAGES = (
    ("age_or_country_locked", r"confirm your age"),  # "Sign in to confirm your age"
    ("rate_limited", r"HTTP Error 429|rate.?limit|too many requests"),
    ("private", r"private video|video is private"),
    ("login_or_bot_check", r"not a bot|sign in|log ?in|cookies|HTTP Error 401"),
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
        r"HTTP Error 5\d\d|timed? ?out|connection|unable to download|urlopen|resolve|incomplete|ssl|reset|bytes read",
    ),
)


def _kind(error: Exception) -> str:
    """The class of a yt-dlp error, from its message: it has no finer types of its own."""
    return next((kind for kind, words in _MESSAGES if re.search(words, str(error), re.IGNORECASE)), "other")


def make_source(dataset: Dataset, download: Download) -> Source:
    """The source that the parameters `dataset` ask for.

    Raises:
        InputError: the folder of `local` isn't there.
    """
    makers = {
        "kitchen": lambda: Kitchen(dataset.seed),
        "local": lambda: Local(store.user_path(dataset.videos_dir)),
        "youtube": lambda: YouTube(
            dataset.url, download.format, download.retries, download.timeout_s, download.pause_s
        ),
    }
    return makers[dataset.source]()


def _digest(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]


def _by_id(folder: Path, paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Videos by id, each id's in the order of their paths."""
    found: dict[str, list[Path]] = {}
    for path in sorted(paths):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.suffix or path.suffix.lower() in _NOT_VIDEOS or path.is_dir():
            continue
        found.setdefault(path.stem, []).append(path)
    return found
