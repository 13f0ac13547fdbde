"""Metrics of predictions: root mean squared error, accuracy, F1 and the confusion matrix.

Source: van Rijsbergen 1979, "Information Retrieval", chapter 7, for F1 = 2 P R / (P + R), the harmonic mean of
precision P (fraction of predicted labels that are true) and recall R (fraction of true labels that are predicted).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]
Labels = NDArray[np.integer[Any]]


def rmse(predicted: NDArray[np.floating], target: NDArray[np.floating]) -> float:
    """Return the root mean squared error of arrays of one shape, in their unit."""
    return float(np.sqrt(np.mean((np.asarray(predicted, np.float64) - target) ** 2)))


def accuracy(predicted: Labels, labels: Labels) -> float:
    """Return the fraction of correct predictions."""
    return float(np.mean(predicted == labels))


def confusion(predicted: Labels, labels: Labels, classes: int) -> NDArray[np.int64]:
    """Return the confusion matrix (K true classes, K predicted classes)."""
    counts = np.bincount(np.ravel(labels) * classes + np.ravel(predicted), minlength=classes * classes)
    return counts.reshape(classes, classes)


def class_f1(table: NDArray[np.int64]) -> F64:
    """Return the F1 of each class (K,) from a confusion matrix; 0 for a class that never occurs."""
    hits = np.diag(table).astype(np.float64)
    return 2.0 * hits / np.maximum(table.sum(0) + table.sum(1), 1)  # 2PR / (P + R) = 2 hits / (named + true)


def macro_f1(predicted: Labels, labels: Labels, classes: int) -> float:
    """Return the mean F1 of the classes, all weighted equally."""
    return float(class_f1(confusion(predicted, labels, classes)).mean())
