"""The raw data is what the code takes it for."""
import numpy as np

from src import dataset
from src.prepare import split


def test_shape_and_classes():
    names, features, labels = dataset.load(dataset.RAW)
    assert features.shape == (569, 30)
    assert len(set(names)) == 30
    assert (labels == 1).sum() == 212


def test_values_are_measurements():
    _, features, _ = dataset.load(dataset.RAW)
    assert np.isfinite(features).all()
    assert (features >= 0).all()


def test_split_is_stratified_and_repeatable():
    _, rows = dataset.read_rows(dataset.RAW)
    train, test = split(rows, 0.2, seed=7)
    assert (train, test) == tuple(split(rows, 0.2, seed=7))
    assert len(train) + len(test) == len(rows)
    shares = [sum(row[-1] == "malignant" for row in part) / len(part) for part in (train, test)]
    assert abs(shares[0] - shares[1]) < 0.02
