"""Splits the raw data into a training and a test set with the same share of each class."""
from sklearn.model_selection import train_test_split

from src import dataset


def split(rows, test_share, seed):
    """(training rows, test rows); the same seed gives the same split."""
    return train_test_split(rows, test_size=test_share, random_state=seed, stratify=[row[-1] for row in rows])


def main():
    params = dataset.load_params("prepare")
    header, rows = dataset.read_rows(dataset.RAW)
    train, test = split(rows, params["test_share"], params["seed"])
    dataset.write_rows(dataset.TRAIN, header, train)
    dataset.write_rows(dataset.TEST, header, test)
    print(f"{len(train)} rows to train on, {len(test)} to test with")


if __name__ == "__main__":
    main()
