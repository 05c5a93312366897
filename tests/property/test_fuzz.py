"""A short run of the fuzzer: nothing but right answers and errors that say of what."""
import pytest

pytest.importorskip("hypothesis", reason="hypothesis is not installed (extra 'test')")

import minigrad as mg                                        # noqa: E402
from tests.property import fuzz                              # noqa: E402


@pytest.mark.parametrize("number", range(2))
def test_every_outcome_is_an_answer_or_an_error_of_ours(number):
    counts, troubles = fuzz.fuzz(500, number, tuple(sorted(fuzz.CORE)))
    assert not troubles, "\n".join(troubles.values())
    assert counts["answer"] > 100 and counts["error"] > 100, counts


@pytest.mark.parametrize("break_it, found", [
    (lambda x, axis=None, keepdims=False: mg.Tensor(x.data.sum()), "shapes"), (lambda *args, **kwargs: [][0], "IndexError"),
    (lambda *args, **kwargs: mg.Tensor(1.0) if kwargs else len.nothing, "AttributeError"),     # type: ignore[attr-defined]
])
def test_the_fuzzer_sees_trouble(break_it, found, monkeypatch):
    _, slots, optional, reference = fuzz.TARGETS["np.sum"]
    monkeypatch.setitem(fuzz.TARGETS, "np.sum", (break_it, slots, optional, reference))
    _, troubles = fuzz.fuzz(100, 0, ("np.sum",))
    assert any(found in text for text in troubles.values()), troubles
