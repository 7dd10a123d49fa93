"""What every source of videos shares: how it fetches a video, and what it says about itself.

Nothing outside this folder compares a source's name: a new source is one new file here. A source is imported when the
parameters are checked, so it imports what fetching needs inside `fetch`.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from recipevis.core.findings import Finding
from recipevis.core.plugins import class_in
from recipevis.data.tables.recipes import Recipe
from recipevis.errors import SourceError

SOURCES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py") if path.stem != "base"))
PLAIN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")  # a video's id names its files
# Errors of `tables.videos.ERRORS` by what they mean for the next try.
PERMANENT = frozenset({"private", "removed", "age_or_country_locked", "not_found", "no_suitable_format"})
REFUSALS = frozenset({"login_or_bot_check", "rate_limited", "formats_withheld"})  # the server refuses us
PASSING = REFUSALS | {"network"}  # these say nothing about the video, so a resumed run asks again
# Endings of files that lie beside videos under the same name. FFmpeg would open some of them as videos: pictures, sound
# with a cover, text, playlists, half a download.
_SOUND = ".m4a .m4b .mp3 .aac .ac3 .opus .ogg .oga .wav .flac .mka .wma .weba"
_PICTURES = ".jpg .jpeg .png .webp .bmp .tif .tiff .heic .avif .svg .ico"
_TEXTS = (
    ".json .txt .csv .tsv .yaml .yml .xml .html .htm .url .pdf .md .log .nfo .diz .asc .description .m3u .m3u8 .mpd"
)
_SUBTITLES = ".vtt .srt .ass .ssa .sub .idx .ttml .sbv .lrc .srv1 .srv2 .srv3"
_DATA = ".npy .npz .h5 .hdf5 .pkl .pt .mat .md5 .sha1 .sha256 .sfv .zip .gz .tar .torrent"
_UNFINISHED = ".part .ytdl .lock .tmp .temp .crdownload .download .partial .aria2"
NOT_VIDEOS = frozenset(" ".join((_SOUND, _PICTURES, _TEXTS, _SUBTITLES, _DATA, _UNFINISHED)).split())


class FetchError(Exception):
    """A source could not fetch a video.

    Attributes:
        kind: a key of `tables.videos.ERRORS`.
        retry_after_s: the pause that the server asked for, seconds; 0 if it didn't.
    """

    def __init__(self, kind: str, message: str, retry_after_s: float = 0):
        # A file's name in it may hold a line end, or bytes that are no UTF-8.
        super().__init__(" ".join(message.split()).encode("utf-8", "backslashreplace").decode())
        self.kind, self.retry_after_s = kind, retry_after_s

    def __reduce__(self):
        return FetchError, (self.kind, str(self), self.retry_after_s)


class SetUpFault(SourceError):
    """Video after video failed alike and no known one answers: the set-up is at fault, not the videos.

    Attributes:
        video_ids: the videos that failed, in their order.
        last: the failure of the last one.
    """

    def __init__(self, message: str, video_ids: Sequence[str], last: FetchError):
        super().__init__(message)
        self.video_ids, self.last = tuple(video_ids), last


@dataclass(frozen=True)
class Past:
    """What the store remembers of a source's videos.

    Attributes:
        came: the ids of the videos that came, the latest first.
        failed: the kind of a video's latest noted failure; empty if there is none.
    """

    came: Callable[[], Sequence[str]] = tuple
    failed: Callable[[str], str] = lambda video_id: ""


class Source(ABC):
    """Fetches videos by id. Called from several threads; a source that is not `remote` is also pickled.

    Attributes:
        licence: of the recipes and frames, for the model card.
        video_bytes: what an average video takes in the store.
        needs: the keys of `dataset` that must not be empty, each with what it takes.
        remote: the source asks a server over the network. It then works on this machine only, failures are noted, and a
            video that is too short is fetched a second time.
        name: of its folder in the store; it changes with everything that changes the videos.
        about: where the videos come from, written into that folder for people.
        past: set by the store of a remote source.
        set_up: stands for what the server sees of this machine: versions, options, cookies. Two failures under
            different set-ups confirm each other.
    """

    licence: ClassVar[str]
    video_bytes: ClassVar[float]
    needs: ClassVar[Mapping[str, str]] = {"annotations": "a path or a URL"}
    remote: ClassVar[bool] = False
    name: str
    about: str
    past: Past = Past()
    set_up: str = ""

    @classmethod
    @abstractmethod
    def from_config(cls, dataset: Any, download: Any) -> "Source":
        """Make the source from the sections `dataset` and `download` of the parameters.

        Raises:
            InputError: what the parameters name isn't there.
        """

    @abstractmethod
    def fetch(self, video_id: str, folder: Path) -> Path:
        """Put the video, or a link to it, into an empty folder; any name with the video's own extension.

        Raises:
            FetchError: there is no such video, or it can't be fetched now.
            SourceError: the source can't go on at all.
        """

    def candidates(self, video_id: str, folder: Path) -> Iterator[Path]:
        """What `fetch` gives. A source may find several files for an id: it puts one after the other into the folder,
        the likeliest first, and the store takes the first that opens.

        Raises:
            FetchError: as `fetch`; also after the last candidate, to name the id's other files.
            SourceError: as `fetch`.
        """
        yield self.fetch(video_id, folder)

    def is_sound(self) -> bool:
        """Whether the set-up works: a video came a short while ago, or one that is known to exist answers now."""
        return True

    def warnings(self, video_id: str) -> Sequence[str]:
        """What was said beside this run's last fetch of a video, a line each."""
        return ()

    @classmethod
    def annotations(cls, dataset: Any) -> dict[str, Any] | None:
        """The source's own annotations in YouCook2's form; None: they are in `dataset.annotations`."""
        return None

    @classmethod
    def id_pattern(cls, dataset: Any) -> re.Pattern:
        """What a video's id must match."""
        return PLAIN_ID

    @classmethod
    def findings(cls, dataset: Any, recipes: Sequence[Recipe] | None) -> Iterable[Finding]:
        """What `recipevis doctor` reports about this source; `recipes` is None where they are not on this machine."""
        return ()

    @classmethod
    def ask(cls, dataset: Any, download: Any, recipes: Sequence[Recipe] | None) -> Iterable[Finding]:
        """What `recipevis doctor --ask` reports: whether an annotated video would come now. Downloads none."""
        yield Finding("one video", "ok", f"nothing to ask: dataset.source {dataset.source} needs no server")


def source_class(name: str) -> type[Source]:
    """The class of a source; `name` is one of `SOURCES`."""
    return class_in(f"recipevis.data.sources.{name}", Source)


def digest(*texts: str) -> str:
    """Twelve hexadecimal digits for a folder's name."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).hexdigest()[:12]
