// A measured plane as a surface to turn: its mesh, the networks that span it, trajectories over it.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const canvas = $("view"), pen = canvas.getContext("2d"), stage = $("stage"), tip = $("tip");
const unpack = (text, kind) => {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new { f4: Float32Array, i4: Int32Array }[kind](bytes.buffer);
};
const vx = unpack(data.x, "f4"), vy = unpack(data.y, "f4"), triangles = unpack(data.triangles, "i4");
const centres = unpack(data.centres, "i4"), nodes = vx.length - centres.length / 4; // a centre: the mean of four nodes
const count = vx.length, faces = triangles.length / 3;
const measures = data.measures.map((m) => ({ ...m, values: unpack(m.values, "f4") }));
for (const m of measures) m.least = m.values.reduce((least, v) => (v > 0 && v < least ? v : least), Infinity);
const tracks = data.tracks.map((t) => ({ ...t, points: t.points.map((p) => ({ ...p, run: t.name })) }));
const marks = [...data.corners, ...tracks.flatMap((t) => t.points)]; // what can be read out

const state = {
  measure: measures[0], log: measures[0].log, cap: 100, shown: { mesh: true, tracks: tracks.length > 0 },
  yaw: -0.6, pitch: 0.62, zoom: 1, panX: 0, panY: 0, focus: -1,
};
const reset = () => Object.assign(state, { yaw: -0.6, pitch: 0.62, zoom: 1, panX: 0, panY: 0 });

// ---------------------------------------------------------------- colours
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const anchors = data.viridis.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
const viridis = (t) => {
  const along = Math.max(0, Math.min(1, t)) * (anchors.length - 1), low = Math.min(Math.floor(along), anchors.length - 2);
  return anchors[low].map((a, k) => a + (along - low) * (anchors[low + 1][k] - a));
};
const rgb = (color, light) => `rgb(${color.map((c) => Math.round(Math.min(255, c * light))).join(" ")})`;
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let look;
const relook = () => {
  look = { page: ink("--page"), ink: ink("--ink"), muted: ink("--muted"), line: ink("--line"), faint: ink("--faint") };
};
const shadeOf = (track) => {
  const color = data.colors[(1 + track) % data.colors.length];
  return color === "#000000" && dark.matches ? "#ffffff" : color;
};

// ---------------------------------------------------------------- space
// Heights are values, or their logarithms, cut off at the cap; NaN where there is none, and no face reaches there.
const written = (v) => (Number.isInteger(v) && Math.abs(v) < 1e6 ? String(v) : String(Number(v.toPrecision(4)))).replace("-", "−");
// A loss of zero stands at the lowest one that has a logarithm.
const scaled = (v) => (state.log ? Math.log10(Math.max(v, state.measure.least)) : v);
const unscaled = (z) => (state.log ? 10 ** z : z);
let vz, low, high, top, lengths;
const measure = () => {
  vz = new Float32Array(count);
  for (let i = 0; i < nodes; i++) { const v = state.measure.values[i]; vz[i] = Number.isFinite(v) ? scaled(v) : NaN; }
  for (let i = nodes, c = 0; i < count; i++, c += 4)
    vz[i] = (vz[centres[c]] + vz[centres[c + 1]] + vz[centres[c + 2]] + vz[centres[c + 3]]) / 4;
  low = Infinity; high = -Infinity;
  for (const z of vz) { if (z < low) low = z; if (z > high) high = z; }
  if (!(low <= high)) { low = 0; high = 1; }
  if (low === high) { low -= 0.5; high += 0.5; }
  top = low + (high - low) * state.cap / 100;
  lengths = [data.range[0][1] - data.range[0][0], data.range[1][1] - data.range[1][0]];
  $("low").textContent = written(unscaled(low));
  $("high").textContent = (state.cap < 100 ? "≥ " : "") + written(unscaled(top)) + (state.log ? " (log)" : "");
  $("broken").textContent = state.measure.broken ? `${state.measure.broken} points have no finite value: holes` : "";
};
let turn, unit, midX, midY;
const aim = () => {
  const cy = Math.cos(state.yaw), sy = Math.sin(state.yaw), cp = Math.cos(state.pitch), sp = Math.sin(state.pitch);
  turn = [cy, -sy, 0, sy * sp, cy * sp, -cp, sy * cp, cy * cp, sp];
  const { width, height } = canvas;
  // As large as the box fits when it is seen as at first.
  const flat = Math.hypot(lengths[0] / (widest() || lengths[0]), lengths[1] / (widest() || lengths[1]));
  unit = Math.min((0.8 * width) / flat, (0.88 * height) / (0.58 * flat + 0.45)) * state.zoom;
  midX = width / 2 + state.panX; midY = height / 2 + state.panY;
};
const widest = () => (data.equal ? Math.max(...lengths) : 0);
const place = (x, y, z) => {
  // A box as wide as the plane, and half as high.
  const across = widest() || lengths[0], up = widest() || lengths[1];
  const a = (x - (data.range[0][0] + data.range[0][1]) / 2) / across, b = (y - (data.range[1][0] + data.range[1][1]) / 2) / up;
  const c = 0.55 * ((Math.min(z, top) - low) / (top - low) - 0.5);
  return [a, b, c];
};
const project = (x, y, z) => {
  const [a, b, c] = place(x, y, z);
  return [midX + unit * (turn[0] * a + turn[1] * b), midY + unit * (turn[3] * a + turn[4] * b + turn[5] * c),
    turn[6] * a + turn[7] * b + turn[8] * c];
};

