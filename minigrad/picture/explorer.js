"use strict";
// The page's program: draws the scenes on a canvas, and shows cards. Data that people named is only ever put in as text.
const data = JSON.parse(document.getElementById("data").textContent), {palette, nodes} = data;
const $ = id => document.getElementById(id), canvas = $("canvas"), pen = canvas.getContext("2d"), root = document.documentElement;
const FONT = "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif", [X, Y, W, H, FORM, PAINT, LINES, NODES, ROLE] = Array(9).keys();
const HEAT = [[255, 255, 204], [254, 217, 118], [253, 141, 60], [227, 26, 28], [189, 0, 38]];
let level = "ops", scene, view = {s: 1, x: 0, y: 0}, chosen = null, over = null, hits = [], hit = 0, position = 0, timer = null, waiting = false, touched = false;

// ---- the scenes, and what is known of them ------------------------------------------------------------------------
for (const it of Object.values(data.scenes)) {
  it.where = new Map();                                         // node -> its shape: that of its own value before one it was merged into
  it.shapes.forEach((s, i) => {
    s[NODES].forEach((n, k) => { if (k < s[NODES].length - 1 && !it.where.has(n)) it.where.set(n, i); });
    if (s[NODES].length && palette[s[ROLE]] !== "rail") it.where.set(s[NODES].at(-1), i);
  });
  it.out = it.shapes.map(() => []); it.in = it.shapes.map(() => []);
  it.arrows.forEach((a, i) => {
    const [points, , , from, to] = a;
    if (from >= 0) it.out[from].push(i);
    if (to >= 0) it.in[to].push(i);
    let [l, t, r, b] = [Infinity, Infinity, -Infinity, -Infinity];
    for (let k = 0; k < points.length; k += 2) {
      l = Math.min(l, points[k]); r = Math.max(r, points[k]); t = Math.min(t, points[k + 1]); b = Math.max(b, points[k + 1]);
    }
    a.box = [l, t, r, b];
  });
}
const users = nodes.map(() => []), series = new Map();
nodes.forEach((node, i) => {
  node.in.forEach(j => users[j].push(i));
  if (node.series) series.has(node.series) ? series.get(node.series).push(i) : series.set(node.series, [i]);
});
for (const ids of series.values()) ids.sort((a, b) => nodes[a].step - nodes[b].step);
const order = [];                                               // the backward pass: every op that gives something back, last first
nodes.forEach((node, i) => { if (node.parts && node.parts.some(p => p)) order.unshift(i); });
const logs = nodes.map(n => n.gradient && n.gradient.norm > 0 ? Math.log10(n.gradient.norm) : null), known = logs.filter(x => x !== null);
const low = known.reduce((a, b) => Math.min(a, b), Infinity), high = known.reduce((a, b) => Math.max(a, b), -Infinity);
for (const it of Object.values(data.scenes)) {                  // where each time step is drawn: its middle, and how wide it is
  it.columns = new Map();
  for (const s of it.shapes) {
    const node = nodes[s[NODES].at(-1)];
    if (!node || !node.step || ["rail", "initial", "port", "total", "elsewhere"].includes(palette[s[ROLE]])) continue;
    const [l, r] = it.columns.get(node.step) ?? [Infinity, -Infinity];
    it.columns.set(node.step, [Math.min(l, s[X] - s[W] / 2), Math.max(r, s[X] + s[W] / 2)]);
  }
}
const title = i => nodes[i].name + (nodes[i].step !== undefined && nodes[i].op !== "parameter" ? `  (t = ${nodes[i].step})` : "");

function heat(i) {                                              // the colour of a node's gradient
  const norm = nodes[i]?.gradient?.norm;
  if (norm === "nan") return "#cc79a7";
  if (norm === "inf") return "#111111";
  if (i === undefined || logs[i] === null) return norm === 0 ? "#ffffff" : "#c9ced6";
  const at = (HEAT.length - 1) * (high - low < 1e-9 ? 0.5 : (logs[i] - low) / (high - low)), k = Math.min(Math.floor(at), HEAT.length - 2);
  return `rgb(${HEAT[k].map((c, j) => Math.round(c + (HEAT[k + 1][j] - c) * (at - k)))})`;
}

