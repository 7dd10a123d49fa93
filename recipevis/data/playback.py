"""Decode a video file from its first packet on, in showing order: slow, and right where seeking isn't."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import av
from av.video.frame import PictureType

from recipevis.data.packets import open_video

_TRIED = 100  # frames after which a stream whose times go forward is taken to be in order


class Played(NamedTuple):
    """A decoded frame. Times are in the stream's units, places are positions of packets in the file."""

    time: int
    end: int
    place: int
    key: int  # place of the key frame where its decoding starts
    frame: av.VideoFrame


class Playback:
    """The frames that a player shows.

    A frame's time is its presentation time; if that is missing, the decoding time of the packet with which the decoder
    gave it; without either, frames follow one another at the stream's rate.

    Args:
        path: the file.
        places: decode so many packets.
        by_decoding: the presentation times are wrong.

    Attributes:
        faults: places of packets that could not be decoded without a fault, so far.
        start: time 0, known with the first frame. It is the first frame's time, or earlier if frames before it are
            damaged.
    """

    def __init__(self, path: Path, places: int, by_decoding: bool = False):
        self._path, self._places, self._by_decoding = path, places, by_decoding
        self.faults: set[int] = set()
        self.start: int | None = None

    def whole(self, played: Played) -> bool:
        """Whether nothing that a frame may depend on had a fault; sure once the next group has begun."""
        return not any(played.key <= fault <= played.place for fault in self.faults)

    def __iter__(self) -> Iterator[Played]:
        container, stream = open_video(self._path)
        with container:
            stream.codec_context.copy_opaque = True  # tells which packet a frame comes from
            keys, stamps, given = [], [], set()  # given: places of the shown frames
            last, lost = None, []
            for place, packet in enumerate(self._packets(container, stream)):
                if packet is not None:
                    packet.opaque = place
                    stamps.append(packet.dts)
                    if packet.is_keyframe:
                        keys.append(place)
                try:
                    frames = stream.codec_context.decode(packet)
                except av.FFmpegError:
                    self.faults.add(place)
                    lost.append(place)
                    continue
                for frame in frames:
                    source = place if frame.opaque is None else frame.opaque
                    if frame.is_corrupt:
                        self.faults.add(source)
                    at = bisect_right(keys, source)  # so many key frames are not after this one
                    # Some packets of key frames are not marked.
                    if (at == 0 or keys[at - 1] != source) and (
                        frame.key_frame or (at == 0 and frame.pict_type == PictureType.I)
                    ):
                        keys.insert(at, source)
                        at += 1
                    if at == 0:  # it depends on packets that are not in the file
                        continue
                    given.add(source)
                    # A frame that is shown before its key frame may depend on the group before, too.
                    key = keys[at - (2 if at > 1 and keys[at - 1] not in given else 1)]
                    skipped = [gone for gone in lost if gone < source]
                    lost = [gone for gone in lost if gone > source]
                    length = _length(frame, stream)
                    time = self._time(frame, last, len(skipped))
                    if self.start is None:
                        self.start = time - self._damaged(keys[0], source, stamps, length)
                    last = Played(time, time + length, source, key, frame)
                    yield last

    def _packets(self, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet | None]:
        """The packets, and None at last, which asks the decoder for the frames that it still has."""
        try:
            yield from islice(container.demux(stream), self._places)
        except av.FFmpegError:  # the rest can't be read
            pass
        yield None

    def _time(self, frame: av.VideoFrame, last: Played | None, lost: int) -> int:
        """When a frame is shown: its own time, if that goes forward.

        Args:
            frame: the frame.
            last: the one shown before.
            lost: the number of packets between them that gave no frame because of a fault.
        """
        for time in (frame.dts,) if self._by_decoding else (frame.pts, frame.dts):
            if time is not None and (last is None or time > last.time):
                return time
        return 0 if last is None else last.end + lost * (last.end - last.time)

    def _damaged(self, first: int, place: int, stamps: list[int | None], length: int) -> int:
        """How long the damaged frames before the first shown one last: 0 unless any is damaged."""
        if not any(first <= fault < place for fault in self.faults):
            return 0
        known = stamps[first] is not None and stamps[place] is not None
        return stamps[place] - stamps[first] if known else (place - first) * length


def goes_back(path: Path) -> bool:
    """Whether the presentation times go back in showing order, so that they must be decoding times."""
    container, stream = open_video(path)
    with container:
        try:
            times = [frame.pts for frame in islice(container.decode(stream), _TRIED) if frame.pts is not None]
        except av.FFmpegError:  # the packets' own times are as good as any
            return False
    return any(later <= earlier for earlier, later in zip(times, times[1:], strict=False))


def _length(frame: av.VideoFrame, stream: av.VideoStream) -> int:
    """How long a frame is shown, in the stream's units, as far as that is known before the next."""
    rate = stream.guessed_rate
    return frame.duration or (round(1 / (rate * stream.time_base)) if rate else 0) or 1