// ---------------------------------------------------------------- drawing
const sx = new Float32Array(count), sy = new Float32Array(count), depth = new Float32Array(count);
const order = new Uint32Array(faces), far = new Float32Array(faces);
const light = (i, j, k) => {
  const p = place(vx[i], vy[i], vz[i]), q = place(vx[j], vy[j], vz[j]), r = place(vx[k], vy[k], vz[k]);
  const u = q.map((v, n) => v - p[n]), w = r.map((v, n) => v - p[n]);
  const n = [u[1] * w[2] - u[2] * w[1], u[2] * w[0] - u[0] * w[2], u[0] * w[1] - u[1] * w[0]];
  const size = Math.hypot(...n) || 1, side = (0.35 * n[0] - 0.45 * n[1] + 0.82 * n[2]) / size;
  return 0.62 + 0.4 * Math.abs(side);
};
const drawSurface = (ratio) => {
  for (let i = 0; i < count; i++) [sx[i], sy[i], depth[i]] = project(vx[i], vy[i], vz[i]);
  let seen = 0;
  for (let f = 0; f < faces; f++) {
    const [i, j, k] = [triangles[3 * f], triangles[3 * f + 1], triangles[3 * f + 2]];
    const at = depth[i] + depth[j] + depth[k];
    if (Number.isNaN(vz[i] + vz[j] + vz[k])) continue;
    far[f] = at;
    order[seen++] = f;
  }
  const list = order.subarray(0, seen).sort((f, g) => far[f] - far[g]);
  pen.lineJoin = "round";
  pen.lineWidth = (state.shown.mesh ? 0.7 : 0.8) * ratio;
  for (const f of list) {
    const [i, j, k] = [triangles[3 * f], triangles[3 * f + 1], triangles[3 * f + 2]];
    const mean = (Math.min(vz[i], top) + Math.min(vz[j], top) + Math.min(vz[k], top)) / 3;
    const color = viridis((mean - low) / (top - low)), bright = light(i, j, k);
    pen.fillStyle = rgb(color, bright);
    pen.beginPath(); pen.moveTo(sx[i], sy[i]); pen.lineTo(sx[j], sy[j]); pen.lineTo(sx[k], sy[k]); pen.closePath();
    pen.fill();
    // A seam in the face's own colour closes the hairlines between faces; the mesh is the rim of each cell's fan.
    pen.strokeStyle = pen.fillStyle;
    pen.stroke();
    if (state.shown.mesh) {
      pen.strokeStyle = rgb(color, bright * 0.8);
      pen.beginPath(); pen.moveTo(sx[j], sy[j]); pen.lineTo(sx[k], sy[k]); pen.stroke();
    }
  }
};
const nice = (from, to, wanted) => {
  const rough = (to - from) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough), found = [];
  for (let v = Math.ceil(from / step) * step; v <= to + 1e-9 * step; v += step) found.push(Math.abs(v) < step / 1e6 ? 0 : v);
  return found;
};
const heights = () => {
  // Where numbers stand on the upright axis: of logarithms at powers of ten, and between them if there are few.
  if (!state.log || top - low < 0.6) return nice(unscaled(low), unscaled(top), 5).map(scaled);
  const step = Math.max(1, Math.round((top - low) / 6)), found = [];
  for (let k = Math.floor(low); k <= top; k += step)
    for (const m of top - low < 3 ? [0, Math.log10(2), Math.log10(5)] : [0])
      if (k + m >= low && k + m <= top) found.push(k + m);
  return found;
};
const label = (text, x, y, side) => {
  const wide = pen.measureText(text).width, left = side < -0.2 ? x - wide : side > 0.2 ? x : x - wide / 2;
  pen.textAlign = "left";
  pen.fillText(text, Math.max(4, Math.min(left, canvas.width - wide - 4)), y);
  pen.textAlign = "center";
};
const drawFloor = (ratio) => {
  const [[x0, x1], [y0, y1]] = data.range;
  pen.font = `${11.5 * ratio}px system-ui, sans-serif`;
  pen.textAlign = "center"; pen.textBaseline = "middle";
  pen.lineWidth = ratio;
  pen.strokeStyle = look.line;
  const edge = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]].map(([x, y]) => project(x, y, low));
  pen.beginPath(); edge.forEach((p, n) => pen[n ? "lineTo" : "moveTo"](p[0], p[1])); pen.closePath(); pen.stroke();
  const centre = project((x0 + x1) / 2, (y0 + y1) / 2, low);
  // Numbers stand at the nearer one of two edges.
  for (const [axis, from, to] of [[0, x0, x1], [1, y0, y1]]) {
    const at = (v, end) => (axis ? project(end ? x1 : x0, v, low) : project(v, end ? y1 : y0, low));
    const end = at((from + to) / 2, 1)[1] > at((from + to) / 2, 0)[1] ? 1 : 0;
    const mid = at((from + to) / 2, end), ends = [at(from, end), at(to, end)];
    if (Math.hypot(ends[0][0] - ends[1][0], ends[0][1] - ends[1][1]) < 40 * ratio) continue;
    const size = Math.hypot(mid[0] - centre[0], mid[1] - centre[1]) || 1;
    const out = [(mid[0] - centre[0]) / size, (mid[1] - centre[1]) / size];
    pen.fillStyle = look.muted;
    for (const v of nice(from, to, 5)) {
      const [x, y] = at(v, end);
      pen.beginPath(); pen.moveTo(x, y); pen.lineTo(x + 5 * ratio * out[0], y + 5 * ratio * out[1]); pen.stroke();
      pen.fillText(written(v), x + 16 * ratio * out[0], y + 13 * ratio * out[1]);
    }
    pen.fillStyle = look.ink;
    label(data.axes[axis], mid[0] + 40 * ratio * out[0], mid[1] + 40 * ratio * out[1], out[0]);
  }
  const corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]], left = corners.reduce((best, c) => (project(...c, low)[0] < project(...best, low)[0] ? c : best));
  const foot = project(...left, low), head = project(...left, top);
  pen.beginPath(); pen.moveTo(foot[0], foot[1]); pen.lineTo(head[0], head[1]); pen.stroke();
  if (Math.abs(foot[1] - head[1]) < 40 * ratio) return;
  pen.textAlign = "right"; pen.fillStyle = look.muted;
  for (const z of heights()) {
    const [x, y] = project(...left, z);
    pen.beginPath(); pen.moveTo(x, y); pen.lineTo(x - 5 * ratio, y); pen.stroke();
    pen.fillText(written(unscaled(z)), x - 8 * ratio, y);
  }
};
const heightOf = (mark) => {
  const v = mark.z[state.measure.name];
  return v === null || v === undefined ? NaN : scaled(v);
};
const markAt = (mark) => {
  const z = heightOf(mark);
  return project(mark.x, mark.y, Number.isNaN(z) ? low : z);
};
const drawMarks = (ratio) => {
  if (state.shown.tracks)
    tracks.forEach((track, number) => {
      const places = track.points.map(markAt);
      for (const [width, color] of [[3.4, look.page], [1.8, shadeOf(number)]]) {
        pen.strokeStyle = color; pen.lineWidth = width * ratio;
        pen.beginPath(); places.forEach((p, n) => pen[n ? "lineTo" : "moveTo"](p[0], p[1])); pen.stroke();
      }
      pen.fillStyle = shadeOf(number);
      places.forEach((p) => { pen.beginPath(); pen.arc(p[0], p[1], 2.6 * ratio, 0, 7); pen.fill(); });
    });
  pen.textAlign = "left"; pen.textBaseline = "middle";
  pen.font = `bold ${14 * ratio}px system-ui, sans-serif`;
  for (const corner of data.corners) {
    const [x, y] = markAt(corner);
    pen.strokeStyle = look.page; pen.fillStyle = look.ink; pen.lineWidth = 2 * ratio;
    pen.beginPath(); pen.arc(x, y, 5 * ratio, 0, 7); pen.fill(); pen.stroke();
    pen.lineWidth = 3.5 * ratio;
    pen.strokeText(corner.role, x + 8 * ratio, y - 9 * ratio);
    pen.fillText(corner.role, x + 8 * ratio, y - 9 * ratio);
  }
  if (state.focus < 0) return;
  const [x, y] = markAt(marks[state.focus]);
  pen.strokeStyle = look.ink; pen.lineWidth = 2 * ratio;
  pen.beginPath(); pen.arc(x, y, 9 * ratio, 0, 7); pen.stroke();
  const box = tip.getBoundingClientRect(), left = x / ratio + 16;
  tip.style.left = `${Math.max(4, left + box.width > stage.clientWidth ? x / ratio - 16 - box.width : left)}px`;
  tip.style.top = `${Math.max(4, Math.min(y / ratio + 12, stage.clientHeight - box.height - 4))}px`;
};
const draw = () => {
  waiting = false;
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(stage.clientWidth * ratio)), height = Math.max(1, Math.round(stage.clientHeight * ratio));
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  pen.clearRect(0, 0, width, height);
  aim();
  drawFloor(ratio);
  drawSurface(ratio);
  drawMarks(ratio);
};
let waiting = false;
const redraw = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };

// ---------------------------------------------------------------- one network
const focus = (number, say) => {
  if (number === state.focus && !say) return;
  state.focus = number;
  tip.hidden = number < 0;
  if (number >= 0) {
    const mark = marks[number], title = document.createElement("strong"), list = document.createElement("dl");
    title.textContent = (mark.role ? `${mark.role} ` : "") + mark.name;
    const told = [title.textContent], entries = measures.map((m) => [m.title, mark.z[m.name]]);
    if (mark.off !== undefined) entries.push(["off the plane", mark.off]);
    for (const [name, value] of entries) {
      const term = document.createElement("dt"), text = document.createElement("dd");
      term.textContent = name;
      text.textContent = value === null || value === undefined ? "no finite value" : written(value);
      list.append(term, text);
      told.push(`${name} ${text.textContent}`);
    }
    tip.replaceChildren(title, list);
    if (say) $("said").textContent = told.join(", ");
  }
  redraw();
};
const seen = (number) => number < data.corners.length || state.shown.tracks;
const nearest = (x, y, within) => {
  let best = -1, least = within * within;
  marks.forEach((mark, number) => {
    if (!seen(number)) return;
    const [a, b] = markAt(mark), square = (a - x) ** 2 + (b - y) ** 2;
    if (square < least) { least = square; best = number; }
  });
  return best;
};

