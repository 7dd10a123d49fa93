"""How yt-dlp is asked: with which options, how often. What comes doesn't depend on it, so no stage lists it."""