// ---- drawing ------------------------------------------------------------------------------------------------------------
function redraw() { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); } }

function draw() {
  const ratio = window.devicePixelRatio || 1, wide = canvas.clientWidth, tall = canvas.clientHeight, {s, x, y} = view;
  if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(tall * ratio)) {
    canvas.width = Math.round(wide * ratio); canvas.height = Math.round(tall * ratio);
  }
  const style = getComputedStyle(root), kept = {}, css = name => kept[name] ??= style.getPropertyValue(name), dark = root.classList.contains("dark");
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.fillStyle = css("--ground"); pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.setTransform(ratio * s, 0, 0, ratio * s, ratio * x, ratio * y);
  const left = -x / s, top = -y / s, right = (wide - x) / s, bottom = (tall - y) / s;
  const seen = (l, t, r, b) => r >= left && l <= right && b >= top && t <= bottom;
  const lit = lighted(), dim = lit.size > 0, running = position > 0 ? order[position - 1] : null;

  for (const [l, t, w, h, p] of scene.panels) if (seen(l, t, l + w, t + h)) {
    const [fill, rim, dash] = palette[p];
    if (s < 0.12) { pen.fillStyle = dark ? css("--plate") : s < 0.03 ? "#E9ECF1" : fill; if (fill !== "none") pen.fillRect(l, t, w, h); continue; }
    if (fill !== "none") { pen.fillStyle = dark ? css("--plate") : fill; box(l, t, w, h, 9, s); pen.fill(); }
    stroke(dark && rim === "#C9CED6" ? css("--rule") : rim, 1, dash); box(l, t, w, h, 9, s); pen.stroke();
  }
  // Arrows of one kind are one path. From far away only those between steps are drawn.
  const paths = new Map();
  scene.arrows.forEach((a, i) => {
    const [points, , kind, from, to] = a, strong = palette[kind][1] > 1.5;
    if (s < 0.12 && !strong || !seen(...a.box)) return;
    const key = kind + (dim && !(lit.has(from) && lit.has(to)) ? " dim" : "");
    if (!paths.has(key)) paths.set(key, []);
    paths.get(key).push(i);
  });
  for (const [key, ids] of paths) {
    const [colour, width, dash] = palette[parseInt(key)], ink = dark && colour === "#666666" ? css("--soft") : colour;
    pen.globalAlpha = key.endsWith("dim") ? 0.25 : 1;
    stroke(ink, Math.max(width, 0.4 / s), dash);
    pen.beginPath();
    for (const i of ids) {
      const p = scene.arrows[i][0];
      pen.moveTo(p[0], p[1]);
      for (let k = 2; k + 5 < p.length; k += 6)
        if (s < 0.3) pen.lineTo(p[k + 4], p[k + 5]); else pen.bezierCurveTo(p[k], p[k + 1], p[k + 2], p[k + 3], p[k + 4], p[k + 5]);
    }
    pen.stroke();
    if (s >= 0.3) { pen.fillStyle = ink; pen.beginPath(); ids.forEach(i => head(scene.arrows[i], width)); pen.fill(); }
  }
  pen.globalAlpha = 1;
  const warm = $("heat").checked;
  let last = null;
  scene.shapes.forEach((shape, i) => {
    const [cx, cy, w, h] = shape;
    if (!seen(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)) return;
    const [fill, rim, width, dash, ink] = palette[shape[PAINT]], form = palette[shape[FORM]], node = shape[NODES].at(-1);
    if (dim) pen.globalAlpha = lit.has(i) ? 1 : 0.3;
    const paint = warm && node !== undefined && form !== "dot" ? heat(node) : dark && s < 0.3 && fill === "#FFFFFF" ? css("--rule") : fill;
    if (paint !== last) { pen.fillStyle = paint; last = paint; }
    if (s < 0.3) { pen.fillRect(cx - w / 2, cy - h / 2, w, h); } else {
      if (form === "circle" || form === "dot") { pen.beginPath(); pen.ellipse(cx, cy, w / 2, h / 2, 0, 0, 7); } else box(cx - w / 2, cy - h / 2, w, h, form === "plate" ? 0 : 6, s);
      pen.fill();
    }
    const played = position > 0 && running !== null && node !== undefined && nodes[node].gradient && node >= running && nodes[node].parts;
    const ring = i === chosen ? "--mark" : hits.includes(i) ? "--hit" : null;
    if (s >= 0.12 || ring || played) {
      stroke(ring ? css(ring) : shape[NODES].includes(running) ? "#cc3311" : played ? "#e8845c" : rim, ring || shape[NODES].includes(running) ? 4 / Math.min(1, Math.max(s, .2)) : played ? 2.2 : width, ring ? "" : dash);
      if (s < 0.3) pen.strokeRect(cx - w / 2, cy - h / 2, w, h); else pen.stroke();
    }
    if (!palette[shape[LINES]].length || 11 * s < 5) return;
    last = null;
    const lines = palette[shape[LINES]];
    let at = cy - lines.reduce((sum, [, size]) => sum + size, 0) * 0.65;
    for (const [words, size] of lines) { write(words, cx, at + size * 0.65, size, warm && node !== undefined && logs[node] !== null && logs[node] > low + 0.62 * (high - low) ? "#fff" : ink); at += size * 1.3; }
  });
  pen.globalAlpha = 1;
  for (const [tx, ty, words, size, ink] of scene.texts)
    if (size * s >= 5 && seen(tx - 200, ty - 20, tx + 200, ty + 20)) write(palette[words], tx, ty, size, dark && palette[ink][1] < "9" ? css("--soft") : palette[ink]);
  if (chosen !== null) bars(nodes[scene.shapes[chosen][NODES].at(-1)], css);
  if (warm) legend(css, tall, ratio);
}

