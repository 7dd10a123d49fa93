"""`data/videos.csv`: one row a video, downloaded or not."""

from pathlib import Path

import pandas as pd

COLUMNS = ("video_id", "subset", "recipe_type", "status", "error", "flags", "file", "bytes", "sha256", "duration_s")
# Why a video is missing. docs/data.md lists these.
ERRORS = {
    "private": "its owner made it private",
    "removed": "its owner, or YouTube, removed it",
    "age_or_country_locked": "not for everyone, or not for this country",
    "login_or_bot_check": "YouTube wants proof that a person asks",
    "rate_limited": "too many requests in a short time",
    "formats_withheld": "YouTube gives this yt-dlp no format: it is too old, or lacks a token or JavaScript",
    "not_found": "no such video",
    "network": "no answer, one cut short, or an error of the server",
    "no_suitable_format": "in none of the formats asked for",
    "damaged": "what came is no video that can be decoded",
    "other": "anything else; logs/download.csv has the message",
}
# A video with a flag is kept.
FLAGS = {"short": "it ends before a step's middle; a second download was not longer"}


def read_videos(path: Path) -> pd.DataFrame:
    """Read `data/videos.csv`: every column is text, empty where there is no value."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)
