"""Fits the classifier and writes it, with the names of its features, to models/model.joblib."""
import joblib
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from src import dataset


def fit(features, labels, params):
    """A fitted pipeline: scaling, then logistic regression."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=params["C"], max_iter=params["max_iter"]))
    return pipeline.fit(features, labels)


def main():
    names, features, labels = dataset.load(dataset.TRAIN)
    model = fit(features, labels, dataset.load_params("train"))
    dataset.MODEL.parent.mkdir(parents=True, exist_ok=True)
    joblib.dump({"names": names, "model": model}, dataset.MODEL)
    print(f"trained on {len(labels)} rows: {model.score(features, labels):.1%} of them right")


if __name__ == "__main__":
    main()