function bars(node, css) {                                      // back-propagation through time as a sum: what each step gives a parameter
  if (!node?.terms || scene.columns.size < 2) return;
  const loops = new Set(node.terms.map(([, , loop]) => loop)).size, wide = 44 / loops;           // several loops: side by side
  const foot = scene.bounds[3] + 96, top = node.terms.reduce((m, [, norm]) => typeof norm === "number" ? Math.max(m, norm) : m, 0) || 1;
  const order = [...new Set(node.terms.map(([, , loop]) => loop))];
  for (const [step, norm, loop] of node.terms) if (scene.columns.has(step)) {
    const [l, r] = scene.columns.get(step), tall = typeof norm === "number" ? 70 * norm / top : 0, x = (l + r) / 2 - 22 + wide * order.indexOf(loop);
    pen.fillStyle = css("--hit"); pen.fillRect(x, foot - tall, wide * 0.95, tall);
    if (view.s > 0.35) write([[typeof norm === "number" ? norm.toPrecision(2) : norm, false]], x + wide / 2, foot + 9, 9 / loops ** 0.5, css("--soft"));
  }
  if (view.s > 0.2) write([[`the norm of what each step contributes to ∂L/∂${node.name}`, false]], (scene.bounds[0] + scene.bounds[2]) / 2, foot + 26, 11, css("--ink"));
}

function stroke(colour, width, dash) { pen.strokeStyle = colour; pen.lineWidth = width; pen.setLineDash(dash ? dash.split(",").map(Number) : []); }

function box(l, t, w, h, radius, s) { pen.beginPath(); if (s < 0.3 || !radius) pen.rect(l, t, w, h); else pen.roundRect(l, t, w, h, radius); }

function head([p, tip], width) {
  if (!tip) return;
  const last = p.length - 2, far = (x, y) => (x - tip[0]) ** 2 + (y - tip[1]) ** 2;
  const [x, y] = far(p[0], p[1]) < far(p[last], p[last + 1]) ? [p[0], p[1]] : [p[last], p[last + 1]];
  const dx = tip[0] - x, dy = tip[1] - y, length = Math.hypot(dx, dy) || 1, half = (7 + 1.4 * (width - 1.1)) * 0.42;
  pen.moveTo(...tip); pen.lineTo(x - dy / length * half, y + dx / length * half); pen.lineTo(x + dy / length * half, y - dx / length * half); pen.closePath();
}

function write(words, x, y, size, ink) {                        // runs of [text, is a subscript], centred
  const font = sub => `${sub ? size * 0.72 : size}px ${FONT}`;
  let wide = 0;
  for (const [run, sub] of words) { pen.font = font(sub); wide += pen.measureText(run).width; }
  let at = x - wide / 2;
  pen.fillStyle = ink; pen.textBaseline = "alphabetic"; pen.textAlign = "left";
  for (const [run, sub] of words) { pen.font = font(sub); pen.fillText(run, at, y + size * (sub ? 0.61 : 0.35)); at += pen.measureText(run).width; }
}

