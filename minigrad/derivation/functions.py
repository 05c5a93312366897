"""The functions of the derived program that NumPy does not have, each with its source; and what the others are called there."""

HELPERS = {
    "sigmoid": "def sigmoid(x):\n    return 0.5 * np.tanh(0.5 * x) + 0.5",
    "relu": "def relu(x):\n    return np.maximum(x, 0)",
    "softplus": "def softplus(x):\n    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))",
    "logsigmoid": "def logsigmoid(x):\n    return -(np.maximum(-x, 0) + np.log1p(np.exp(-np.abs(x))))",
    "silu": "def silu(x):\n    return x * (0.5 * np.tanh(0.5 * x) + 0.5)",
    "gelu": "def gelu(x):\n    return 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x ** 3)))",
    "softmax": "def softmax(x, axis=-1):\n    e = np.exp(x - np.max(x, axis=axis, keepdims=True))\n"
               "    return e / np.sum(e, axis=axis, keepdims=True)",
    "log_softmax": "def log_softmax(x, axis=-1):\n    x = x - np.max(x, axis=axis, keepdims=True)\n"
                   "    return x - np.log(np.sum(np.exp(x), axis=axis, keepdims=True))",
    "logsumexp": "def logsumexp(x, axis, keepdims=False):\n    m = np.max(x, axis=axis, keepdims=True)\n"
                 "    y = np.log(np.sum(np.exp(x - m), axis=axis, keepdims=True)) + m\n    return y if keepdims else np.squeeze(y, axis)",
    "layer_norm": "def layer_norm(x, eps=1e-5, axis=-1):\n    d = x - np.mean(x, axis=axis, keepdims=True)\n"
                  "    return d / np.sqrt(np.mean(d * d, axis=axis, keepdims=True) + eps)",
    "matrix_exp": "def matrix_exp(a):\n    halvings = max(0, int(np.ceil(np.log2(max(np.max(np.sum(np.abs(a), axis=-1)), 1e-300)))) + 1)\n"
                  "    a = a / 2.0 ** halvings\n    y = term = np.eye(a.shape[-1], dtype=a.dtype)\n    for k in range(1, 19):\n"
                  "        term = term @ a / k\n        y = y + term\n    for _ in range(halvings):\n        y = y @ y\n    return y",
    "wins": "def wins(a, b):\n    return ((a > b) + 0.5 * (a == b)).astype(np.result_type(a, b))         # a tie is shared",
    "place": "def place(g, index, shape):\n    y = np.zeros(shape, g.dtype)\n    np.add.at(y, index, g)\n    return y",
}
ELEMENTWISE = {"tanh", "exp", "expm1", "log", "log1p", "sin", "cos", "sqrt", "sign", "sigmoid", "relu", "softplus", "logsigmoid", "silu",
               "gelu", "maximum", "minimum", "absolute", "where", "wins", "greater", "greater_equal", "less", "less_equal", "equal",
               "not_equal"}
OURS = set(HELPERS) - {"place"}
SYMBOLS = {"greater": ">", "greater_equal": ">=", "less": "<", "less_equal": "<=", "equal": "==", "not_equal": "!="}
REDUCTIONS = {"sum", "mean", "var", "max", "min", "prod", "logsumexp"}
NUMPY = {"absolute": "abs", "solve": "linalg.solve", "inv": "linalg.inv"}
