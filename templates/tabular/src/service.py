"""The model behind HTTP:  python -m uvicorn src.service:app"""
from functools import lru_cache

import joblib
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from src import dataset

app = FastAPI(title="@project@")


class Case(BaseModel):
    """One tumour: every feature of the training data by its name."""
    features: dict[str, float]


class Prediction(BaseModel):
    """What the model says about a case."""
    diagnosis: str
    probability: float


@lru_cache(maxsize=1)
def saved_model():
    """The model and the names of its features, read once."""
    return joblib.load(dataset.MODEL)


@app.get("/health")
def health():
    return {"status": "ok"}


@app.post("/predict")
def predict(case: Case) -> Prediction:
    saved = saved_model()
    missing = [name for name in saved["names"] if name not in case.features]
    unknown = [name for name in case.features if name not in saved["names"]]
    if missing or unknown:
        raise HTTPException(422, {"missing": missing, "unknown": unknown})
    row = [[case.features[name] for name in saved["names"]]]
    malignant = float(saved["model"].predict_proba(row)[0, 1])
    return Prediction(diagnosis=dataset.CLASSES[int(malignant >= 0.5)], probability=max(malignant, 1 - malignant))