function legend(css, tall, ratio) {
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.fillStyle = css("--ground"); pen.globalAlpha = 0.85; pen.fillRect(8, tall - 46, 250, 40); pen.globalAlpha = 1;
  for (let k = 0; k < 60; k++) {
    const at = k / 59 * (HEAT.length - 1), j = Math.min(Math.floor(at), HEAT.length - 2);
    pen.fillStyle = `rgb(${HEAT[j].map((c, m) => Math.round(c + (HEAT[j + 1][m] - c) * (at - j)))})`; pen.fillRect(16 + 3 * k, tall - 22, 3, 10);
  }
  pen.fillStyle = css("--ink"); pen.font = `12px ${FONT}`; pen.textAlign = "left";
  pen.fillText(known.length ? `gradient norm ${(10 ** low).toPrecision(2)} … ${(10 ** high).toPrecision(2)}; white 0, grey none, violet NaN, black inf` : "no gradients", 16, tall - 30);
}

function lighted() {                                            // the shapes that stay bright: a parameter and its uses, or a thing and its neighbours
  const found = new Set(), i = over ?? null;
  if (i === null) return found;
  const node = scene.shapes[i][NODES].at(-1);
  if (node !== undefined && nodes[node].op === "parameter") for (const user of users[node]) if (scene.where.has(user)) found.add(scene.where.get(user));
  for (const a of scene.out[i]) found.add(scene.arrows[a][4]);
  for (const a of scene.in[i]) found.add(scene.arrows[a][3]);
  if (found.size) found.add(i);
  return found;
}

// ---- looking ----------------------------------------------------------------------------------------------------------------
const free = () => canvas.clientWidth - ($("card").hidden || canvas.clientWidth <= 700 ? 0 : 390);      // the width beside the card

function fit() {
  touched = false;
  const [l, t, r, low] = scene.bounds, b = low + (chosen !== null && nodes[scene.shapes[chosen][NODES].at(-1)]?.terms ? 130 : 0), wide = free() - 32, tall = canvas.clientHeight - 32;
  view.s = Math.min(wide / (r - l), tall / (b - t), 2);
  view.x = (free() - view.s * (l + r)) / 2; view.y = (canvas.clientHeight - view.s * (t + b)) / 2;
  redraw();
}

function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  touched = true;
  const s = Math.min(8, Math.max(0.004, view.s * factor));
  view.x = x - (x - view.x) * s / view.s; view.y = y - (y - view.y) * s / view.s; view.s = s;
  redraw();
}

function centre(i, least = 0.8) {
  const [x, y] = scene.shapes[i];
  touched = true;
  view.s = Math.max(view.s, least);
  view.x = free() / 2 - view.s * x; view.y = canvas.clientHeight * (canvas.clientWidth > 700 ? 0.5 : 0.24) - view.s * y;
  redraw();
}

function show(name) {                                           // another zoom of the graph; what was chosen stays so
  const node = chosen === null ? undefined : scene.shapes[chosen][NODES].at(-1);
  level = name; scene = data.scenes[name]; over = null; hits = []; $("hits").textContent = "";
  chosen = node !== undefined && scene.where.has(node) ? scene.where.get(node) : null;
  for (const button of $("levels").children) button.setAttribute("aria-pressed", button.dataset.level === name);
  fit();
  if ($("search").value) search();
}

function at(event) {                                            // the shape under the pointer
  const bounds = canvas.getBoundingClientRect(), x = (event.clientX - bounds.left - view.x) / view.s, y = (event.clientY - bounds.top - view.y) / view.s;
  for (let i = scene.shapes.length - 1; i >= 0; i--) {
    const [cx, cy, w, h] = scene.shapes[i], more = 3 / view.s;
    if (Math.abs(x - cx) <= w / 2 + more && Math.abs(y - cy) <= h / 2 + more && scene.shapes[i][NODES].length) return i;
  }
  return null;
}

