"""Metrics of classifications, against arithmetic by hand; scikit-learn does not know of classes that never occur."""

import numpy as np
import pytest

from representation.metrics import class_f1, confusion, macro_f1

LABELS = np.array([0, 0, 0, 1, 1, 2])
NAMED = np.array([0, 1, 1, 1, 1, 2])


def test_confusion_has_a_line_for_each_true_class() -> None:
    assert confusion(NAMED, LABELS, 4).tolist() == [[1, 2, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    # class 0: precision 1, recall 1/3; class 1: 1/2 and 1; class 2: 1 and 1; class 3 never occurs
    assert class_f1(NAMED, LABELS, 4) == pytest.approx([1 / 2, 2 / 3, 1.0, 0.0])
    assert macro_f1(NAMED, LABELS, 4) == pytest.approx((1 / 2 + 2 / 3 + 1.0) / 4)
