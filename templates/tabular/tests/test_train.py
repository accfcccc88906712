"""Training works on a sample, and the model is better than a guess."""
from src import dataset
from src.evaluate import measure
from src.train import fit


def test_model_learns_from_a_sample():
    _, features, labels = dataset.load(dataset.RAW)
    model = fit(features[:200], labels[:200], {"C": 1.0, "max_iter": 1000})
    metrics = measure(model, features[200:], labels[200:])
    assert metrics["accuracy"] > 0.9
    assert metrics["roc_auc"] > 0.95