// ---- the card -------------------------------------------------------------------------------------------------------------------
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function choose(i, move) {
  chosen = i;
  if (i === null) { $("card").hidden = true; redraw(); return; }
  card(scene.shapes[i][NODES].at(-1));
  if (move) centre(i);
  redraw();
}

function go(node) {                                             // to a node's shape, wherever it is drawn
  if (scene.where.has(node)) choose(scene.where.get(node), true); else card(node);
}

function link(node) { return make("a", {textContent: title(node), href: "#", onclick: event => { event.preventDefault(); go(node); }}); }

function numbers(what, facts) {
  if (!facts || facts.norm === undefined) return [];
  const rows = facts.all && facts.all.length === 1 ? [["value", facts.all[0]]] : [["norm", facts.norm], ["mean ± std", `${facts.mean} ± ${facts.std}`], ["range", `${facts.min} … ${facts.max}`]];
  if (facts.all && facts.all.length > 1) rows.push(["entries", facts.all.join("  ")]);
  return [make("h3", {textContent: what}), make("table", {}, ...rows.map(([name, value]) => make("tr", {}, make("th", {textContent: name}), make("td", {textContent: value}))))];
}

function card(i, playing) {
  const node = nodes[i], parts = [make("button", {className: "close", textContent: "×", title: "Close (Esc)", onclick: () => choose(null)})];
  parts.push(make("h2", {textContent: title(i)}));
  const facts = [["op", node.op], ["shape", node.shape.join(" × ") || "one number"], ["dtype", node.dtype]];
  parts.push(make("table", {}, ...facts.map(([name, value]) => make("tr", {}, make("th", {textContent: name}), make("td", {textContent: value})))));
  if (node.formula) parts.push(make("code", {textContent: (node.name === node.formula ? "" : node.name + " = ") + node.formula}));
  if (node.source) parts.push(make("div", {className: "source", textContent: node.source}));
  if (!playing) parts.push(...numbers("value", node.value));
  parts.push(...numbers(playing ? "arrives: the gradient of the result" : "gradient", node.gradient));
  if (!node.gradient && order.length) parts.push(make("h3", {textContent: "gradient"}), make("div", {textContent: "none reaches it"}));
  if (node.rules && node.rules.some(r => r)) {
    parts.push(make("h3", {textContent: playing ? "the rule, and what it gives" : "way back"}));
    node.rules.forEach((rule, k) => {
      if (!rule) return;
      const given = node.parts[k];
      parts.push(make("code", {textContent: rule}), make("div", {}, "to ", link(node.in[k]), given && given.norm !== undefined ? `: norm ${given.norm}` : ""));
      if (playing && given && given.all) parts.push(make("code", {textContent: given.all.join("  ")}));
    });
  }
  if (!playing && node.terms) {
    parts.push(make("h3", {textContent: "BPTT as a sum: norm of each step's part"}), make("table", {}, ...node.terms.slice(-16).map(
      ([step, norm, loop]) => make("tr", {}, make("th", {textContent: `t = ${step}` + (node.terms.some(t => t[2] !== loop) ? `, loop ${loop + 1}` : "")}), make("td", {textContent: norm})))));
  }
  if (!playing) {
    if (node.in.length) parts.push(make("h3", {textContent: "computed from"}), list(node.in));
    if (users[i].length) parts.push(make("h3", {textContent: `used by ${users[i].length}`}), list(users[i]));
    const same = series.get(node.series);
    if (same && same.length > 1) parts.push(make("h3", {textContent: "over time: norm of the value (blue), of the gradient (red)"}), plot(same, i));
  }
  $("card").replaceChildren(...parts);
  $("card").hidden = false; $("card").scrollTop = 0;
}

function list(ids) {
  const shown = ids.slice(0, 12).flatMap((j, k) => k ? [", ", link(j)] : [link(j)]);
  return make("div", {}, ...shown, ids.length > 12 ? `, and ${ids.length - 12} more` : "");
}

