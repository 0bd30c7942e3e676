"""Folders of pictures: what a decoder would show without a word is refused."""

import cv2
import numpy as np
import pytest

from hw_targets.finding import Finding, InputError
from neuroemo.datasets import image_frames
from neuroemo.datasets.image_frames import list_frames, raise_all, read_gray_image, stream_images

PICTURE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def encoded(suffix, picture=PICTURE, *options):
    return cv2.imencode(suffix, picture, list(options))[1].tobytes()


def refusal(path, data):
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_gray_image(path)
    assert caught.value.findings[0].code == "E792"
    assert caught.value.findings[0].node == str(path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_every_cut_is_refused(tmp_path, suffix):
    data = encoded(suffix)
    path = tmp_path / f"0{suffix}"
    path.write_bytes(data)
    assert read_gray_image(path).shape == (24, 40)
    for length in range(0, len(data), 37):
        refusal(path, data[:length])
    refusal(path, data[:-1])


def test_progressive_jpeg_is_read(tmp_path):
    path = tmp_path / "0.jpg"
    path.write_bytes(encoded(".jpg", PICTURE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    assert read_gray_image(path).shape == (24, 40)


def test_sixteen_bits_and_alpha_are_read(tmp_path):
    path = tmp_path / "0.png"
    gray = PICTURE[..., 0]
    path.write_bytes(encoded(".png", gray.astype(np.uint16) * 256))
    assert (read_gray_image(path) == gray).all()
    path.write_bytes(encoded(".png", np.dstack([gray, gray, gray, np.zeros_like(gray)])))
    assert (read_gray_image(path) == gray).all()


def test_every_flipped_byte_of_a_png_is_refused(tmp_path):
    data = encoded(".png", PICTURE[:16, :16])
    path = tmp_path / "0.png"
    for place in range(0, len(data), 11):
        refusal(path, data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])


def test_limits_of_a_picture(tmp_path, monkeypatch):
    path = tmp_path / "0.png"
    path.write_bytes(encoded(".png", PICTURE[:16, :16]))
    assert read_gray_image(path).shape == (16, 16)
    assert "16x15 pixels; limit 16..16384 per side" in refusal(path, encoded(".png", PICTURE[:15, :16]))
    # The header alone would ask for 4 GB; its checksum is right.
    header = b"IHDR" + (60000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    bomb = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\x0d" + header + image_frames.zlib.crc32(header).to_bytes(4, "big")
    bomb += b"\x00\x00\x00\x00IEND\xae\x42\x60\x82"
    assert "60000x60000 pixels" in refusal(path, bomb)
    monkeypatch.setattr(image_frames, "MAX_IMAGE_BYTES", 100)
    assert "picture too large" in refusal(path, encoded(".png"))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "0.png"
    assert "neither PNG nor JPEG" in refusal(path, b"GIF89a" + bytes(100))
    assert "neither PNG nor JPEG" in refusal(path, encoded(".bmp"))
    path.unlink()
    with pytest.raises(InputError, match=r"E792 .*0\.png: cannot be read: No such file"):
        read_gray_image(path)


def test_another_size_is_refused(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(encoded(".png", PICTURE if number < 2 else PICTURE[:20]))
    frames, findings = list_frames(tmp_path)
    assert findings == []
    assert len(list(stream_images(frames, fps=25, chunk=1, max_frames=2))) == 2
    with pytest.raises(InputError, match=r"E792 .*2\.png: 40x20 pixels; limit 40x24, as the first"):
        list(stream_images(frames, fps=25, size=8))
    with pytest.raises(InputError, match="E792 frames: no pictures; limit at least 1"):
        stream_images({}, fps=25)


def test_a_piece_is_bounded(tmp_path, monkeypatch):
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(encoded(".png"))
    frames, _ = list_frames(tmp_path)
    monkeypatch.setattr(image_frames, "CHUNK_BYTES", 2 * 24 * 40)
    assert [len(piece.frames) for piece in stream_images(frames, fps=25)] == [2, 2, 1]


def test_folder_that_is_not_there():
    frames, findings = list_frames(image_frames.Path("/nowhere/at/all"))
    assert frames == {}
    assert str(findings[0]).startswith("E792 /nowhere/at/all: cannot be read: No such file")


def test_findings_are_counted_beyond_the_limit(tmp_path):
    finding = Finding("E792", "error", "a", "b")
    raise_all([], tmp_path)
    for count in (image_frames.MAX_FINDINGS, image_frames.MAX_FINDINGS + 7):
        with pytest.raises(InputError) as caught:
            raise_all([finding] * count, tmp_path)
        assert len(caught.value.findings) == min(count, image_frames.MAX_FINDINGS + 1)
    assert "7 more findings of this kind" in str(caught.value)