// ---------------------------------------------------------------- ways to move
const rotate = (dx, dy) => {
  state.yaw += dx;
  state.pitch = Math.max(0, Math.min(Math.PI / 2, state.pitch + dy));
  redraw();
};
const LARGEST = 100;
const flat = () => false;
const step = (by) => {
  for (let k = 1; k <= marks.length; k++) {
    const from = state.focus < 0 ? (by > 0 ? -1 : 0) : state.focus, number = (from + by * k + marks.length * k) % marks.length;
    if (seen(number)) { focus(number, true); return; }
  }
};
// ---------------------------------------------------------------- the panel
const show = () => {
  $("log").checked = state.log;
  $("log").parentElement.hidden = !state.measure.loggable;
  measure();
  redraw();
};
measures.forEach((m, number) => {
  const option = document.createElement("option");
  option.value = number;
  option.textContent = m.title;
  $("measure").append(option);
});
$("measure").addEventListener("change", (event) => {
  state.measure = measures[event.target.value];
  state.log = state.measure.log;
  show();
});
$("log").addEventListener("change", (event) => { state.log = event.target.checked; show(); });
$("cap").addEventListener("input", (event) => { state.cap = Number(event.target.value); show(); });
$("mesh").addEventListener("change", (event) => { state.shown.mesh = event.target.checked; redraw(); });
$("tracks").parentElement.hidden = !tracks.length;
$("tracks").addEventListener("change", (event) => { state.shown.tracks = event.target.checked; focus(-1, false); redraw(); });
$("bar").style.background = `linear-gradient(to right, ${Array.from({ length: 17 }, (_, k) => rgb(viridis(k / 16), 1)).join(", ")})`;
$("networks").replaceChildren(...data.corners.map((corner) => {
  const line = document.createElement("div");
  line.textContent = `${corner.role}  ${corner.name}`;
  return line;
}), ...tracks.map((track, number) => {
  const line = document.createElement("div"), dot = document.createElement("span");
  dot.textContent = "● ";
  dot.style.color = shadeOf(number);
  line.append(dot, track.name);
  return line;
}));
$("reset").addEventListener("click", () => back());
dark.addEventListener("change", () => { relook(); redraw(); });
new ResizeObserver(redraw).observe(stage);
relook();
show();
