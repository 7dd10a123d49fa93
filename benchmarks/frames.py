"""Time this project's frames against other libraries: each seeks, decodes, resizes to 256 x 256 and saves.

    python benchmarks/frames.py

The video is like YouTube's: 300 s, 640 x 360, 30 frames a second, H.264 with a key frame every 250 frames and three
B-frames; 8 steps. The libraries run in turn, round after round; ratios are those of the medians. A library that can't
be loaded is null: `pip install opencv-python-headless torchcodec==0.13.0` (for torch 2.13, with Debian's ffmpeg).
Growth and memory are those of `frames.extract` with ten times as many videos, in a process of its own.

The last line is one JSON object. `over_…` is our time over theirs, `vs_…` theirs over ours; `identical`: our frames
equal, bit for bit, those of a decode of the whole video.
"""

import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import av
import ffmpeg
import numpy as np
import pandas as pd
import typer
from PIL import Image

from recipevis.data import ffmpeg as ffmpeg_files
from recipevis.data import frames, video
from recipevis.data.tables.recipes import Recipe, Step

SECONDS, RATE, STEPS, PIXELS = 300, 30, 8, 256
_VIDEOS_SHARED = 24  # for two workers: so many that neither waits long for the other at the end
Frames = dict[int, np.ndarray]  # uint8 [256, 256, 3], by number of the time


def make_video(path: Path) -> None:
    """A moving, noisy picture, which takes as long to decode as a real video."""
    picture = f"testsrc2=size=640x360:rate={RATE}:duration={SECONDS},noise=alls=6:allf=t"
    rate = "-b:v 600k -maxrate 900k -bufsize 1800k"
    codec = f"-c:v libx264 -preset veryfast {rate} -bf 3 -b_strategy 0 -g 250 -sc_threshold 0 -pix_fmt yuv420p"
    command = f"{ffmpeg_files.FFMPEG} -loglevel error -f lavfi -i {picture} {codec} {path}"
    subprocess.run(command.split(), check=True)


def save(picture: Image.Image, folder: Path, number: int) -> None:
    """Resize and save as the stage does."""
    frames.square(picture, PIXELS, "squash").save(folder / f"{number}.png", compress_level=3)


def ours(path: Path, times: list[float], folder: Path) -> None:
    """This project's `video.shots`."""
    for number, shot in enumerate(video.shots(path, times)):
        save(shot.picture, folder, number)


def bare_pyav(path: Path, times: list[float], folder: Path) -> None:
    """Seek to the key frame before, decode to the wanted one."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for number, seconds in enumerate(times):
            wanted = round(seconds / stream.time_base)
            container.seek(wanted, stream=stream)
            before = None
            for frame in container.decode(stream):
                if frame.pts > wanted:
                    break
                before = frame
            save(before.to_image(), folder, number)


def torchcodec(path: Path, times: list[float], folder: Path) -> None:
    """TorchCodec's default: exact seeking, which scans the file first."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, dimension_order="NHWC")
    for number, frame in enumerate(decoder.get_frames_played_at(times).data):
        save(Image.fromarray(frame.numpy()), folder, number)


def opencv(path: Path, times: list[float], folder: Path) -> None:
    """Seek by milliseconds."""
    import cv2

    capture = cv2.VideoCapture(str(path))
    for number, seconds in enumerate(times):
        capture.set(cv2.CAP_PROP_POS_MSEC, seconds * 1000)
        _, picture = capture.read()
        save(Image.fromarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)), folder, number)


def ffmpeg_per_frame(path: Path, times: list[float], folder: Path) -> None:
    """One ffmpeg process a frame."""
    for number, seconds in enumerate(times):
        output = ffmpeg.input(str(path), ss=seconds).output(str(folder / f"{number}.png"), **_small(), vframes=1)
        output.run(ffmpeg_files.FFMPEG, quiet=True)


def ffmpeg_multi_seek(path: Path, times: list[float], folder: Path) -> None:
    """One ffmpeg process that opens the file once a frame."""
    outputs = [
        ffmpeg.input(str(path), ss=seconds).output(str(folder / f"{number}.png"), **_small(), vframes=1)
        for number, seconds in enumerate(times)
    ]
    ffmpeg.merge_outputs(*outputs).run(ffmpeg_files.FFMPEG, quiet=True)


def _small() -> dict[str, str]:
    return {"vf": f"scale={PIXELS}:{PIXELS}:flags=bicubic", "threads": "1"}


PEERS: dict[str, Callable[[Path, list[float], Path], None]] = {
    "ours": ours,
    "pyav": bare_pyav,
    "torchcodec": torchcodec,
    "opencv": opencv,
    "ffmpeg_per_frame": ffmpeg_per_frame,
    "ffmpeg_multi_seek": ffmpeg_multi_seek,
}


