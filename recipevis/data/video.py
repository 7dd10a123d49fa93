"""Video files through PyAV: can a file be decoded, how long is it, and which picture does it show at a time.

Time 0 is the first shown frame. The picture at a time is the last one shown at or before it, as a player shows it: the
file's rotation is applied and pixels are square.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import av
from av.video.reformatter import ColorTrc
from PIL import Image

# Decoders that can skip the pictures on which no other depends (NONREF), because each packet's header marks them. Those
# of VP9 and AV1 treat this option differently, so they and all others decode everything.
_SKIPPING = {"h264", "hevc", "mpeg2video", "mpeg4"}
# Transfer functions of high dynamic range: PQ and HLG (ITU-R BT.2100).
_HDR = {ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67}


class VideoError(Exception):
    """A file of no use. `reason` is a key of `tables.frames.ERRORS`; the message doesn't name the file."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Shot:
    """The picture at a time, PIL RGB at its own size, or None and the reason, a key of `tables.frames.ERRORS`.

    `hdr`: the video is of high dynamic range; the picture looks pale, because its tones are not mapped.
    """

    picture: Image.Image | None
    error: str = ""
    hdr: bool = False


class _Packet(NamedTuple):
    """A shown packet: its time in the stream's units, and where to start decoding for it."""

    pts: int
    place: int  # position in the file, which is the decoding order
    key: int  # place of the key frame where its decoding starts
    key_dts: int


class _Index:
    """Every packet of a file's video stream, read without decoding.

    The header's duration, frame rate and frame count may be wrong or missing, so they are not used.

    `restarts`: the timestamps start again in the middle of the file, as in two files joined into one. The second part
    is left out, because its times are unknown, and seeking is not safe, because it may end there.
    """

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream):
        self.pts: list[int] = []  # by place
        shown: list[_Packet] = []
        keys, first, durations, reached = [], None, {}, None
        # Without decoding times in the container, PyAV's guesses may step back a little within a group.
        slack = int(1 / stream.time_base)
        self.restarts = False
        for packet in container.demux(stream):
            dts, is_key = packet.dts, packet.is_keyframe
            pts = dts if packet.pts is None else packet.pts  # AVI has no other
            if pts is None:  # the end of the stream
                continue
            if dts is not None:
                if reached is not None and dts < reached - (0 if is_key else slack):
                    self.restarts = True
                    break
                reached = dts
            place = len(self.pts)
            self.pts.append(pts)
            if is_key:
                keys.append((place, pts if dts is None else dts, pts))
                first = pts if first is None else first
            # Packets before the first key frame can't be decoded; an edit list may hide packets.
            if first is None or pts < first or packet.is_discard:
                continue
            # A packet after a key frame that is shown before it may depend on the group before, too.
            leads = len(keys) > 1 and pts < keys[-1][2]
            shown.append(_Packet(pts, place, *keys[-2 if leads else -1][:2]))
            durations[pts] = packet.duration or 0
        if not shown:
            raise VideoError("no_video_stream", "its video stream has no frame")
        self.shown = sorted(shown)
        last = self.shown[-1].pts
        gap = last - self.shown[-2].pts if len(self.shown) > 1 else 1
        self.start, self.end = self.shown[0].pts, last + (durations[last] or gap)
        self._times = [packet.pts for packet in self.shown]

    def at(self, pts: Fraction) -> _Packet:
        """The last packet shown at or before a time."""
        return self.shown[bisect_right(self._times, pts) - 1]


def _open(path: Path) -> tuple[av.container.InputContainer, av.VideoStream]:
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError("unreadable", _reason(error)) from error
    if not container.streams.video:
        container.close()
        raise VideoError("no_video_stream", "it has no video stream")
    stream = container.streams.best("video")  # the first may be a cover image
    stream.codec_context.thread_count = 1  # videos, not frames, are decoded in parallel
    return container, stream


def _reason(error: Exception) -> str:
    """The error's message, without its number and path: the path is one within the store."""
    return f"it can't be read: {getattr(error, 'strerror', None) or error}"


def probe(path: Path) -> float:
    """Seconds from the first shown frame to the end of the last.

    Raises:
        VideoError: the file can't be opened, has no video stream, or its first frame can't be decoded.
    """
    container, stream = _open(path)
    with container:
        try:
            index = _Index(container, stream)
        except av.FFmpegError as error:
            raise VideoError("unreadable", _reason(error)) from error
        if _Decoder(path, container, stream, index).shot(index.shown[0]).picture is None:
            raise VideoError("undecodable", "its first frame can't be decoded")
        return float((index.end - index.start) * stream.time_base)


