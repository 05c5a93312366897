"""Make optimizers.npz: seven steps of each update rule as torch takes them. Needs torch; its version is kept inside.

    python tests/references/make_optimizers.py
"""
from pathlib import Path

import numpy as np
import torch

START = np.array([[1.0, -2.0], [0.5, 3.0]])
RULES = {"SGD": lambda p: torch.optim.SGD(p, 0.1), "Momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
         "RMSprop": lambda p: torch.optim.RMSprop(p, 0.1), "Adagrad": lambda p: torch.optim.Adagrad(p, 0.1),
         "Adam": lambda p: torch.optim.Adam(p, 0.1),
         "Nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
         "AdamW": lambda p: torch.optim.AdamW(p, 0.1)}
DECAYED = {"SGD": lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.3),
           "Momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.3),
           "RMSprop": lambda p: torch.optim.RMSprop(p, 0.1, weight_decay=0.3),
           "Adagrad": lambda p: torch.optim.Adagrad(p, 0.1, weight_decay=0.3),
           "Adam": lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.3),
           "Nesterov": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.3),
           "AdamW": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.3)}


def gradient(p, step):
    return np.sin(p + step) + 0.1 * p


def reference():
    """name -> array: the parameter after seven steps of each rule, without and with weight decay 0.3; a clipped gradient."""
    arrays = {"start": START, "versions": np.array(f"torch {torch.__version__}, numpy {np.__version__}")}
    for name, rule in {**RULES, **{f"{name} decayed": rule for name, rule in DECAYED.items()}}.items():
        p = torch.tensor(START, requires_grad=True)
        optimizer = rule([p])
        for step in range(1, 8):
            p.grad = torch.tensor(gradient(p.detach().numpy(), step))
            optimizer.step()
        arrays[name] = p.detach().numpy().copy()
    p = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    arrays["clip_gradient"] = np.random.default_rng(0).standard_normal((3, 4))
    p.grad = torch.tensor(arrays["clip_gradient"])
    arrays["clip_norm"] = torch.nn.utils.clip_grad_norm_([p], 0.5).numpy()
    arrays["clip_clipped"] = p.grad.numpy().copy()
    return arrays


if __name__ == "__main__":
    np.savez(Path(__file__).with_name("optimizers.npz"), **reference())
