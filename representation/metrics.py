"""Metrics of classifications, by scikit-learn, for a known number of classes, of which some may be missing.

Source: van Rijsbergen 1979, "Information Retrieval", chapter 7, for F1 = 2 P R / (P + R), the harmonic mean of
precision P (fraction of predicted labels that are true) and recall R (fraction of true labels that are predicted).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from representation.experiment import Metric

Labels = NDArray[np.integer[Any]]


def confusion(predicted: Labels, labels: Labels, classes: int) -> NDArray[np.int64]:
    """Return the confusion matrix (K true classes, K predicted classes)."""
    return confusion_matrix(np.ravel(labels), np.ravel(predicted), labels=range(classes))


def class_f1(predicted: Labels, labels: Labels, classes: int) -> NDArray[np.float64]:
    """Return the F1 of each class (K,); 0 for a class that never occurs."""
    return f1_score(np.ravel(labels), np.ravel(predicted), labels=range(classes), average=None, zero_division=0.0)


def macro_f1(predicted: Labels, labels: Labels, classes: int) -> float:
    """Return the mean F1 of the classes, all weighted equally."""
    return float(class_f1(predicted, labels, classes).mean())


def class_metrics(named: Mapping[str, Labels], labels: Labels, classes: Sequence[str], what: str) -> list[Metric]:
    """Return macro-F1 and accuracy of the labels that each method predicts; the first method is the one measured."""
    own = next(iter(named))
    f1 = {name: macro_f1(guess, labels, len(classes)) for name, guess in named.items()}
    right = {name: float(accuracy_score(labels, guess)) for name, guess in named.items()}
    by_class = zip(classes, class_f1(named[own], labels, len(classes)), strict=True)
    note = f"{labels.size:,} of held-out runs; F1: " + ", ".join(f"{name} {value:.3f}" for name, value in by_class)
    return [
        Metric(f"macro-F1 of the {what}", f1.pop(own), f1, note=note),
        Metric(f"accuracy of the {what}", right.pop(own), right),
    ]
