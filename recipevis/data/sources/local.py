"""Where videos come from: rendered, a folder, or YouTube, all behind `video_source.Source`."""

import hashlib
from pathlib import Path

from recipevis.config import DatasetConfig, DownloadConfig
from recipevis.core import files
from recipevis.data import ffmpeg
from recipevis.data.sources.base import FetchError, Source, by_id, digest
from recipevis.data.sources.youtube import YouTube
from recipevis.errors import InputError
from recipevis.kitchen import recipes
from recipevis.kitchen.drawing import rendering


class Kitchen(Source):
    """Renders the demo's videos.

    Args:
        seed: `dataset.seed`.
    """

    def __init__(self, seed: int):
        # Another renderer renders something else under the same ids.
        modules = [*sorted(Path(recipes.__file__).parent.rglob("*.py")), Path(ffmpeg.__file__)]
        code = hashlib.sha256(b"".join(module.read_bytes() for module in modules))
        super().__init__(f"kitchen-{seed}-{code.hexdigest()[:12]}", f"the toy kitchen, seed {seed}")
        self._seed = seed

    def _fetch(self, video_id: str, folder: Path) -> Path:
        path = folder / "video.mp4"
        ffmpeg.write(path, rendering.video(recipes.recipe(self._seed, video_id)), rendering.RATE)
        return path


class Local(Source):
    """Links the videos of a folder, nested folders included, into the store.

    Args:
        videos: holds `<video id>.<any extension>`. Of several for one id the first by path is taken, links that lead
            nowhere left out.

    Raises:
        InputError: no such folder.
    """

    listed = (*Source.listed, "_files")

    def __init__(self, videos: Path):
        self._videos = videos
        super().__init__(f"local-{digest(videos.resolve().as_posix())}", f"links into {videos.resolve()}")

    def _list(self) -> None:
        if not self._videos.is_dir():
            raise InputError(f"{self._videos}: no such folder (dataset.videos_dir)")
        super()._list()
        self._files = by_id(self._videos, self._videos.rglob("*"))

    def _fetch(self, video_id: str, folder: Path) -> Path:
        if video_id not in self._files:
            raise FetchError("not_found", f"no {video_id}.* in {self._videos}")
        path = next(filter(Path.exists, self._files[video_id]), None)
        if path is None:
            raise FetchError("not_found", f"{self._files[video_id][0]}: a link that leads nowhere")
        link = folder / f"video{path.suffix}"
        link.symlink_to(path.resolve())
        return link


def make_source(dataset: DatasetConfig, download: DownloadConfig) -> Source:
    """The source that the parameters `dataset` ask for.

    Raises:
        InputError: the folder of `local` isn't there.
    """
    makers = {
        "kitchen": lambda: Kitchen(dataset.seed),
        "local": lambda: Local(files.user_path(dataset.videos_dir)),
        "youtube": lambda: YouTube(
            dataset.url, download.format, download.retries, download.timeout_s, download.pause_s, download.backoff_s
        ),
    }
    return makers[dataset.source]()
