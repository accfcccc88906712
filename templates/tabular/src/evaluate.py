"""Measures the model on the test set, writes metrics.json and fails when the model is not good enough."""
import json
import sys

import joblib
from sklearn.metrics import accuracy_score, precision_score, recall_score, roc_auc_score

from src import dataset


def measure(model, features, labels):
    """The metrics as a dictionary; malignant is the positive class."""
    predicted = model.predict(features)
    return {
        "accuracy": round(float(accuracy_score(labels, predicted)), 4),
        "precision": round(float(precision_score(labels, predicted)), 4),
        "recall": round(float(recall_score(labels, predicted)), 4),
        "roc_auc": round(float(roc_auc_score(labels, model.predict_proba(features)[:, 1])), 4),
    }


def main():
    saved = joblib.load(dataset.MODEL)
    _, features, labels = dataset.load(dataset.TEST)
    metrics = measure(saved["model"], features, labels)
    dataset.METRICS.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(", ".join(f"{name} {value}" for name, value in metrics.items()))
    needed = dataset.load_params("evaluate")["min_accuracy"]
    if metrics["accuracy"] < needed:
        sys.exit(f"accuracy {metrics['accuracy']} is below the {needed} of params.yaml")


if __name__ == "__main__":
    main()
