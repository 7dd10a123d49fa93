"""Videos that are on this machine already: a folder of files named by id."""

import os
import re
import stat
import uuid
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from recipevis.core import files
from recipevis.core.findings import Finding
from recipevis.data.sources.base import NOT_VIDEOS, FetchError, Source, digest
from recipevis.data.tables.recipes import SUBSETS, Recipe
from recipevis.errors import InputError

# The usual endings of videos. Files with these are opened before files with others.
_CONTAINERS = (
    ".mp4 .m4v .mkv .webm .mov .avi .flv .f4v .wmv .asf .mpg .mpeg .vob .ts .mts .m2ts .3gp .3g2 .ogv .mxf .divx"
)
_STREAMS = ".rm .rmvb .dv .ivf .y4m .nut .m1v .m2v .h264 .264 .h265 .265 .hevc"
_VIDEOS = frozenset(f"{_CONTAINERS} {_STREAMS}".split())
# What may stand between an id and the ending, beside another ending: yt-dlp's code of a format, lines of the picture.
_BETWEEN = re.compile(r"f\d[\w-]*|f(hls|dash|http)[\w-]*|\d{3,4}p\d*", re.IGNORECASE)
_TITLED = re.compile(r".+ \[([\w-]+)\]", re.ASCII)  # yt-dlp's own names of files: `Title [ID].mp4`
_NAMED = 5  # a message names at most so many files


class _Listing(NamedTuple):
    """A folder of videos.

    Attributes:
        candidates: the files that may be a video of each id, the likeliest first.
        names: the other visible files and folders, and the candidates, by name.
        unsearched: for each folder that can't be searched, its path and why.
    """

    candidates: dict[str, list[Path]]
    names: dict[str, Path]
    unsearched: list[str]


class Local(Source):
    """Links the videos of a folder and of the folders in it, linked ones too, into the store.

    Args:
        videos: holds `<video id>.<any extension>`; another extension or yt-dlp's code of a format may stand between
            (`<video id>.mp4.mkv`, `<video id>.f137.mp4`), and a title before the id in brackets. Of several files for
            one id, the first that opens is taken: usual extensions of videos before others, then those with nothing
            between, then by path.

    Raises:
        InputError: no such folder, or it can't be read.
    """

    licence = "see where the videos come from"
    video_bytes = 0  # links
    needs: ClassVar = {**Source.needs, "videos_dir": "a folder"}

    def __init__(self, videos: Path):
        self.name, self.about = f"local-{digest(videos.resolve().as_posix())}", f"links into {_shown(videos.resolve())}"
        self._videos, self._run = videos, uuid.uuid4().hex
        _list(self._videos, self._run)

    @classmethod
    def from_config(cls, dataset: Any, download: Any) -> "Local":
        """See `Source.from_config`."""
        return cls(files.user_path(dataset.videos_dir))

    def fetch(self, video_id: str, folder: Path) -> Path:
        """See `Source.fetch`; the likeliest of the files."""
        return next(self.candidates(video_id, folder))

    def candidates(self, video_id: str, folder: Path) -> Iterator[Path]:
        """See `Source.candidates`."""
        listing, offered, unusable = _list(self._videos, self._run), set(), []
        for path in listing.candidates.get(video_id, ()):
            if reason := _unusable(path):
                unusable.append(f"{_shown(path)}: {reason}")
                continue
            offered.add(path)
            # Anything else in an ending could break the tables.
            ending = path.suffix if re.fullmatch(r"\.\w{1,16}", path.suffix, re.ASCII) else ".unknown"
            link = folder / f"{len(offered)}{ending}"
            link.symlink_to(path.resolve())
            yield link
        rest = unusable + [f"{_shown(path)}: not a video of this id" for path in _beside(video_id, listing)]
        if rest or not offered:
            nothing = [] if offered or rest else [f"no {video_id}.* in {_shown(self._videos)}"]
            raise FetchError("not_found", _some(nothing + rest + ([] if offered else listing.unsearched)))

    @classmethod
    def findings(cls, dataset: Any, recipes: Sequence[Recipe] | None) -> Iterator[Finding]:
        """How many of the annotated videos the folder has, by their names: no video is opened."""
        try:
            folder = files.user_path(dataset.videos_dir)
            listing = _search(folder)
        except InputError as error:
            yield Finding("videos", "missing", str(error), "set dataset.videos_dir")
            return
        if listing.unsearched:
            yield Finding("folders of videos", "note", f"not searched: {_some(listing.unsearched)}")
        present = {
            video_id
            for video_id, paths in listing.candidates.items()
            if any(not _unusable(path) and path.stat().st_size for path in paths)
        }
        if recipes is None:
            count = len({_ids(path.name)[-1] for video_id in present for path in listing.candidates[video_id]})
            yield Finding("videos", "ok", f"{count:,} in {_shown(folder)}")
            return
        found = [recipe for recipe in recipes if recipe.video_id in present]
        text = f"{len(found):,} of {len(recipes):,} annotated videos found in {_shown(folder)}"
        if empty := [subset for subset in SUBSETS if not any(recipe.subset == subset for recipe in found)]:
            text += f", none for {' and '.join(empty)}"
            yield Finding("videos", "missing", text, "add <video id>.<extension>")
        else:
            yield Finding("videos", "ok" if len(found) == len(recipes) else "note", text)