function plot(ids, here) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), add = (tag, properties, text) => {
    const it = document.createElementNS(svg.namespaceURI, tag);
    for (const [k, v] of Object.entries(properties)) it.setAttribute(k, v);
    if (text !== undefined) it.textContent = text;
    svg.append(it);
  };
  svg.setAttribute("viewBox", "0 0 300 84"); svg.setAttribute("role", "img");
  add("title", {}, "norms over time");
  const first = nodes[ids[0]].step, last = nodes[ids.at(-1)].step, place = i => 8 + 284 * (nodes[i].step - first) / Math.max(1, last - first);
  for (const [what, colour] of [["value", "#0072b2"], ["gradient", "#cc3311"]]) {
    const known = ids.filter(i => nodes[i][what] && nodes[i][what].norm >= 0), top = known.reduce((m, i) => Math.max(m, nodes[i][what].norm), 0) || 1;
    if (!known.length) continue;
    const points = known.map(i => [place(i), 62 - 52 * nodes[i][what].norm / top]);
    add("polyline", {points: points.map(p => p.join()).join(" "), fill: "none", stroke: colour, "stroke-width": 1.6});
    known.forEach((i, k) => { if (known.length < 60 || i === here) add("circle", {cx: points[k][0], cy: points[k][1], r: i === here ? 4 : 2, fill: colour}); });
  }
  add("text", {x: 8, y: 79, "font-size": 10, fill: "currentColor"}, `t = ${first}`);
  add("text", {x: 292, y: 79, "font-size": 10, "text-anchor": "end", fill: "currentColor"}, `t = ${last}`);
  return svg;
}

// ---- search ------------------------------------------------------------------------------------------------------------------------
function search() {
  const what = $("search").value.trim().toLowerCase();
  hits = []; hit = -1;
  if (what) scene.shapes.forEach((s, i) => {
    const i_ = s[NODES].at(-1);
    if (i_ === undefined || ["port", "rail", "legend"].includes(palette[s[ROLE]])) return;
    const said = [nodes[i_].name, nodes[i_].op, `${nodes[i_].name}_${nodes[i_].step}`, ...palette[s[LINES]].map(([w]) => w.map(([t]) => t).join(""))];
    if (said.some(t => t.toLowerCase().includes(what))) hits.push(i);
  });
  const exact = i => { const n = nodes[scene.shapes[i][NODES].at(-1)]; return [n.name, n.op, `${n.name}_${n.step}`].some(t => t.toLowerCase() === what); };
  hits.sort((a, b) => exact(b) - exact(a));
  $("hits").textContent = what ? `${hits.length} found` : "";
  redraw();
}

function nextHit() {
  if (!hits.length) return;
  hit = (hit + 1) % hits.length;
  $("hits").textContent = `${hit + 1} of ${hits.length}`;
  choose(hits[hit], true);
}

// ---- the backward pass, played ------------------------------------------------------------------------------------------------------
function play(to) {
  position = Math.min(order.length, Math.max(0, to));
  $("count").textContent = position ? `${position} of ${order.length}` : "";
  $("back").disabled = $("first").disabled = !position; $("next").disabled = position === order.length;
  if (position === order.length) stop();
  if (!position) { choose(null); return; }
  const node = order[position - 1];
  if (scene.where.has(node)) {
    const i = scene.where.get(node), [x, y] = scene.shapes[i], sx = x * view.s + view.x, sy = y * view.s + view.y;
    chosen = i;
    card(node, true);
    if (sx < 40 || sy < 40 || sx > free() - 40 || sy > canvas.clientHeight - 40) centre(i, view.s);
  }
  card(node, true);
  redraw();
}

function stop() { clearInterval(timer); timer = null; $("play").setAttribute("aria-pressed", false); $("play").textContent = "play backward"; }

function toggle() {
  if (timer) return stop();
  if (position === order.length) play(0);
  $("play").setAttribute("aria-pressed", true); $("play").textContent = "pause";
  play(position + 1);
  timer = setInterval(() => play(position + 1), 900);
}

