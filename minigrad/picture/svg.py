"""Writes a scene as SVG, with nothing but the standard library.  Same scene, same bytes; no script, no link."""

from __future__ import annotations

from . import scene, text, theme
from .scene import Arrow, Scene, Shape

MARGIN = 14.0


def number(value: float) -> str:
    """A coordinate: at most two decimals, no minus zero."""
    digits = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if digits in ("-0", "") else digits


def write(picture: Scene, bounds: tuple[float, ...] | None = None) -> str:
    """The scene (or what is in these bounds) as one SVG document that fits its container's width."""
    left, low, right, high = bounds or picture.bounds()
    left, low, right, high = left - MARGIN, low - MARGIN, right + MARGIN, high + MARGIN
    width, height = right - left, high - low
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{number(width)}pt" height="{number(height)}pt" '
        f'viewBox="{number(left)} {number(-high)} {number(width)} {number(height)}" '
        f'style="max-width:100%;height:auto" font-family="{theme.FONT}" text-anchor="middle">',
        f'<rect x="{number(left)}" y="{number(-high)}" width="{number(width)}" height="{number(height)}" '
        'fill="white"/>']
    if any(shape.hatched for shape in picture.shapes):
        out.append('<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
                   f'<path d="M0 0V5" stroke="{scene.HATCH}" stroke-width="1.2"/></pattern></defs>')
    for panel in picture.panels:
        dash = f' stroke-dasharray="{panel.dash}"' if panel.dash else ""
        wide = f' stroke-width="{number(panel.rim_width)}"' if panel.rim_width != 1 else ""
        radius = 9.0 if panel.rounded else 0.0
        width, height = panel.right - panel.left, panel.high - panel.low
        out.append(f'<rect x="{number(panel.left)}" y="{number(-panel.high)}" width="{number(width)}" '
                   f'height="{number(height)}" rx="{number(radius)}" fill="{panel.fill}" '
                   f'stroke="{panel.rim}"{wide}{dash}/>')
    out += [_arrow(arrow) for arrow in picture.arrows]
    out += [_shape(shape) for shape in picture.shapes]
    out += [_words(words.x, words.y, words.words, words.size, words.ink) for words in picture.texts]
    out.append("</svg>\n")
    return "\n".join(out)


def _shape(shape: Shape) -> str:
    dash = f' stroke-dasharray="{shape.dash}"' if shape.dash else ""
    paint = f'fill="{shape.fill}" stroke="{shape.rim}" stroke-width="{number(shape.rim_width)}"{dash}'
    x, y = shape.x, -shape.y
    if shape.form in ("circle", "dot"):
        body = (f'<ellipse cx="{number(x)}" cy="{number(y)}" rx="{number(shape.width / 2)}" '
                f'ry="{number(shape.height / 2)}" {paint}/>')
    else:
        radius = "" if shape.form == "plate" else ' rx="6"'
        body = (f'<rect x="{number(x - shape.width / 2)}" y="{number(y - shape.height / 2)}" '
                f'width="{number(shape.width)}" height="{number(shape.height)}"{radius} {paint}/>')
    if shape.hatched:
        body += body.replace(f'fill="{shape.fill}"', 'fill="url(#hatch)"')
    lines = [_words(line.x, line.y, line.words, line.size, line.ink) for line in shape.placed_lines()]
    title = f"<title>{text.xml(shape.tooltip)}</title>" if shape.tooltip else ""
    return f"<g>{title}{body}{''.join(lines)}</g>"


def _words(x: float, y: float, words: text.Label, size: float, ink: str) -> str:
    parts, lowered = [], False
    for run, sub in words:
        shift = ""
        if sub != lowered:
            shift = f' dy="{number(size * (0.26 if sub else -0.26))}"'
            lowered = sub
        small = f' font-size="{number(size * 0.72)}"' if sub else ""
        parts.append(f"<tspan{shift}{small}>{text.xml(run)}</tspan>" if shift or small else text.xml(run))
    return (f'<text x="{number(x)}" y="{number(-y + size * 0.35)}" font-size="{number(size)}" fill="{ink}" '
            f'xml:space="preserve">{"".join(parts)}</text>')


def _arrow(arrow: Arrow) -> str:
    points = arrow.points
    path = [f"M{number(points[0][0])} {number(-points[0][1])}"]
    for i in range(1, len(points) - 2, 3):
        path.append("C" + " ".join(f"{number(x)} {number(-y)}" for x, y in points[i:i + 3]))
    dash = f' stroke-dasharray="{arrow.dash}"' if arrow.dash else ""
    title = f"<title>{text.xml(arrow.tooltip)}</title>" if arrow.tooltip else ""
    line = (f'<path d="{"".join(path)}" fill="none" stroke="{arrow.colour}" stroke-width="{number(arrow.width)}"'
            f'{dash}>{title}</path>')
    corners = " ".join(f"{number(x)},{number(-y)}" for x, y in arrow.head())
    return line + (f'<polygon points="{corners}" fill="{arrow.colour}"/>' if corners else "")
