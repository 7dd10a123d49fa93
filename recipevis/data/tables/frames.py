"""`data/frames.csv`: one row a step, with a frame or with the reason why there is none."""

from pathlib import Path

import pandas as pd

COLUMNS = ("video_id", "step", "start_s", "end_s", "time_s", "status", "error", "flags", "file")
# Why a step has no frame. docs/data.md lists these; the last four come from `data.video`.
ERRORS = {
    "video_failed": "the video could not be downloaded; data/videos.csv says why",
    "video_gone": "the video has left the store since, and could not be fetched again",
    "unreadable": "the file can't be opened, or is no video file",
    "no_video_stream": "the file holds sound alone, or a video stream without a frame",
    "past_end": "the time is after the last frame",
    "undecodable": "the video is damaged there, or its times are unknown from there on",
}
# A frame with a flag is kept.
FLAGS = {
    "dark": "almost black: a fade, or a picture that says nothing",
    "uniform": "a single colour, nearly",
    "hdr": "made for a screen of high dynamic range; its tones are not mapped, so it looks pale",
}


def read_frames(path: Path) -> pd.DataFrame:
    """Read `data/frames.csv`: `step` is int, times are float, the rest is text, empty where there is no value."""
    numbers = {"step": int, "start_s": float, "end_s": float, "time_s": float}
    texts = dict.fromkeys(("video_id", "status", "error", "flags", "file"), str)
    return pd.read_csv(path, dtype=numbers | texts, keep_default_na=False)
