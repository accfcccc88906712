"""The data set on disk: a CSV file of named features with the diagnosis in the last column."""
import csv
from pathlib import Path

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parent.parent
RAW = ROOT / "data" / "raw" / "breast_cancer.csv"
TRAIN = ROOT / "data" / "prepared" / "train.csv"
TEST = ROOT / "data" / "prepared" / "test.csv"
MODEL = ROOT / "models" / "model.joblib"
METRICS = ROOT / "metrics.json"
LABEL = "diagnosis"
CLASSES = ("benign", "malignant")


def load_params(section, path=ROOT / "params.yaml"):
    """One section of params.yaml, as a dictionary."""
    with open(path, encoding="utf-8") as file:
        return yaml.safe_load(file)[section]


def read_rows(path):
    """The header and the rows of a CSV file, as text."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return rows[0], rows[1:]


def write_rows(path, header, rows):
    """Writes a CSV file, and the directory that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def load(path):
    """(names of the features, matrix of the features, vector of 0 benign and 1 malignant)."""
    header, rows = read_rows(path)
    if header[-1] != LABEL:
        raise ValueError(f"{path}: the last column must be '{LABEL}', not '{header[-1]}'")
    features = np.array([[float(value) for value in row[:-1]] for row in rows])
    labels = np.array([CLASSES.index(row[-1]) for row in rows])
    return header[:-1], features, labels
