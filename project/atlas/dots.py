"""Draw points of the earth as dots in a PNG, with nothing but the standard library."""

import math
import struct
import zlib
from collections.abc import Sequence

__all__ = ["draw_dots"]

LONGER_SIDE = 240  # pixels
MARGIN = 8  # pixels around the outermost dots
WHITE, BLUE = b"\xff\xff\xff", b"\x20\x60\xa0"


def draw_dots(points: Sequence[tuple[float, float]]) -> bytes:
    """
    Draw at least one point, each a latitude and a longitude in degrees.

    Return a PNG, north at the top, in which a kilometre is about as long in both
    directions.
    """
    latitudes = [latitude for latitude, _ in points]
    longitudes = [longitude for _, longitude in points]
    if max(longitudes) - min(longitudes) > 180:
        # Fiji lies on both sides of the date line, not all around the world.
        longitudes = [longitude % 360 for longitude in longitudes]
    north, west = max(latitudes), min(longitudes)
    squeeze = math.cos(math.radians((north + min(latitudes)) / 2))
    tall, wide = north - min(latitudes), (max(longitudes) - west) * squeeze
    # Cities of a degree and less would fill the picture with nothing between them.
    scale = (LONGER_SIDE - 2 * MARGIN) / max(tall, wide, 1)
    height, width = (round(side * scale) + 2 * MARGIN for side in (tall, wide))
    rows = [bytearray(WHITE * width) for _ in range(height)]
    for latitude, longitude in zip(latitudes, longitudes, strict=True):
        y = MARGIN + round((north - latitude) * scale)
        x = MARGIN + round((longitude - west) * squeeze * scale)
        for row in rows[y - 1 : y + 2]:
            row[3 * (x - 1) : 3 * (x + 2)] = BLUE * 3
    # Each row begins with the number of its filter, 0 for none.
    pixels = b"".join(b"\0" + row for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(pixels))
        + chunk(b"IEND", b"")
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
