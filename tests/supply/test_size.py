"""The engine stays small enough to be read."""
from tests.supply.size import lines_of_code, sizes


def test_docstrings_comments_and_blank_lines_are_not_code():
    assert lines_of_code('"""Two\nlines."""\n\n# one\nx = """a\nb"""    # two\n\n\ndef f():\n    """Said."""\n    return (1,\n            2)\n') == 5


def test_the_engine_has_about_fifteen_hundred_lines():
    assert sum(sum(files.values()) for files in sizes().values()) < 1600