def shots(path: Path, times_s: Sequence[float]) -> list[Shot]:
    """The pictures at the given times, in the order given, the file opened once.

    Args:
        path: the file.
        times_s: seconds after the first shown frame, 0 or more.

    Returns:
        a picture or a reason for each time; if the file can't be used, each has the file's reason.
    """
    try:
        container, stream = _open(path)
    except VideoError as error:
        return [Shot(None, error.reason)] * len(times_s)
    with container:
        try:
            index = _Index(container, stream)
        except VideoError as error:
            return [Shot(None, error.reason)] * len(times_s)
        except av.FFmpegError:
            return [Shot(None, "unreadable")] * len(times_s)
        decoder = _Decoder(path, container, stream, index)
        late = Shot(None, "undecodable" if index.restarts else "past_end")
        found: dict[float, Shot] = {}
        for time in sorted(set(times_s)):
            # A float just below 3/10 must find the frame that starts at 3/10.
            pts = index.start + Fraction(time).limit_denominator(1_000_000) / stream.time_base
            found[time] = late if pts >= index.end else decoder.shot(index.at(pts))
        return [found[time] for time in times_s]


class _Decoder:
    """Decodes single frames of one open file."""

    def __init__(self, path: Path, container: av.container.InputContainer, stream: av.VideoStream, index: _Index):
        self._path, self._container, self._stream, self._index = path, container, stream, index

    def shot(self, wanted: _Packet) -> Shot:
        """The picture of a packet, if every packet that it may depend on was decoded without a fault."""
        if self._index.restarts:
            return self._shot_without_seeking(wanted)
        if self._stream.codec_context.name in _SKIPPING and (frame := self._decode_references(wanted)) is not None:
            return self._shown(frame)
        first = self._index.pts[wanted.key]
        needed = {pts for pts in self._index.pts[wanted.key : wanted.place + 1] if pts >= first}
        frame, missing, faults = self._decode(wanted, needed, from_start=False)
        if missing and not faults:
            # Wrong key frame marks, or packets that are never shown: decode from the start.
            frame, missing, faults = self._decode(wanted, needed, from_start=True)
        return Shot(None, "undecodable") if frame is None or faults else self._shown(frame)

    def _shot_without_seeking(self, wanted: _Packet) -> Shot:
        """`shot` where the timestamps restart: decodes from the start of the file to the restart."""

        def frames(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
            for packet in islice(container.demux(stream), len(self._index.pts)):
                yield from packet.decode()
            yield from stream.codec_context.decode(None)  # frames that are still in the decoder

        container, stream = _open(self._path)
        with container:
            try:
                found = next((frame for frame in frames(container, stream) if frame.pts == wanted.pts), None)
            except av.FFmpegError:
                found = None
            return Shot(None, "undecodable") if found is None or found.is_corrupt else self._shown(found)

    def _decode_references(self, wanted: _Packet) -> av.VideoFrame | None:
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
                if packet.pts is None:  # the end, or a container without presentation times
                    return None
                last = packet.pts == wanted.pts
                if last:
                    context.skip_frame = "DEFAULT"
                frames = packet.decode()
                if last:
                    frames += context.decode(None)  # frames that are still in the decoder
                for frame in frames:
                    if frame.pts is None or (frame.pts >= first and frame.is_corrupt):
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
        self, wanted: _Packet, needed: set[int], from_start: bool
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
            pts = frame.dts if frame.pts is None else frame.pts
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
            begun = begun or first == (packet.dts if packet.pts is None else packet.pts)
            if begun:
                yield packet

    def _shown(self, frame: av.VideoFrame) -> Shot:
        """A decoded frame as a player shows it: square pixels, rotated."""
        picture = frame.to_image()
        aspect = self._stream.sample_aspect_ratio
        if aspect and aspect != 1:
            size = (max(1, round(picture.width * aspect)), picture.height)
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        turned = {1: Image.Transpose.ROTATE_90, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_270}
        quarter = round(frame.rotation / 90) % 4
        return Shot(picture.transpose(turned[quarter]) if quarter else picture, hdr=frame.color_trc in _HDR)
