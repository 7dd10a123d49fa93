"""Turn a decoded picture as its file says: any display matrix, mirrored ones included.

The matrix comes from the container (MP4, MOV, MKV), the stream (H.264, HEVC) or the picture itself (EXIF).
"""

import struct
from math import atan2, degrees

import av
from av.sidedata.sidedata import Type
from PIL import Image

# By three questions: are the axes exchanged, is the new x axis reversed, the new y axis?
_TURNS = {
    (False, False, False): None,
    (False, True, False): Image.Transpose.FLIP_LEFT_RIGHT,
    (False, False, True): Image.Transpose.FLIP_TOP_BOTTOM,
    (False, True, True): Image.Transpose.ROTATE_180,
    (True, False, False): Image.Transpose.TRANSPOSE,
    (True, True, False): Image.Transpose.ROTATE_270,
    (True, False, True): Image.Transpose.ROTATE_90,
    (True, True, True): Image.Transpose.TRANSVERSE,
}
_KNOWN = {kind.value for kind in Type}
_NEWER = range(max(_KNOWN) + 1, max(_KNOWN) + 33)  # kinds of side data that PyAV can't name yet


def upright(picture: Image.Image, frame: av.VideoFrame, first: av.VideoFrame | None) -> Image.Image:
    """A frame's picture, turned and mirrored as its display matrix says.

    An angle that is no multiple of 90 degrees turns the picture within its own size, over black, as ffmpeg does.

    Args:
        picture: the picture of `frame`, not turned yet.
        frame: the decoded frame.
        first: the file's first frame; H.264 and HEVC may give the matrix there, for all frames that follow.
    """
    matrix = _matrix(frame) or (first and _matrix(first))
    if not matrix or not any(matrix[:5]):
        return picture
    # The point (x, y) is shown at (a x + c y, b x + d y); y points down.
    a, b, _, c, d = matrix[:5]
    angle = degrees(atan2(b, a))  # clockwise
    if abs(angle - 90 * round(angle / 90)) >= 1:
        return picture.rotate(-angle, Image.Resampling.BILINEAR)
    swap = abs(b) > abs(a)
    turn = _TURNS[(True, c < 0, b < 0) if swap else (False, a < 0, d < 0)]
    return picture if turn is None else picture.transpose(turn)


def _matrix(frame: av.VideoFrame) -> tuple[int, ...] | None:
    """The frame's display matrix, nine numbers by row; the container's, if the stream has another."""
    try:
        found = [bytes(data) for data in frame.side_data if data.type == Type.DISPLAYMATRIX]
    except ValueError:  # PyAV can't list side data if it doesn't know one of the kinds, EXIF for example
        return _matrix(_without_newer_side_data(frame))
    return struct.unpack("=9i", found[0]) if found else None


def _without_newer_side_data(frame: av.VideoFrame) -> av.VideoFrame:
    graph = av.filter.Graph()
    base = frame.time_base or 1
    nodes = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)]
    nodes += [graph.add("sidedata", f"mode=delete:type={kind}") for kind in _NEWER]
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull()
