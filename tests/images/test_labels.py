"""From a classifier's output to labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgenet.errors import InputError
from edgenet.images import imagenet_labels, probabilities, top


def test_imagenet_labels():
    labels = imagenet_labels()
    assert len(labels) == 1000
    assert all(label and label == label.strip() for label in labels)
    known = {0: "tench", 281: "tabby", 285: "Egyptian cat", 504: "coffee mug", 967: "espresso", 999: "toilet tissue"}
    for index, name in known.items():
        assert labels[index].startswith(name)


def test_logits_go_through_softmax():
    logits = np.asarray([1.0, 3.0, -2.0, 3.5], np.float32)
    expected = torch.softmax(torch.from_numpy(logits).double(), 0).numpy()
    found = top(logits, ["a", "b", "c", "d"], 2)
    assert [name for name, _ in found] == ["d", "b"]
    np.testing.assert_allclose([p for _, p in found], [expected[3], expected[1]], rtol=1e-12)


def test_large_logits_do_not_overflow():
    assert top(np.asarray([1e4, -1e4], np.float32), None, 1) == [("0", 1.0)]


def test_probabilities_stay_as_they_are():
    values = np.asarray([[0.2, 0.7, 0.1]], np.float32)
    np.testing.assert_array_equal(probabilities(values), values[0].astype(np.float64))


def test_log_probabilities_become_probabilities():
    np.testing.assert_allclose(probabilities(np.log([0.2, 0.7, 0.1])), [0.2, 0.7, 0.1], rtol=1e-12)


def test_values_in_the_unit_interval_that_do_not_sum_to_one_are_logits():
    np.testing.assert_allclose(probabilities(np.asarray([0.5, 0.5, 0.5])), [1 / 3] * 3)


def test_ties_and_counts():
    equal = np.zeros(4)
    assert [name for name, _ in top(equal, None, 3)] == ["0", "1", "2"]
    assert len(top(equal, None, 10)) == 4


def test_errors():
    with pytest.raises(InputError, match="4 values for one sample, but there are 2 labels"):
        top(np.zeros(4), ["a", "b"], 1)
    for count in (0, 1.5, "3", None):
        with pytest.raises(InputError, match="at least 1"):
            top(np.zeros(4), None, count)  # type: ignore[arg-type]  # what users pass by mistake
    for bad in (np.asarray([0.0, np.nan]), np.asarray([np.inf, 0.0]), np.zeros(0)):
        with pytest.raises(InputError, match="empty, NaN or infinite"):
            top(bad, None, 1)


def test_what_is_not_a_value_for_each_label_is_refused():
    with pytest.raises(InputError, match="84x2100 values for a picture"):
        probabilities(np.zeros((84, 2100)))
    assert probabilities(np.zeros((1, 4, 1))).shape == (4,)
