"""Tests run in a child of this process, which has imported NumPy and pytest but never minigrad: no mutant pays for that again."""
import collections
import json
import os
import signal
import sys
import time
from pathlib import Path

HOUSE = Path(__file__).parent.parent.parent.resolve()
KILLED, SURVIVED, SLOW = "killed", "survived", "killed (too slow)"
PATIENCE = 10       # a test may take so many times as long as it took, and a second


def forked(root, work):
    """The exit status of work(), run in a child whose working directory is root; minus the signal's number if one ended it."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.chdir(root)
            sys.path[:] = [str(root), *(p for p in sys.path if Path(p).resolve() != HOUSE)]     # the copy, never the original
            for module in [m for m in sys.modules if m.partition(".")[0] == "tests"]:
                del sys.modules[module]
            os.environ.update(PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=str(root))
            sys.dont_write_bytecode = True
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1), os.dup2(quiet, 2)
            status = work()
        finally:
            os._exit(int(status))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Chosen:
    """Runs the tests named in ``seconds`` (how long each took) in that order, and ends the process at one that takes far longer.

    What counts is processor time, since the machine may be busy with other things; a test that waits for ever is ended too.
    """
    def __init__(self, seconds):
        self.seconds, self.order = seconds, {name: k for k, name in enumerate(seconds)}

    def pytest_collection_modifyitems(self, items):
        items[:] = sorted((i for i in items if i.nodeid in self.order), key=lambda i: self.order[i.nodeid])

    def pytest_runtest_logstart(self, nodeid):
        signal.setitimer(signal.ITIMER_PROF, PATIENCE * (self.seconds[nodeid] + 1))
        signal.setitimer(signal.ITIMER_REAL, 20 * PATIENCE * (self.seconds[nodeid] + 1))

    def pytest_runtest_logfinish(self, nodeid):
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


class Times:
    """Which tests pass, and how long each takes, setup included."""
    def __init__(self):
        self.taken, self.passed = collections.Counter(), set()

    def pytest_runtest_logreport(self, report):
        self.taken[report.nodeid] += report.duration
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)


def run_pytest(*arguments, plugins):
    import pytest
    return pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:cov", "-p", "no:hypothesispytest", *arguments], plugins=plugins)


def baseline(root, file):
    """Runs the whole suite once under coverage; writes {"seconds": test -> s, "lines": path -> line -> numbers of tests}."""
    def work():
        import coverage
        import pytest
        sys.dont_write_bytecode = False      # the tests, rewritten by pytest, are compiled once for all mutants
        times = Times()
        measured = coverage.Coverage(data_file=None, source=["minigrad"], context=None, config_file=False)
        measured.set_option("run:dynamic_context", "none")

        class Contexts:
            @pytest.hookimpl(hookwrapper=True)
            def pytest_runtest_protocol(self, item):
                measured.switch_context(item.nodeid)
                yield
                measured.switch_context("")
        measured.start()
        pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:cov"], plugins=[times, Contexts()])
        measured.stop()
        data = measured.get_data()
        names = sorted(times.passed)
        number = {name: k for k, name in enumerate(names)}
        lines = {Path(path).relative_to(root).as_posix(): {line: [number[n] for n in contexts if n in number]
                 for line, contexts in data.contexts_by_lineno(path).items()} for path in data.measured_files()}
        Path(file).write_text(json.dumps({"seconds": {n: times.taken[n] for n in names}, "lines": lines}))
        return 0
    return forked(root, work)


def warm(root):
    """Collects all tests once, so that their bytecode and minigrad's is there for every mutant."""
    def work():
        sys.dont_write_bytecode = False
        return run_pytest("--collect-only", plugins=[])
    return forked(root, work)


def covering(mutant, known):
    """The tests that run a mutant's lines, nearest first, and the quick ones first among them; of code run by import, all of the file's,
    and those of its room, which may look at a default or a constant and run nothing."""
    lines = known["lines"].get(mutant.path, {})
    wanted = {str(n) for n in range(mutant.first, mutant.last + 1)} & lines.keys()
    if mutant.at_import or wanted and not any(lines[line] for line in wanted):      # run, but in no test
        wanted = lines.keys()
    names = list(known["seconds"])
    tests = {names[k] for line in wanted for k in lines[line]}
    parts = set(Path(mutant.path).with_suffix("").parts[1:])

    def near(test):
        folders = Path(test.partition("::")[0]).with_suffix("").parts[1:]
        return sum(part in parts or part.removeprefix("test_") in parts for part in folders)
    tests |= {test for test in names if mutant.at_import and near(test)}
    return sorted(tests, key=lambda t: (-near(t) - 2 * (known["seconds"][t] < .05), known["seconds"][t]))


def trial(root, mutant, known, limit):
    """(killed or survived, tests run at most, tests that cover it, seconds): a few tests at first, then others up to ``limit`` seconds."""
    began, tests, taken = time.perf_counter(), covering(mutant, known), 0.
    affordable = []
    for test in tests:
        taken += known["seconds"][test]
        if taken < limit:
            affordable.append(test)
    path = Path(root, mutant.path)
    original = path.read_bytes()
    times = os.stat(path)
    path.write_bytes(mutant.apply(original))
    outcome = SURVIVED
    try:
        for batch in (affordable[:30], affordable[30:]):
            files = list(dict.fromkeys(t.partition("::")[0] for t in batch))
            if files:
                status = forked(root, lambda: run_pytest(*files, plugins=[Chosen({t: known["seconds"][t] for t in batch})]))
                if status not in (0, 5):        # 5: the mutant renamed all of them
                    outcome = SLOW if status in (-signal.SIGALRM, -signal.SIGPROF) else KILLED
                    break
    finally:
        path.write_bytes(original)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return outcome, len(affordable), len(tests), time.perf_counter() - began
