"""How fluid the explorer is: the time of a frame while panning, at several zooms, in headless Chromium.

    python tests/benchmarks/explorer.py [STEPS]          (default 1000: about 10,000 nodes; needs chromium, chromedriver and selenium)
"""
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import minigrad as mg

PAN = """
const done = arguments[0], times = [];
let n = 0, last = null;
canvas.setPointerCapture = () => {};
const send = (type, x) => canvas.dispatchEvent(new PointerEvent(type, {pointerId: 1, clientX: x, clientY: 400, bubbles: true}));
send("pointerdown", 600);
requestAnimationFrame(function frame(now) {
  if (last !== null) times.push(now - last);
  last = now;
  send("pointermove", 600 + 60 * Math.sin(n / 3));
  if (++n < 100) requestAnimationFrame(frame); else { send("pointerup", 600); done(times); }
});"""


def network(steps):
    rng = np.random.default_rng(0)
    cell, W_y = mg.RNNCell(3, 4, rng=rng), mg.parameter(rng.standard_normal((4, 5)), name="W_y")
    h, loss = cell.initial_state(2), 0.0
    for x, y in mg.steps(rng.standard_normal((steps, 2, 3)), rng.integers(5, size=(steps, 2))):
        _, h = cell(x, h)
        loss = loss + mg.softmax_cross_entropy(h @ W_y, y)
    return loss


def main(steps):
    from selenium import webdriver
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,800"):
        options.add_argument(argument)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    loss = network(steps)
    with tempfile.TemporaryDirectory() as folder, webdriver.Chrome(options=options, service=service) as browser:
        begin = time.perf_counter()
        path = mg.explore(loss, Path(folder) / "g.html")
        written = time.perf_counter() - begin
        browser.get(path.as_uri())
        count = browser.execute_script("return nodes.length")
        print(f"{count:,} nodes, {path.stat().st_size / 1e6:.1f} MB written in {written:.1f} s; Chromium {browser.capabilities['browserVersion']}")
        print(f"{'zoom':>8} {'median ms':>10} {'95 % ms':>8}")
        for _ in range(7):
            times = sorted(browser.execute_async_script(PAN))
            print(f"{browser.execute_script('return view.s'):8.3f} {statistics.median(times):10.1f} {times[int(0.95 * len(times))]:8.1f}")
            browser.execute_script("zoom(2.2)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
