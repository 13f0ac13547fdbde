"""Measures, against arithmetic by hand."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from representation.metrics import accuracy, class_f1, confusion, macro_f1, rmse

LABELS = np.array([0, 0, 0, 1, 1, 2])
NAMED = np.array([0, 1, 1, 1, 1, 2])


def test_the_error_is_the_root_of_the_mean_square() -> None:
    assert rmse(np.array([1.0, 2.0]), np.array([4.0, 6.0])) == pytest.approx(np.sqrt((9 + 16) / 2))


def test_confusion_has_a_line_for_each_true_class() -> None:
    assert confusion(NAMED, LABELS, 4).tolist() == [[1, 2, 0, 0], [0, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert accuracy(NAMED, LABELS) == pytest.approx(4 / 6)


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    # class 0: precision 1, recall 1/3; class 1: 1/2 and 1; class 2: 1 and 1; class 3 never occurs
    assert class_f1(confusion(NAMED, LABELS, 4)) == pytest.approx([1 / 2, 2 / 3, 1.0, 0.0])
    assert macro_f1(NAMED, LABELS, 3) == pytest.approx((1 / 2 + 2 / 3 + 1.0) / 3)
    assert macro_f1(NAMED, LABELS, 3) == pytest.approx(f1_score(LABELS, NAMED, average="macro"))
