"""What must not happen on a picture: shapes that overlap, arrows through shapes, arrows too short, clipped text."""

from minigrad.picture import text


def faults(scene, shortest=8.0):
    """A list of sentences, empty for a clean picture."""
    found = []
    boxes = [(s.x - s.width / 2, s.y - s.height / 2, s.x + s.width / 2, s.y + s.height / 2) for s in scene.shapes]
    names = ["".join(r for words, _ in s.lines for r, _ in words) or s.form for s in scene.shapes]
    for i, a in enumerate(boxes):
        for j in range(i):
            b = boxes[j]
            if a[0] < b[2] - 0.5 and b[0] < a[2] - 0.5 and a[1] < b[3] - 0.5 and b[1] < a[3] - 0.5:
                found.append(f"shapes {names[i]!r} and {names[j]!r} overlap")
    for shape, name in zip(scene.shapes, names):
        for words, size in shape.lines:
            if text.width(words, size) > shape.width + 1:
                found.append(f"the label of {name!r} is wider than its shape")
    for words in scene.texts:
        half = text.width(words.words, words.size) / 2 * 0.8
        for box, name in zip(boxes, names):
            if words.size > 8 and words.x - half < box[2] and box[0] < words.x + half and \
                    words.y - words.size * 0.3 < box[3] and box[1] < words.y + words.size * 0.3:
                found.append(f"the text {words.words} lies on {name!r}")
    for arrow in scene.arrows:
        points = sample(arrow)
        length = sum(((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5 for a, b in zip(points, points[1:]))
        between = [names[e] if e >= 0 else "..." for e in arrow.ends]
        if length < shortest:
            found.append(f"the arrow {between} is {length:.1f} points long")
        for index, (shape, box) in enumerate(zip(scene.shapes, boxes)):
            if index in arrow.ends:
                continue
            if any(inside(shape, box, x, y) for x, y in points):
                found.append(f"the arrow {between} runs through {names[index]!r}")
    return found


def inside(shape, box, x, y):
    if shape.form in ("circle", "dot"):
        return ((x - shape.x) / (shape.width / 2)) ** 2 + ((y - shape.y) / (shape.height / 2)) ** 2 < 0.9
    return box[0] + 0.5 < x < box[2] - 0.5 and box[1] + 0.5 < y < box[3] - 0.5


def sample(arrow, pieces=12):
    """Points along an arrow, its head included."""
    p = arrow.points
    points = [p[0]]
    for i in range(0, len(p) - 3, 3):
        a, b, c, d = p[i:i + 4]
        for k in range(1, pieces + 1):
            t = k / pieces
            w = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3)
            points.append(tuple(w[0] * a[n] + w[1] * b[n] + w[2] * c[n] + w[3] * d[n] for n in (0, 1)))
    if arrow.tip is not None:
        points = [arrow.tip] + points if arrow.backwards else points + [arrow.tip]
    return points
