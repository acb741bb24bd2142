"""Frames of any iterable, one after the other."""

import threading

import numpy as np
import pytest

import edgenet
from edgenet.errors import InputError
from tests.cli.conftest import classifier
from tests.engine.networks import separable


def frames(count):
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (20, 30, 3), np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def model():
    return edgenet.load(classifier(), 1)


def test_the_labels_of_each_frame_in_order(model):
    pictures = frames(5)
    found = list(model.stream(iter(pictures), top=2))
    assert all(frame is picture for (frame, _), picture in zip(found, pictures, strict=True))
    assert [labels for _, labels in found] == [model.predict(picture, top=2) for picture in pictures]


def test_frames_are_fetched_one_ahead(model):
    fetched, threads = [], set()

    def camera():
        for picture in frames(10):
            fetched.append(picture)
            threads.add(threading.current_thread().name)
            yield picture

    stream = model.stream(camera())
    next(stream)
    next(stream)
    stream.close()
    assert 2 <= len(fetched) <= 3
    assert threading.current_thread().name not in threads


@pytest.mark.parametrize("frames", [None, "cat.jpg", b"cat.jpg", 3])
def test_what_is_no_iterable_of_pictures(model, frames):
    with pytest.raises(InputError, match="iterable of pictures"):
        model.stream(frames)


def test_no_frames(model):
    assert list(model.stream([])) == []


def test_errors_of_camera_and_preprocessing_come_through(model):
    def broken():
        yield frames(1)[0]
        raise OSError("no camera")

    stream = model.stream(broken())
    next(stream)
    with pytest.raises(OSError, match="no camera"):
        next(stream)
    with pytest.raises(InputError, match="no preprocessing"):
        next(edgenet.load(separable(), 1).stream(frames(1)))
