"""The print style: the same picture in greys. What a colour said is said by lightness, line width, dashes and signs."""

from __future__ import annotations

from . import theme
from .scene import Scene

BLACK = "#000000"
# role of a shape: (fill, rim, rim width, dash), where the colour picture gives it its usual look
ROLES: dict[str, tuple[str, str, float, str]] = {
    "op": ("#FFFFFF", "#444444", 0.9, ""),
    "input": ("#FFFFFF", BLACK, 1.1, ""),
    "state": ("#E3E3E3", BLACK, 2.6, ""),
    "initial": ("#FFFFFF", "#777777", 1.1, "5,2"),
    "prediction": ("#C4C4C4", BLACK, 1.1, ""),
    "loss": ("#C4C4C4", BLACK, 1.1, ""),
    "total": ("#C4C4C4", BLACK, 2.6, ""),
    "parameter": ("#F0F0F0", BLACK, 1.1, ""),
    "delay": ("#E3E3E3", BLACK, 1.4, ""),
    "rail": ("#E3E3E3", BLACK, 1.1, ""),
    "port": (BLACK, BLACK, 1.0, ""),
}
ARROWS = {theme.GREEN: "#000000", theme.ORANGE: "#000000", theme.GREY: "#777777"}    # recurrent, rail, flow: told apart by width


def paint(scene: Scene) -> None:
    """Turn a finished scene into greys."""
    for shape in scene.shapes:
        usual = theme.ROLES.get(shape.role)
        if usual and shape.role in ROLES and (shape.fill, shape.rim) == usual[:2]:
            shape.fill, shape.rim, shape.rim_width, shape.dash = ROLES[shape.role]
        else:
            shape.fill, shape.rim = grey(shape.fill), BLACK if shape.rim in (theme.RED, theme.GREEN) else grey(shape.rim)
        shape.ink = theme.ink_on(shape.fill)
    for arrow in scene.arrows:
        arrow.colour = ARROWS.get(arrow.colour) or (BLACK if arrow.colour == theme.RED else grey(arrow.colour))
    for panel in scene.panels:
        panel.fill = panel.fill if panel.fill == "none" else "#FFFFFF" if panel.fill == theme.PALE else grey(panel.fill)
        panel.rim = BLACK if panel.rim == theme.RED else grey(panel.rim)
    for words in scene.texts:
        words.ink = BLACK if words.ink in (theme.RED, theme.GREEN) else grey(words.ink)


def grey(colour: str) -> str:
    """The grey that is as light."""
    red, green, blue = (int(colour[i:i + 2], 16) for i in (1, 3, 5))
    return "#" + f"{round(0.299 * red + 0.587 * green + 0.114 * blue):02X}" * 3
