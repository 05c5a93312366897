"""The classic minimal character model (Karpathy 2015): 100 hidden units, 25 steps, one row, Adagrad with 0.1."""
import numpy as np
import pytest

import minigrad as mg
from models import characters

TEXT = "the quick brown fox jumps over the lazy dog. " * 120
STEPS = 25


def classic(V):
    """Weights of size 0.01 and biases of 0."""
    rng = np.random.default_rng(0)
    model = characters.CharacterModel(V, 100, rng=rng, dtype=np.float64)
    for name, p in model.parameters().items():
        p.data = 0.01 * rng.standard_normal(p.shape) if "W" in name else np.zeros(p.shape)
    return model


def test_the_first_loss_is_25_ln_V_and_falls():
    ids, letters = characters.encode(TEXT)
    V = len(letters)
    model = classic(V)
    windows = mg.train.windows(ids[:-1], ids[1:], steps=STEPS, rows=1)

    def loss(xs, ys, state):
        logits, state = model(np.eye(V)[xs], state)
        return mg.softmax_cross_entropy(logits, ys, reduction="sum"), state

    records = mg.train.fit(loss, model, windows, optimizer=mg.train.Adagrad(model, 0.1), clip=5.0, steps=200,
                           state=model.cell.initial_state(1), progress=False)
    assert records[0]["loss"] == pytest.approx(STEPS * np.log(V), rel=1e-3)
    assert np.mean([r["loss"] for r in records[-10:]]) < 0.8 * records[0]["loss"]
