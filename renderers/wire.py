"""Messages between a program and its Blender process: a JSON header and numpy arrays, length-prefixed.

A frame is 8 bytes (big-endian length of the header), 8 bytes (length of the arrays), then the header as UTF-8
JSON and the arrays as an uncompressed npz archive. Nothing is pickled in either direction.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Header = dict[str, Any]
Arrays = dict[str, NDArray[Any]]

_LENGTHS = struct.Struct(">QQ")
_LIMIT = 2**31  # bytes; more than any scene: a larger length means that something else wrote into the pipe


class WireError(RuntimeError):
    """The stream ended inside a frame, or what came is not a frame."""


def write(stream: BinaryIO, header: Header, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Send one frame and flush. Raises BrokenPipeError when nobody reads any more."""
    text = json.dumps(header).encode()
    packed = io.BytesIO()
    if arrays:
        np.savez(packed, allow_pickle=False, **dict(arrays))
    stream.write(_LENGTHS.pack(len(text), packed.tell()))
    stream.write(text)
    stream.write(packed.getbuffer())
    stream.flush()


def read(receive: Callable[[int], bytes]) -> tuple[Header, Arrays] | None:
    """One frame, or None where the stream ended cleanly between two frames.

    receive: like `read` of a buffered stream, returns exactly the bytes asked for, fewer only at the end.
    """
    prefix = receive(_LENGTHS.size)
    if not prefix:
        return None
    if len(prefix) < _LENGTHS.size:
        raise WireError("the stream ended inside a frame")
    header_length, arrays_length = _LENGTHS.unpack(prefix)
    if header_length + arrays_length > _LIMIT:
        raise WireError("not a frame: something else was written into the pipe")
    text, packed = receive(header_length), receive(arrays_length)
    if len(text) < header_length or len(packed) < arrays_length:
        raise WireError("the stream ended inside a frame")
    arrays: Arrays = {}
    if packed:
        with np.load(io.BytesIO(packed), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    return json.loads(text), arrays