// ---- hands ------------------------------------------------------------------------------------------------------------------------------
const held = new Map();
let moved = 0, spread = 0;
canvas.addEventListener("pointerdown", event => { canvas.setPointerCapture(event.pointerId); held.set(event.pointerId, event); moved = 0; spread = 0; canvas.classList.add("held"); });
canvas.addEventListener("pointermove", event => {
  const before = held.get(event.pointerId);
  if (!before) {
    const i = at(event);
    if (i !== over) { over = i; canvas.classList.toggle("over", i !== null); canvas.title = i === null ? "" : title(scene.shapes[i][NODES].at(-1)); redraw(); }
    return;
  }
  held.set(event.pointerId, event);
  const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
  moved += Math.abs(dx) + Math.abs(dy);
  if (held.size === 2) {
    const [a, b] = held.values(), bounds = canvas.getBoundingClientRect(), now = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    if (spread) zoom(now / spread, (a.clientX + b.clientX) / 2 - bounds.left, (a.clientY + b.clientY) / 2 - bounds.top);
    spread = now;
  } else if (moved > 3) { touched = true; view.x += dx; view.y += dy; redraw(); }
});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, event => {
  if (held.delete(event.pointerId) && moved <= 3 && name === "pointerup") choose(at(event));
  canvas.classList.remove("held"); spread = 0;
});
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  const bounds = canvas.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), event.clientX - bounds.left, event.clientY - bounds.top);
}, {passive: false});
canvas.addEventListener("pointerleave", () => { if (over !== null) { over = null; redraw(); } });

function walk(key) {                                            // from the chosen shape to a neighbour
  if (chosen === null) { if (scene.shapes.length) choose(scene.shapes.findIndex(s => s[NODES].length), true); return; }
  const node = scene.shapes[chosen][NODES].at(-1), same = series.get(nodes[node]?.series) ?? [];
  const next = key === "ArrowUp" ? scene.out[chosen].map(a => scene.arrows[a][4]) : key === "ArrowDown" ? scene.in[chosen].map(a => scene.arrows[a][3])
    : [scene.where.get(same[same.indexOf(node) + (key === "ArrowRight" ? 1 : -1)])];
  const to = next.find(i => i !== undefined && i >= 0 && scene.shapes[i][NODES].length);
  if (to !== undefined) choose(to, true);
}

document.addEventListener("keydown", event => {
  const typing = event.target === $("search");
  if (event.key === "Escape") { if (typing) { $("search").value = ""; search(); canvas.focus(); } choose(null); stop(); return; }
  if (typing) { if (event.key === "Enter") nextHit(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  const names = Object.keys(data.scenes), actions = {
    "/": () => $("search").focus(), "0": fit, "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), "[": () => { stop(); play(position - 1); },
    "]": () => { stop(); play(position + 1); }, Home: () => { stop(); play(0); }, d: dark, "?": () => $("keys").showModal()};
  names.forEach((name, k) => { actions[k + 1] = () => show(name); });
  if (order.length && !["BUTTON", "INPUT"].includes(event.target.tagName)) actions[" "] = toggle;
  if (event.key.startsWith("Arrow") && event.target.tagName !== "INPUT") actions[event.key] = () => walk(event.key);
  if (event.key === "Enter" && event.target === canvas && chosen !== null) actions.Enter = () => card(scene.shapes[chosen][NODES].at(-1));
  if (actions[event.key]) { event.preventDefault(); actions[event.key](); }
});

function dark() { $("dark").setAttribute("aria-pressed", root.classList.toggle("dark")); redraw(); }

$("title").textContent = data.title;
for (const [name, said] of [["ops", "operations"], ["cells", "cells"], ["folded", "folded"]])
  if (data.scenes[name]) { const button = make("button", {textContent: said, onclick: () => show(name)}); button.dataset.level = name; $("levels").append(button); }
if ($("levels").children.length < 2) $("levels").hidden = true;
if (!order.length) { for (const button of $("player").querySelectorAll("button")) button.disabled = true; $("heat").disabled = true; $("player").title = data.without; }
$("search").addEventListener("input", search);
$("heat").addEventListener("change", redraw);
for (const [id, action] of [["fit", fit], ["dark", dark], ["play", toggle], ["first", () => { stop(); play(0); }], ["back", () => { stop(); play(position - 1); }],
  ["next", () => { stop(); play(position + 1); }], ["help", () => $("keys").showModal()]]) $(id).addEventListener("click", action);
if (matchMedia("(prefers-color-scheme: dark)").matches) dark();
new ResizeObserver(() => touched ? redraw() : fit()).observe(canvas);
addEventListener("beforeprint", () => { root.classList.remove("dark"); fit(); draw(); });
show("ops");
if (order.length) $("back").disabled = $("first").disabled = true;
