"""Writes a scene as DOT with every position given, for `neato -n2`: graphviz renders, it does not lay out.

Ids are ours (`n0`, `n1`, ...), every name is quoted or escaped by us, and no attribute that holds a link is written.
"""

from __future__ import annotations

from . import scene, text, theme
from .scene import Arrow, Scene, Shape
from .svg import number


def write(picture: Scene) -> str:
    """The scene as a DOT graph."""
    out = ["digraph minigrad {",
           f' graph [splines=line, outputorder=edgesfirst, bgcolor="white", pad=0.2, notranslate=true, '
           f'fontname="{theme.DOT_FONT}"];',
           f' node [fontname="{theme.DOT_FONT}", fixedsize=true, style="filled,rounded", shape=box, margin=0];',
           f' edge [fontname="{theme.DOT_FONT}"];']
    for i, panel in enumerate(picture.panels):
        style = ",".join(word for word, used in (("rounded", panel.rounded), ("filled", panel.fill != "none"),
                                                 ("dashed", panel.dash)) if used)
        fill = f', fillcolor="{panel.fill}"' if panel.fill != "none" else ""
        # A cluster is drawn only if something is in it: an invisible point in its middle.
        out.append(f' subgraph cluster_{i} {{ graph [bb="{number(panel.left)},{number(panel.low)},'
                   f'{number(panel.right)},{number(panel.high)}", style="{style}", color="{panel.rim}"{fill}, '
                   f'penwidth={number(panel.rim_width)}];'
                   f' p{i} [pos="{number((panel.left + panel.right) / 2)},{number((panel.low + panel.high) / 2)}!",'
                   f' style=invis, shape=point, width=0.01, height=0.01]; }}')
    out += [f" n{i} [{_shape(shape)}];" for i, shape in enumerate(picture.shapes)]
    # A shape with several lines gets them as texts of their own: line spacing is ours, not the renderer's.
    texts = [line for shape in picture.shapes if len(shape.lines) > 1 for line in shape.placed_lines()] + picture.texts
    for i, words in enumerate(texts):
        wide, tall = text.width(words.words, words.size), words.size * 1.4
        out.append(f' t{i} [label={_label(words.words)}, pos="{number(words.x)},{number(words.y)}!", shape=plaintext, '
                   f'style="", width={number(wide / 72)}, height={number(tall / 72)}, fontsize={number(words.size)}, '
                   f'fontcolor="{words.ink}"];')
    ends = 0
    for arrow in picture.arrows:
        names = []
        for which, point in zip(arrow.ends, (arrow.points[0], arrow.points[-1])):
            if which >= 0:
                names.append(f"n{which}")
            else:   # an arrow into the folded part ends at a point that is not drawn
                names.append(f"e{ends}")
                out.append(f' e{ends} [pos="{number(point[0])},{number(point[1])}!", style=invis, shape=point, '
                           'width=0.01, height=0.01];')
                ends += 1
        out.append(f" {names[0]} -> {names[1]} [{_arrow(arrow)}];")
    out.append("}\n")
    return "\n".join(out)


def _shape(shape: Shape) -> str:
    form = {"circle": "ellipse", "dot": "ellipse", "plate": "box"}.get(shape.form, "box")
    style = "filled" + (",rounded" if shape.form == "box" else "") + (
        ",dotted" if shape.dash.startswith("1") else ",dashed" if shape.dash else "")
    label = _label(shape.lines[0][0]) if len(shape.lines) == 1 else '""'
    parts = [f"label={label}", f'pos="{number(shape.x)},{number(shape.y)}!"', f"shape={form}",
             f"width={shape.width / 72:.4f}", f"height={shape.height / 72:.4f}", f'style="{style}"',
             f'fillcolor="{"#E4E4E4" if shape.hatched else shape.fill}"', f'color="{shape.rim}"', f"penwidth={number(shape.rim_width)}",
             f'fontcolor="{shape.ink}"', f"fontsize={number(shape.lines[0][1] if shape.lines else theme.SIZE)}"]
    if shape.tooltip:
        parts.append(f"tooltip={text.dot_quote(shape.tooltip)}")
    return ", ".join(parts)


def _label(words: text.Label) -> str:
    """A quoted string where that is enough, else markup with <SUB>, everything in it escaped by us."""
    if not any(sub for _, sub in words):
        return text.dot_quote("".join(run for run, _ in words))
    return f"<{text.dot_markup(words)}>"


def _arrow(arrow: Arrow) -> str:
    points = " ".join(f"{number(x)},{number(y)}" for x, y in arrow.points)
    parts = [f'color="{arrow.colour}"', f"penwidth={number(arrow.width)}"]
    if arrow.tip is None:
        parts += [f'pos="{points}"', "dir=none"]
    else:
        end = "s" if arrow.backwards else "e"
        parts += [f'pos="{end},{number(arrow.tip[0])},{number(arrow.tip[1])} {points}"',
                  f"arrowsize={number(scene.head_length(arrow.width) / 10)}"]
        if arrow.backwards:
            parts.append("dir=back")
    if arrow.dash:
        parts.append("style=dashed")
    if arrow.tooltip:
        parts.append(f"tooltip={text.dot_quote(arrow.tooltip)}")
    return ", ".join(parts)
