import struct
import zlib

from project.atlas.dots import BLUE, LONGER_SIDE, draw_dots


def read_png(image):
    """Return width, height and rows of pixels of a PNG as it is drawn here."""
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, rest = {}, image[8:]
    while rest:
        length, kind = struct.unpack(">I4s", rest[:8])
        data, (checksum,) = (
            rest[8 : 8 + length],
            struct.unpack(">I", rest[8 + length : 12 + length]),
        )
        assert checksum == zlib.crc32(kind + data)
        chunks[kind], rest = data, rest[12 + length :]
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    pixels = zlib.decompress(chunks[b"IDAT"])
    step = 1 + 3 * width
    assert len(pixels) == step * height
    rows = [pixels[at : at + step] for at in range(0, len(pixels), step)]
    assert all(row[0] == 0 for row in rows)
    return width, height, [row[1:] for row in rows]


def dots(rows):
    """Return the places of all blue pixels, by column and row."""
    return {
        (at // 3, y)
        for y, row in enumerate(rows)
        for at in range(0, len(row), 3)
        if row[at : at + 3] == BLUE
    }


def test_dot_is_three_pixels_wide_and_high():
    *_, rows = read_png(draw_dots([(38.7, -9.1)]))

    assert len(dots(rows)) == 9


def test_north_is_at_the_top_and_west_on_the_left():
    # Porto and Madrid.
    width, height, rows = read_png(draw_dots([(41.1, -8.6), (40.4, -3.7)]))
    places = sorted(dots(rows))

    assert width == LONGER_SIDE > height
    assert places[0][1] < places[-1][1]


def test_kilometre_is_as_long_in_both_directions():
    # A degree of longitude is half as long at 60 degrees.
    width, height, _ = read_png(draw_dots([(59, 10), (61, 14)]))

    assert width == height == LONGER_SIDE


def test_country_on_the_date_line_is_not_as_wide_as_the_world():
    # Suva and a village on Taveuni, 3 degrees of longitude from each other.
    width, height, rows = read_png(draw_dots([(-18.1, 178.4), (-16.8, -178.6)]))

    assert max(width, height) <= LONGER_SIDE
    # The one that is east of the line is on the right.
    assert min(dots(rows))[1] > max(dots(rows))[1]
    assert height > LONGER_SIDE / 3
