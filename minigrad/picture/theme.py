"""Colours and sizes of the picture: hues after Okabe and Ito, readable for the colour-blind.  No positions here."""

from __future__ import annotations

INK, GREY, PALE, RULE, WHITE = "#111111", "#666666", "#F6F7F9", "#C9CED6", "#FFFFFF"
BLUE, GREEN, ORANGE, GOLD = "#0072B2", "#009E73", "#D55E00", "#B8860B"
RED, PURPLE = "#CC3311", "#CC79A7"

# role of a mark: (fill, rim, rim width, dash)
ROLES: dict[str, tuple[str, str, float, str]] = {
    "op": (WHITE, "#555555", 1.1, ""),
    "input": ("#DCEBF7", BLUE, 1.1, ""),
    "state": ("#D9F2E6", GREEN, 2.4, ""),
    "initial": ("#EEEEEE", "#888888", 1.1, ""),
    "prediction": ("#FBE6D4", ORANGE, 1.1, ""),
    "loss": ("#FBE6D4", ORANGE, 1.1, ""),
    "total": ("#FBE6D4", ORANGE, 2.4, ""),
    "constant": ("#EEEEEE", "#888888", 1.1, ""),
    "parameter": ("#FFF2C2", GOLD, 1.2, ""),
    "elsewhere": (WHITE, "#888888", 1.1, "4,3"),
    "delay": ("#D9F2E6", GREEN, 1.4, ""),
    "port": (GREEN, GREEN, 1.0, ""),
    "rail": ("#FBE6D4", ORANGE, 1.1, ""),
    "gather": ("#FBE6D4", ORANGE, 1.1, ""),
}
CIRCLES = {"input", "state", "initial", "prediction", "constant", "elsewhere"}

# kind of an arrow: (colour, width)
ARROWS: dict[str, tuple[str, float]] = {"flow": (GREY, 1.1), "recurrent": (GREEN, 2.2), "rail": (ORANGE, 1.6)}

FONT = "Helvetica,Arial,Liberation Sans,DejaVu Sans,sans-serif"
DOT_FONT = "Helvetica"
SIZE, SMALL, TINY = 11.0, 9.0, 7.5
BOX_HEIGHT, CIRCLE, DOT_SIZE = 22.0, 34.0, 6.0
HEAD = 7.0            # length of an arrowhead at width 1.1
PADDING = 12.0        # inside a step's panel
GUTTER = 42.0         # between the panels of two steps
RAIL_GAP = 36.0       # between the panels and the first rail, and between rails
CAPTION = 22.0        # room for "t = 3" at the foot of a panel

# The heat scale, from faint to strong (ColorBrewer YlOrRd, monotone in lightness).
HEAT = ("#FFFFCC", "#FFEDA0", "#FED976", "#FEB24C", "#FD8D3C", "#FC4E2A", "#E31A1C", "#BD0026")
# Gradients that have no place on the scale: (fill, rim, dash, badge, meaning)
ODD = {
    "zero": (WHITE, "#555555", "1,3", "0", "exactly zero"),
    "nan": (PURPLE, "#7B3F61", "", "NaN", "not a number"),
    "inf": (INK, INK, "", "inf", "infinite"),
    "missing": ("#EEEEEE", "#999999", "4,3", "", "no gradient"),
    "constant": ("#F7F7F7", "#999999", "", "", "no gradient asked for"),   # hatched
}


def heat_colour(share: float) -> str:
    """The colour at `share` in 0..1 of the heat scale."""
    place = min(max(share, 0.0), 1.0) * (len(HEAT) - 1)
    low = min(int(place), len(HEAT) - 2)
    mix = place - low
    a, b = (tuple(int(c[i:i + 2], 16) for i in (1, 3, 5)) for c in (HEAT[low], HEAT[low + 1]))
    return "#" + "".join(f"{round(p + (q - p) * mix):02X}" for p, q in zip(a, b))


def ink_on(fill: str) -> str:
    """Black or white, whichever reads better on `fill`."""
    red, green, blue = (int(fill[i:i + 2], 16) for i in (1, 3, 5))
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else WHITE
