"""Systems built with minigrad, each runnable: ``python -m models`` lists them, ``python -m models NAME`` runs one.

They import only the public ``minigrad`` and are never installed with it.
"""
