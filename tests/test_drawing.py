import numpy as np

from resvision.batch import IGNORE_INDEX
from resvision.drawing import class_colours, colour_mask, displayable, draw_boxes, overlay, panel


def test_class_colours__differ_for_every_class() -> None:
    colours = class_colours(40)
    assert len({tuple(colour) for colour in colours[:40]}) == 40
    assert not colours[40:].any()


def test_class_colours__of_any_number_differ_and_begin_alike() -> None:
    colours = class_colours(1203)
    assert len(np.unique(colours, axis=0)) == len(colours) == 1203
    assert colours.max(axis=1).min() >= 64
    assert colours[[0, 1, 19]].tolist() == [[31, 119, 180], [255, 187, 60], [184, 98, 150]]
    for count in (0, 1, 20, 24, 150, 255):
        some = class_colours(count)
        assert some.shape == (256, 3)
        assert (some[:count] == colours[:count]).all()
        assert not some[count:].any()


def test_draw_boxes__and_panel_know_hundreds_of_classes() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    drawn = draw_boxes(image, np.array([[4.0, 6.0, 20.0, 30.0]]), np.array([364]), 365)
    assert (drawn[6, 4] == class_colours(365)[364]).all()
    names = [str(number) for number in range(365)]
    assert (np.asarray(panel([("one", drawn)], names)) == class_colours(365)[364]).all(axis=2).any()


def test_overlay__mixes_halves_and_leaves_ignored_pixels() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    image[...] = (200, 100, 0)
    grey = 0.299 * 200 + 0.587 * 100
    mask = np.array([[0, 1], [IGNORE_INDEX, 1]], np.uint8)
    mixed = overlay(image, mask, 2)
    colours = class_colours(2).astype(int)
    assert np.abs(mixed[0, 0] - (grey + colours[0]) / 2).max() <= 0.5
    assert np.abs(mixed[1, 1] - (grey + colours[1]) / 2).max() <= 0.5
    assert (mixed[1, 0] == image[1, 0]).all()


def test_colour_mask__paints_each_class_and_leaves_ignored_black() -> None:
    painted = colour_mask(np.array([[1, IGNORE_INDEX]], np.uint8), 2)
    assert (painted[0, 0] == class_colours(2)[1]).all()
    assert not painted[0, 1].any()


def test_displayable__stretches_16_bit_repeats_grey_and_drops_what_is_past_rgb() -> None:
    deep = np.array([[[1000], [3000]]], np.uint16)
    assert (displayable(deep) == [[[0] * 3, [255] * 3]]).all()
    assert (displayable(np.array([[[0.0], [0.5]]], np.float32))[0, 1] == 127).all()
    assert displayable(np.zeros((2, 2, 5), np.uint8)).shape == (2, 2, 3)


def test_panel__holds_every_picture_and_a_legend() -> None:
    red = np.zeros((10, 12, 3), np.uint8)
    red[..., 0] = 255
    names = [f"class {number}" for number in range(30)]
    canvas = np.asarray(panel([("one", red), ("two", red)], names, height=40))
    assert (canvas == [255, 0, 0]).all(axis=2).sum() == 2 * 40 * 48
    for colour in class_colours(30)[:30]:
        assert (canvas == colour).all(axis=2).any()


def test_draw_boxes__outlines_each_in_the_colour_of_its_class() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    boxes = np.array([[4.0, 6.0, 20.0, 30.0], [30.0, 10.0, 60.0, 40.0]])
    drawn = draw_boxes(image, boxes, np.array([1, 0]), 2)
    colours = class_colours(2)
    for box, colour in zip(boxes.astype(int), colours[[1, 0]], strict=True):
        left, top, right, bottom = box
        for y, x in ((top, left), (top, right - 1), (bottom - 1, left), (bottom - 1, right - 1)):
            assert (drawn[y, x] == colour).all()
    assert not drawn[10:26, 8:16].any()
    assert not image.any()


def test_draw_boxes__enlarges_and_writes_above() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    plain = draw_boxes(image, np.array([[10.0, 20.0, 50.0, 35.0]]), np.array([0]), 1, height=160)
    assert plain.shape == (160, 240, 3)
    assert (plain[80, 40] == class_colours(1)[0]).all()
    assert not plain[:80].any()
    named = draw_boxes(image, np.array([[10.0, 20.0, 50.0, 35.0]]), np.array([0]), 1, ["cat 0.90"], height=160)
    assert named[66:80, 40:90].any()


def test_draw_boxes__of_nothing_and_beyond_the_picture() -> None:
    image = np.full((20, 20, 1), 7, np.uint8)
    none = draw_boxes(image, np.zeros((0, 4)), np.zeros(0, np.int64), 3, [])
    assert (none == 7).all()
    outside = draw_boxes(
        image, np.array([[-5.0, -5.0, 30.0, 30.0], [9.0, 9.0, 9.0, 9.0]]), np.array([0, 1]), 3, ["a", "b"]
    )
    assert outside.shape == (20, 20, 3)
