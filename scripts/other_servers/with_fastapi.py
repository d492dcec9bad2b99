"""FastAPI and uvicorn: `MODEL=model.onnx python scripts/other_servers/with_fastapi.py PORT`."""

import io
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile
from model import Model
from PIL import Image

app = FastAPI()
model = Model()


@app.post("/predict")
async def predict(file: UploadFile) -> dict[str, Any]:
    """Read a drawing."""
    return model.read(Image.open(io.BytesIO(await file.read())))


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="warning")
