"""Five sets of notes that derive back-propagation through time (BPTT), each as a system that runs.

    hidden_layer        000  the hidden layer alone, any loss per step; row vectors
    binary_classifier   001  three words in, one probability out; row vectors, no biases
    complete_bptt       002  softmax at every step, all five parameters; row vectors
    matrix_recursion    003  the reverse recursion in matrices; column vectors
    explicit_implicit   004  the explicit/implicit split and the node lists; column vectors, no biases

Every module holds the model (written once: NumPy arrays pass through it, minigrad Tensors record it), the gradients
derived by hand, as the notes write them and corrected, and a `main` that compares both with the engine:

    python -m models.derivations                     all five
    python -m models.derivations.complete_bptt       one of them

Throughout, people's indices are used: x[1] … x[T] are the inputs, h[0] is the initial state. `immediate` is the
derivative of h_k with h_{k-1} held fixed; `total` follows every path. Most slips in the notes mix up the two.
"""
