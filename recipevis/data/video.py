"""Video files through PyAV: can a file be decoded, how long is it, and which picture does it show at a time.

Time 0 is the first shown frame. The picture at a time is the last one shown at or before it, as a player shows it: the
file's rotation and mirroring are applied and pixels are square.

If a file starts in the middle of a stream, the first shown frame is the first one that can be decoded without what is
missing. Frames that are damaged have their place in time, also at the start, and no picture.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.video.reformatter import ColorTrc
from PIL import Image

from recipevis.data.orientation import upright
from recipevis.data.packets import Index, Packet, VideoError, open_video, reason
from recipevis.data.playback import Playback, Played, goes_back

# Decoders that can skip the pictures on which no other depends (NONREF), because each packet's header marks them. Those
# of VP9 and AV1 treat this option differently, so they and all others decode everything.
_SKIPPING = {"h264", "hevc", "mpeg2video", "mpeg4"}
# Transfer functions of high dynamic range: PQ and HLG (ITU-R BT.2100).
_HDR = {ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67}


@dataclass(frozen=True)
class Shot:
    """The picture at a time, PIL RGB at its own size, or None and the reason, a key of `tables.frames.ERRORS`.

    `hdr`: the video is of high dynamic range; the picture looks pale, because its tones are not mapped.
    """

    picture: Image.Image | None
    error: str = ""
    hdr: bool = False


def probe(path: Path) -> float:
    """Seconds from the first shown frame to the end of the last.

    Raises:
        VideoError: the file can't be opened, has no video stream, or none of its frames can be decoded.
    """
    with _reader(path) as reader:
        duration_s = reader.probe()
    if duration_s is None:
        raise VideoError("undecodable", "none of its frames can be decoded")
    return duration_s


def shots(path: Path, times_s: Sequence[float]) -> list[Shot]:
    """The pictures at the given times, in the order given, the file opened once.

    Args:
        path: the file.
        times_s: seconds after the first shown frame, 0 or more.

    Returns:
        a picture or a reason for each time; if the file can't be used, each has the file's reason.
    """
    try:
        with _reader(path) as reader:
            # A float just below 3/10 must find the frame that starts at 3/10.
            times = {time: Fraction(time).limit_denominator(1_000_000) for time in sorted(set(times_s))}
            found = dict(zip(times, reader.shots(list(times.values())), strict=True))
    except VideoError as error:
        return [Shot(None, error.reason)] * len(times_s)
    return [found[time] for time in times_s]


@contextmanager
def _reader(path: Path) -> Iterator["_Seeker | _Player"]:
    """What reads a file: by seeking, or from start to end where seeking may find a wrong picture."""
    container, stream = open_video(path)
    with container:
        try:
            index = Index(container, stream)
            disordered = index.suspect and goes_back(path)
        except av.FFmpegError as error:
            raise VideoError("unreadable", reason(error)) from error
        if index.timed and not index.restarts and not disordered:
            yield _Seeker(path, container, stream, index)
        else:
            stamps = ("dts",) if disordered else index.stamps
            yield _Player(stream, index, Playback(path, index.places, stamps))


class _Player:
    """Decodes a whole file."""

    def __init__(self, stream: av.VideoStream, index: Index, playback: Playback):
        self._stream, self._restarts, self._playback = stream, index.restarts, playback

    def probe(self) -> float | None:
        """The duration, seconds; None if no frame can be decoded."""
        end, shows = None, False
        for played in self._playback:
            end, shows = played.end, shows or self._playback.is_whole(played)
        return float((end - self._playback.start) * self._stream.time_base) if shows else None

    def shots(self, times: Sequence[Fraction]) -> list[Shot]:
        """The pictures at ascending times, seconds."""
        picks: list[tuple[Played | None, Shot]] = []  # for each time, the frame and its picture
        last: Played | None = None
        first: av.VideoFrame | None = None
        damaged = Shot(None, "undecodable")

        def pick(until: int) -> None:
            """Take the last frame for the times before the next one."""
            while len(picks) < len(times) and self._playback.start + times[len(picks)] / self._stream.time_base < until:
                picks.append((last, _shown(last.frame, first, self._stream)) if last else (None, damaged))

        for played in self._playback:
            pick(played.time)
            last = played
            first = first or played.frame
            if len(picks) == len(times) and picks and all(frame.place < played.key for frame, _ in picks if frame):
                break  # whatever the picked frames depend on has been decoded
        if last is None:
            return [damaged] * len(times)
        pick(last.end)
        late = damaged if self._restarts else Shot(None, "past_end")
        found = [shot if frame and self._playback.is_whole(frame) else damaged for frame, shot in picks]
        return found + [late] * (len(times) - len(found))


class _Seeker:
    """Decodes single frames of one open file, each from a key frame on."""

    def __init__(self, path: Path, container: av.container.InputContainer, stream: av.VideoStream, index: Index):
        self._path, self._container, self._stream, self._index = path, container, stream, index
        self._first: av.VideoFrame | None = None
        self._find_start()

    def probe(self) -> float | None:
        """The duration, seconds; None if no frame can be decoded."""
        if self._shot(self._index.shown[0]).picture is None:
            playback = Playback(self._path, self._index.places)
            if not any(playback.is_whole(played) for played in playback):
                return None
        return float((self._index.end - self._index.start) * self._stream.time_base)

    def shots(self, times: Sequence[Fraction]) -> list[Shot]:
        """The pictures at ascending times, seconds."""
        index = self._index
        wanted = [index.start + time / self._stream.time_base for time in times]
        return [Shot(None, "past_end") if pts >= index.end else self._shot(index.at(pts)) for pts in wanted]

    def _find_start(self) -> None:
        """Begin with the first frame that a decoder shows, unless the first key frame is damaged.

        The first key frame may only begin a refresh: then its picture is whole some frames later. And frames that are
        shown before it may need nothing else.
        """
        index = self._index
        if index.first_key is None or (self._shows_first_key() and not index.early):
            return
        playback = Playback(self._path, index.places)
        first = next(iter(playback), None)
        self._first = first and first.frame
        if first is not None and not any(fault >= index.first_key for fault in playback.faults):
            index.begin(min(first.time, index.shown[-1].pts))

    def _shows_first_key(self) -> bool:
        """Whether the first key frame gives a picture at once."""
        first = self._index.pts[self._index.first_key]
        try:
            for packet in self._packets(first, first):
                frames = packet.decode() + self._stream.codec_context.decode(None)
                self._first = next(iter(frames), None)
                break
        except av.FFmpegError:  # damaged
            return False
        return self._first is not None

    def _shot(self, wanted: Packet) -> Shot:
        """The picture of a packet, if every packet that it may depend on was decoded without a fault."""
        if self._stream.codec_context.name in _SKIPPING and (frame := self._decode_references(wanted)) is not None:
            return _shown(frame, self._first, self._stream)
        first = min(self._index.pts[wanted.key], wanted.pts)
        needed = {pts for pts in self._index.pts[wanted.key : wanted.place + 1] if pts >= first}
        frame, missing, faults = self._decode(wanted, needed, from_start=False)
        if missing and not faults:
            # Wrong key frame marks, or packets that are never shown: decode from the start.
            frame, missing, faults = self._decode(wanted, needed, from_start=True)
        return Shot(None, "undecodable") if frame is None or faults else _shown(frame, self._first, self._stream)

    def _decode_references(self, wanted: Packet) -> av.VideoFrame | None:
        """The wanted frame, decoded from its key frame without the pictures on which no other depends.

        Equal, bit for bit, to decoding everything; takes three quarters of the time if two pictures in three are
        skipped.

        Returns:
            None if anything was irregular: then everything must be decoded to judge.
        """
        context = self._stream.codec_context
        first, found, whole = self._index.pts[wanted.key], None, False
        try:
            context.skip_frame = "NONREF"
            # Some containers seek by decoding time, some by presentation time, which is later and suits both.
            for packet in self._packets(first, first):
                if packet.pts is None:  # the end
                    return None
                last = packet.pts == wanted.pts
                if last:
                    context.skip_frame = "DEFAULT"
                frames = packet.decode()
                if last:
                    frames += context.decode(None)  # frames that are still in the decoder
                for frame in frames:
                    if frame.pts is None or (frame.pts >= min(first, wanted.pts) and frame.is_corrupt):
                        return None
                    whole |= frame.pts == first
                    found = frame if frame.pts == wanted.pts else found
                if last:
                    return found if whole else None
        except av.FFmpegError:
            return None
        finally:
            context.skip_frame = "DEFAULT"
        return None

    def _decode(
        self, wanted: Packet, needed: set[int], from_start: bool
    ) -> tuple[av.VideoFrame | None, set[int], bool]:
        """Decode until every needed frame has come or has been passed.

        Returns:
            the last frame at or before the wanted one, the needed times that are missing, whether any fault occurred.
        """
        start = self._index.shown[0].key_dts if from_start else wanted.key_dts
        best, missing, faults = None, set(needed), False
        for dts, frame in self._frames(start, None if from_start else self._index.pts[wanted.key]):
            if frame is None:  # faults before the wanted key frame don't matter
                faults |= dts is None or dts >= wanted.key_dts
                continue
            pts = frame.pts
            if pts is None:
                continue
            if pts in needed:
                missing.discard(pts)
                faults |= frame.is_corrupt
            if pts <= wanted.pts and (best is None or pts >= best[0]):
                best = (pts, frame)
            if not missing or pts > max(needed):
                break
        return best and best[1], missing, faults

    def _frames(self, start_dts: int, first: int | None) -> Iterator[tuple[int | None, av.VideoFrame | None]]:
        """Every frame to the end, or None for a decoding error, each with the decoding time of its packet.

        Arguments as for `_packets`.
        """
        dts = None
        try:
            for packet in self._packets(start_dts, first):
                dts = packet.pts if packet.dts is None else packet.dts
                try:
                    for frame in packet.decode():
                        yield dts, frame
                except av.FFmpegError:
                    yield dts, None
        except av.FFmpegError:
            yield dts, None

    def _packets(self, start: int, first: int | None) -> Iterator[av.Packet]:
        """Packets from a key frame on, for a decoder that was reset.

        Args:
            start: seek to the key frame at or before this time.
            first: skip the packets before the one shown at this time: a seek may end a whole group too early.
        """
        begun = first is None
        self._stream.codec_context.flush_buffers()
        self._container.seek(start, stream=self._stream, backward=True, any_frame=False)
        for packet in self._container.demux(self._stream):
            begun = begun or first == packet.pts
            if begun:
                yield packet


def _shown(frame: av.VideoFrame, first: av.VideoFrame | None, stream: av.VideoStream) -> Shot:
    """A decoded frame as a player shows it: square pixels, upright. `first` is the first frame of the file."""
    picture = frame.to_image()
    aspect = stream.sample_aspect_ratio
    if aspect and aspect != 1:
        size = (max(1, round(picture.width * aspect)), picture.height)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return Shot(upright(picture, frame, first), hdr=frame.color_trc in _HDR)