@lru_cache(maxsize=1)
def _list(folder: Path, run: str) -> _Listing:
    """The folder's videos by id, listed once a process and run: on a cluster each video's task brings its own copy."""
    return _search(folder)


def _search(folder: Path) -> _Listing:
    """List a folder and the folders in it. Links to folders are followed, each folder is searched once.

    Raises:
        InputError: no such folder, or it can't be read.
    """
    if not folder.is_dir():
        raise InputError(f"{_shown(folder)}: no such folder (dataset.videos_dir)")
    found, names, unsearched, searched = {}, {}, [], set()

    def refused(error: OSError) -> None:
        if error.filename == str(folder):
            raise InputError(f"{_shown(folder)}: can't be read: {error.strerror} (dataset.videos_dir)") from error
        unsearched.append(f"{_shown(error.filename)}: {error.strerror}")

    for parent, folders, members in os.walk(folder, onerror=refused, followlinks=True):
        about = os.stat(parent)
        if (about.st_dev, about.st_ino) in searched:  # a link that leads back
            folders.clear()
            continue
        searched.add((about.st_dev, about.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        names |= {name: Path(parent, name) for name in folders}
        for name in members:
            if name.startswith("."):
                continue
            path = names[name] = Path(parent, name)
            ending = path.suffix.lower()
            for place, video_id in enumerate(_ids(name)):
                found.setdefault(video_id, []).append((ending not in _VIDEOS, place, path))
            # One with another ending may be meant as a folder.
            if ending not in _VIDEOS | NOT_VIDEOS and os.path.islink(path) and not os.path.exists(path):
                unsearched.append(f"{_shown(path)}: a link that leads nowhere")
    candidates = {video_id: [path for *_, path in sorted(paths)] for video_id, paths in found.items()}
    return _Listing(candidates, names, sorted(unsearched))


def _ids(name: str) -> list[str]:
    """The ids of which a file may be the video, the longest first; none if its ending is no video's.

    `a.b.mp4` belongs to the id `a.b`, never to `a`; `a.mp4.mkv` to `a.mp4` or to `a`;
    `Soup [a].mp4` to `Soup [a]` or to `a`.
    """
    *parts, ending = name.split(".")
    ending = f".{ending.lower()}"
    if not parts or ending in NOT_VIDEOS or ending.startswith(".part-"):  # yt-dlp's `ID.mp4.part-Frag3`
        return []
    ids = [".".join(parts)]
    while len(parts) > 1 and (f".{parts[-1].lower()}" in _VIDEOS or _BETWEEN.fullmatch(parts[-1])):
        parts.pop()
        ids.append(".".join(parts))
    if titled := _TITLED.fullmatch(ids[-1]):
        ids.append(titled[1])
    return ids


def _beside(video_id: str, listing: _Listing) -> list[Path]:
    """The files and folders that have an id's name and are no candidates."""
    taken = set(listing.candidates.get(video_id, ()))
    return [
        path
        for name, path in listing.names.items()
        if (name == video_id or name.startswith(f"{video_id}.")) and path not in taken
    ]


def _unusable(path: Path) -> str:
    """Why a file can't be opened; empty if it can. A pipe would wait for a writer."""
    try:
        about = path.stat()
    except FileNotFoundError:
        return "a link that leads nowhere"
    except OSError as error:
        return error.strerror or str(error)
    return "" if stat.S_ISREG(about.st_mode) else "not a file"


def _shown(path: object) -> str:
    """A path on one line, in letters that every file and terminal can hold."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def _some(texts: Sequence[str]) -> str:
    """Some texts on one line, and how many more there are."""
    more = [f"{len(texts) - _NAMED:,} more"] if len(texts) > _NAMED else []
    return "; ".join([*texts[:_NAMED], *more])
