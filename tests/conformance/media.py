"""The smallest files that are what they claim to be."""

import struct
import zlib
from typing import Final

__all__ = ["PIXEL_PNG", "SILENCE_WAV"]


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def _make_png() -> bytes:
    """Make one red pixel."""
    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0\xff\0\0")
    chunks = [_chunk(b"IHDR", header), _chunk(b"IDAT", pixel), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _make_wav() -> bytes:
    """Make a hundredth of a second of silence: mono, 8 bits, 8 kHz."""
    samples = b"\x80" * 80
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    body = b"WAVE" + form + struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI", b"RIFF", len(body)) + body


PIXEL_PNG: Final = _make_png()
SILENCE_WAV: Final = _make_wav()
