"""Pictures of every kind become upright RGB, or one sentence says why not."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from edgenet.errors import InputError
from edgenet.images import load_image, preprocess
from tests.images.pictures import IMAGENET, gradient


def test_formats(tmp_path):
    image = gradient(31, 20)
    for name in ("a.png", "a.bmp", "a.tiff", "a.ppm"):
        image.save(tmp_path / name)
        np.testing.assert_array_equal(load_image(tmp_path / name), image)
        np.testing.assert_array_equal(load_image(str(tmp_path / name)), image)


def test_arrays():
    pixels = np.asarray(gradient(7, 5))
    assert load_image(pixels).mode == "RGB"
    np.testing.assert_array_equal(load_image(pixels), pixels)
    np.testing.assert_array_equal(load_image(pixels[::-1, ::2]), pixels[::-1, ::2])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_arrays_of_another_kind(array):
    with pytest.raises(InputError, match=r"uint8 \[H, W, 3\]"):
        load_image(array)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, tmp_path):
    upright = gradient(24, 16)
    turn = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / "a.png"), upright)
    np.testing.assert_array_equal(load_image(Image.open(tmp_path / "a.png")), upright)


def test_alpha_shows_white(tmp_path):
    rgba = np.zeros((2, 2, 4), np.uint8)
    rgba[0] = (200, 100, 50, 255)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    pixels = np.asarray(load_image(tmp_path / "a.png"))
    assert (pixels[0] == (200, 100, 50)).all()
    assert (pixels[1] == 255).all()
    Image.fromarray(np.asarray([[[60, 255], [60, 0]]], np.uint8), "LA").save(tmp_path / "grey.png")
    assert np.asarray(load_image(tmp_path / "grey.png"))[0, :, 0].tolist() == [60, 255]


def test_palette(tmp_path):
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 150, 100])
    palette.putdata([1, 0])
    palette.save(tmp_path / "a.png")
    assert np.asarray(load_image(tmp_path / "a.png")).tolist() == [[[200, 150, 100], [10, 20, 30]]]
    palette.save(tmp_path / "b.gif", transparency=1)
    assert np.asarray(load_image(tmp_path / "b.gif")).tolist() == [[[255, 255, 255], [10, 20, 30]]]


def test_grey_and_one_bit(tmp_path):
    Image.fromarray(np.asarray([[0, 77, 255]], np.uint8)).save(tmp_path / "a.png")
    assert np.asarray(load_image(tmp_path / "a.png"))[0].tolist() == [[0] * 3, [77] * 3, [255] * 3]
    Image.fromarray(np.asarray([[True, False]])).save(tmp_path / "b.png")
    assert np.asarray(load_image(tmp_path / "b.png"))[0, :, 1].tolist() == [255, 0]


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bit_grey_keeps_the_upper_byte(suffix, tmp_path):
    wide = np.asarray([[0, 255, 256, 0x7FFF, 0xFFFF]], np.uint16)
    Image.fromarray(wide).save(tmp_path / f"a.{suffix}")
    assert np.asarray(load_image(tmp_path / f"a.{suffix}"))[0, :, 2].tolist() == [0, 0, 1, 127, 255]
    as_int = Image.fromarray(wide.astype(np.int32))
    assert as_int.mode == "I"
    assert np.asarray(load_image(as_int))[0, :, 2].tolist() == [0, 0, 1, 127, 255]


def test_cmyk(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    red = np.asarray(load_image(tmp_path / "a.jpg")).astype(int)
    assert (abs(red - (255, 0, 0)) < 12).all()


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_every_mode_of_pillow(mode):
    rgb = load_image(Image.new(mode, (3, 2)))
    assert (rgb.mode, rgb.size) == ("RGB", (3, 2))


def test_floating_point_pixels_are_refused():
    with pytest.raises(InputError, match="floating-point"):
        load_image(Image.fromarray(np.zeros((2, 2), np.float32)))


def test_bad_paths(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_image(tmp_path / "missing.jpg")
    with pytest.raises(InputError, match="is not a file"):
        load_image(tmp_path)
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(InputError, match="not a picture"):
        load_image(tmp_path / "text.jpg")
    with pytest.raises(InputError, match="not int"):
        load_image(3)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "bmp", "tiff"])
def test_truncated_and_damaged_files_give_one_sentence(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError) as error:
        load_image(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    rng = np.random.default_rng(1)
    for _ in range(60):
        damaged = bytearray(content)
        for place in rng.integers(0, len(content), 5):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        assert "\n" not in outcome(path)


def outcome(path) -> str:
    """ "RGB" where the picture can be read, else the error's message."""
    try:
        return load_image(path).mode
    except InputError as error:
        return str(error)


def png(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(10_000, 9_000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)])
def test_decompression_bombs(size, tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(*size))
    with pytest.raises(InputError, match=r"pixels|cannot be read"):
        load_image(tmp_path / "bomb.png")


def test_elongated_pictures_are_not_blown_up():
    with pytest.raises(InputError, match="too elongated"):
        preprocess(np.zeros((1, 20_000, 3), np.uint8), IMAGENET)
