"""Metrics of classifications, by scikit-learn, for a known number of classes, of which some may be missing.

Source: van Rijsbergen 1979, "Information Retrieval", chapter 7, for F1 = 2 P R / (P + R), the harmonic mean of
precision P (fraction of predicted labels that are true) and recall R (fraction of true labels that are predicted).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score

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
