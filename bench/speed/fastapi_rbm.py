"""A server as one would write it around scikit-learn's BernoulliRBM: FastAPI, JSON, one endpoint.

    python -m bench.speed.fastapi_rbm arrays.npz PORT
"""

import sys

import numpy as np


def application(path):
    """Return the application of an RBM whose arrays stand in a file."""
    from fastapi import FastAPI
    from pydantic import BaseModel
    from sklearn.neural_network import BernoulliRBM

    with np.load(path) as arrays:
        rbm = BernoulliRBM(n_components=arrays["weights"].shape[1])
        rbm.components_ = arrays["weights"].T.copy()
        rbm.intercept_hidden_, rbm.intercept_visible_ = arrays["hidden"], arrays["visible"]
        rbm.n_features_in_ = arrays["weights"].shape[0]
    app = FastAPI()

    class Ask(BaseModel):
        rows: list[list[float]]

    @app.post("/transform")
    def transform(ask: Ask):
        return {"values": rbm.transform(np.array(ask.rows)).tolist()}

    return app


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(application(sys.argv[1]), port=int(sys.argv[2]), log_level="warning")
