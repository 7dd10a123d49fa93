"""The program ffmpeg: write pictures to a video file, and decode a whole video file.

The binary comes with imageio-ffmpeg, so nothing needs to be installed. `read` is slow and simple: tests compare `video`
with it.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import numpy as np

from recipevis.errors import InputError

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
# One thread, no version strings, no dates: the same pictures give the same bytes.
_SAME_BYTES = {"threads": 1, "fflags": "+bitexact", "flags": "+bitexact", "flags:v": "+bitexact", "map_metadata": -1}


def write(path: Path, pictures: Iterable[np.ndarray], rate: float, key_every: int = 20, quality: int = 18) -> None:
    """Write pictures as H.264 in yuv420p, the container by the file's extension.

    Args:
        path: the file; an existing one is replaced.
        pictures: uint8 RGB [h, w, 3] in [0, 255], all of one even height and width; at least one.
        rate: pictures a second.
        key_every: pictures from one key frame to the next.
        quality: x264's constant rate factor, 0 (lossless) to 51.

    Raises:
        InputError: ffmpeg failed; the message is its last line.
    """
    stacked = np.stack(list(pictures))  # [n, h, w, 3]
    _, height, width, _ = stacked.shape
    source = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=rate)
    output = source.output(
        str(path), vcodec="libx264", pix_fmt="yuv420p", crf=quality, preset="veryfast", g=key_every, **_SAME_BYTES
    )
    _run(output, path, stacked.tobytes())


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Decode a whole video as a player shows it, but with the file's own pixel proportions.

    Returns:
        seconds after the first shown frame, float64 [n], and the pictures, uint8 RGB [n, h, w, 3].

    Raises:
        InputError: ffmpeg failed; the message is its last line.
    """
    shown = ffmpeg.input(str(path), nostdin=None).video.filter("format", "rgb24").filter("showinfo")
    output = shown.output("pipe:", format="rawvideo", pix_fmt="rgb24", fps_mode="passthrough")
    raw, log = _run(output, path)
    lines = re.findall(r"pts_time:\s*(\S+).* s:(\d+)x(\d+)", log)
    times = np.array([float(time) for time, _, _ in lines])
    width, height = map(int, lines[0][1:])
    return times - times[0], np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def _run(output, path: Path, stdin: bytes | None = None) -> tuple[bytes, str]:
    """Run ffmpeg; its standard output and its log."""
    try:
        raw, log = output.overwrite_output().run(
            FFMPEG, input=stdin, capture_stdout=True, capture_stderr=True, quiet=True
        )
    except ffmpeg.Error as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines()
        raise InputError(f"{path}: ffmpeg: {lines[-1] if lines else 'failed'}") from None
    return raw, log.decode(errors="replace")