def main(
    rounds: Annotated[int, typer.Option(help="rounds; use at least 5")] = 7,
    videos: Annotated[
        int, typer.Option(help="videos of the smaller growth run; the larger one has ten times as many")
    ] = 4,
) -> None:
    """Print a table of medians, then the ratios as JSON."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        os.environ["RECIPEVIS_HOME"] = f"{name}/home"
        path = scratch / "video.mp4"
        make_video(path)
        times = [(step + 0.5) * SECONDS / STEPS + 0.011 for step in range(STEPS)]
        exact = whole_decode(path, times)
        seconds = {peer: [] for peer in PEERS if _loads(peer, path, times, scratch)}
        for _ in range(rounds):
            for peer in seconds:
                seconds[peer].append(_timed(PEERS[peer], path, times, scratch / peer))
        medians = {peer: median(taken) for peer, taken in seconds.items()}
        ratios = {peer: taken / medians["ours"] for peer, taken in medians.items()}
        right = {peer: _right(scratch / peer, exact) for peer in medians}
        print("| | ms a frame | times ours | frames that are right |", "|---|---:|---:|---:|", sep="\n")
        for peer, ratio in ratios.items():
            milliseconds = medians[peer] / STEPS * 1000
            print(f"| {peer} | {milliseconds:.1f} | {ratio:.2f} | {right[peer]} of {STEPS} |", flush=True)
        one, two = _workers(scratch, path, rounds)
        (small, _), (large, peak) = (_in_a_process(scratch, path, count) for count in (videos, 10 * videos))
    result = {
        "over_pyav": 1 / ratios["pyav"],
        "over_torchcodec": 1 / ratios["torchcodec"] if "torchcodec" in ratios else None,
        "two_workers": one / two,
        "vs_ffmpeg_per_frame": ratios["ffmpeg_per_frame"],
        "vs_ffmpeg_multi_seek": ratios["ffmpeg_multi_seek"],
        "growth_10x": large / small,
        "peak_mb_10x": peak,
        "identical": right["ours"] == STEPS,
    }
    print(json.dumps({key: round(value, 3) if isinstance(value, float) else value for key, value in result.items()}))


def whole_decode(path: Path, times: list[float]) -> Frames:
    """The same frames from a decode of the whole video, resized as ours."""
    found = {}
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            for number, seconds in enumerate(times):
                if frame.time <= seconds < frame.time + 1 / RATE:
                    found[number] = np.asarray(frames.square(frame.to_image(), PIXELS, "squash"))
    return found


def _right(folder: Path, exact: Frames) -> int:
    """How many frames equal the whole decode's: ours bit for bit, others, which resize differently, within 4 levels."""
    pairs = [(np.asarray(Image.open(folder / f"{number}.png")), frame) for number, frame in exact.items()]
    limit = 0 if folder.name == "ours" else 4
    return sum(int(np.abs(saved.astype(int) - frame).mean() <= limit) for saved, frame in pairs)


def _loads(peer: str, path: Path, times: list[float], scratch: Path) -> bool:
    """Whether a library can be loaded here; its first, cold run isn't timed."""
    try:
        _timed(PEERS[peer], path, times, scratch / peer)
    except (ImportError, RuntimeError, OSError) as error:
        print(f"{peer} can't be loaded: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        return False
    return True


def _timed(function: Callable[[Path, list[float], Path], None], path: Path, times: list[float], folder: Path) -> float:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    start = time.perf_counter()
    function(path, times, folder)
    return time.perf_counter() - start


def _workers(scratch: Path, path: Path, rounds: int) -> tuple[float, float]:
    """Median seconds of `frames.extract` over many videos, with one worker and with two, in turn."""
    taken = {1: [], 2: []}
    for _ in range(max(5, rounds // 2)):
        for workers, list_ in taken.items():
            start = time.perf_counter()
            _extract(scratch, path, _VIDEOS_SHARED, workers)
            list_.append(time.perf_counter() - start)
    return median(taken[1]), median(taken[2])


def _extract(scratch: Path, path: Path, count: int, workers: int) -> None:
    """Run `frames.extract` on links to the video."""
    folder, work = scratch / f"videos-{count}", Path(tempfile.mkdtemp(dir=scratch))
    folder.mkdir(exist_ok=True)
    names = [f"video-{number:04d}" for number in range(count)]
    for name in names:
        if not (folder / f"{name}.mp4").exists():
            os.link(path, folder / f"{name}.mp4")
    length = SECONDS / STEPS
    steps = [Step(step, step * length, (step + 1) * length, f"step {step}") for step in range(STEPS)]
    recipes = [Recipe(name, "validation", "0", SECONDS, steps) for name in names]
    table = pd.DataFrame({"video_id": names, "file": [f"{name}.mp4" for name in names]})
    frames.extract(recipes, table, folder, Path, PIXELS, "squash", workers, work, "frames")
    shutil.rmtree(work)


def _in_a_process(scratch: Path, path: Path, count: int) -> tuple[float, float]:
    """Seconds of `frames.extract` on `count` videos, and the peak memory of its process, MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (scratch, path, count))


def _measured(scratch: Path, path: Path, count: int) -> tuple[float, float]:
    start = time.perf_counter()
    _extract(scratch, path, count, 1)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    typer.run(main)
