"""The service answers over HTTP, with a model trained on a sample in place of the real one."""
import pytest
from fastapi.testclient import TestClient

from src import dataset, service
from src.train import fit


@pytest.fixture(name="client")
def fixture_client(monkeypatch):
    names, features, labels = dataset.load(dataset.RAW)
    saved = {"names": names, "model": fit(features[:200], labels[:200], {"C": 1.0, "max_iter": 1000})}
    monkeypatch.setattr(service, "saved_model", lambda: saved)
    return TestClient(service.app)


def case(row):
    names, features, _ = dataset.load(dataset.RAW)
    return {"features": dict(zip(names, features[row]))}


def test_health(client):
    assert client.get("/health").json() == {"status": "ok"}


@pytest.mark.parametrize("row, diagnosis", [(0, "malignant"), (568, "benign")])
def test_predict(client, row, diagnosis):
    answer = client.post("/predict", json=case(row))
    assert answer.status_code == 200
    assert answer.json()["diagnosis"] == diagnosis
    assert 0.5 <= answer.json()["probability"] <= 1


def test_missing_feature_is_named(client):
    body = case(0)
    del body["features"]["mean_radius"]
    answer = client.post("/predict", json=body)
    assert answer.status_code == 422
    assert answer.json()["detail"]["missing"] == ["mean_radius"]
