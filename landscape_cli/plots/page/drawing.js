// Models in space, and their picture.
// ---------------------------------------------------------------- space
let lows, highs, centre, scales;
const measure = () => {
  lows = [0, 0, 0]; highs = [0, 0, 0];
  state.axes.forEach((dim, k) => {
    if (dim < 0) return;
    let low = Infinity, high = -Infinity;
    for (let i = 0; i < rows; i++) {
      const v = coordinates[i * dims + dim];
      if (v < low) low = v;
      if (v > high) high = v;
    }
    if (low === high) { low -= 0.5; high += 0.5; }
    const margin = 0.04 * (high - low);
    lows[k] = low - margin; highs[k] = high + margin;
  });
  centre = lows.map((low, k) => (low + highs[k]) / 2);
  const spans = lows.map((low, k) => highs[k] - low), widest = Math.max(...spans);
  scales = spans.map((span) => (span > 0 ? 1 / (state.oneScale ? widest : span) : 0));
};
let sx = new Float32Array(rows), sy = new Float32Array(rows), depth = new Float32Array(rows);
let turn, unit, midX, midY;
const aim = () => {
  const cy = Math.cos(state.yaw), syaw = Math.sin(state.yaw), cp = Math.cos(state.pitch), sp = Math.sin(state.pitch);
  // Flat: the first two axes are the screen's. Else the third axis is up, and the camera goes around it.
  turn = flat() ? [1, 0, 0, 0, -1, 0, 0, 0, 0]
    : [cy, -syaw, 0, syaw * sp, cy * sp, -cp, syaw * cp, cy * cp, sp];
  const width = canvas.width, height = canvas.height;
  const spans = highs.map((high, k) => (high - lows[k]) * scales[k]);
  // Room for the labels; turned, no corner of the box leaves the stage.
  const room = flat() ? [0.8 / spans[0], 0.76 / spans[1]] : [0.8 / Math.hypot(...spans), 0.92 / Math.hypot(...spans)];
  unit = Math.min(width * room[0], height * room[1]) * state.zoom;
  midX = width / 2 + state.panX; midY = height / 2 + state.panY;
};
const project = (x, y, z) => {
  const a = (x - centre[0]) * scales[0], b = (y - centre[1]) * scales[1], c = (z - centre[2]) * scales[2];
  return [midX + unit * (turn[0] * a + turn[1] * b + turn[2] * c), midY + unit * (turn[3] * a + turn[4] * b + turn[5] * c),
    turn[6] * a + turn[7] * b + turn[8] * c];
};
const projectAll = () => {
  const [d0, d1, d2] = state.axes, [t0, t1, t2, t3, t4, t5, t6, t7, t8] = turn;
  for (let i = 0; i < rows; i++) {
    const at = i * dims;
    const a = (coordinates[at + d0] - centre[0]) * scales[0], b = (coordinates[at + d1] - centre[1]) * scales[1];
    const c = d2 < 0 ? 0 : (coordinates[at + d2] - centre[2]) * scales[2];
    sx[i] = midX + unit * (t0 * a + t1 * b + t2 * c);
    sy[i] = midY + unit * (t3 * a + t4 * b + t5 * c);
    depth[i] = t6 * a + t7 * b + t8 * c;
  }
};
// The far ones first: sorted into buckets, as an exact order is not seen.
const BUCKETS = 512;
const order = new Int32Array(rows), bucket = new Uint16Array(rows), counts = new Int32Array(BUCKETS + 1);
const byDepth = () => {
  let low = Infinity, high = -Infinity, models = 0;
  for (let i = 0; i < rows; i++) { if (depth[i] < low) low = depth[i]; if (depth[i] > high) high = depth[i]; }
  const factor = high > low ? (BUCKETS - 1) / (high - low) : 0;
  counts.fill(0);
  for (let i = 0; i < rows; i++) {
    if (role[i] || codes[i] < 0) continue;
    bucket[i] = BUCKETS - 1 - Math.round((depth[i] - low) * factor);
    counts[bucket[i] + 1]++;
    models++;
  }
  for (let k = 0; k < BUCKETS; k++) counts[k + 1] += counts[k];
  for (let i = 0; i < rows; i++) if (!role[i] && codes[i] >= 0) order[counts[bucket[i]]++] = i;
  return models;
};

// ---------------------------------------------------------------- drawing
const nice = (low, high, wanted) => {
  const rough = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + 1e-9 * step; v += step) found.push(Math.abs(v) < step / 1e6 ? 0 : v);
  return found;
};
const written = (v) => (Number.isInteger(v) ? String(v) : String(Number(v.toPrecision(4)))).replace("-", "−");
const corners = (k) => {
  // The four edges of the box along axis k, each as the two other axes' ends.
  const other = [0, 1, 2].filter((j) => j !== k);
  return [0, 1, 2, 3].map((n) => { const end = []; end[other[0]] = n & 1; end[other[1]] = n >> 1; return end; });
};
const along = (k, end, value) => project(...[0, 1, 2].map((j) => (j === k ? value : end[j] ? highs[j] : lows[j])));
const drawBox = (ratio) => {
  pen.lineWidth = ratio;
  pen.font = `${11.5 * ratio}px system-ui, sans-serif`;
  pen.textBaseline = "middle";
  const used = flat() ? [0, 1] : [0, 1, 2];
  for (const k of used) {
    const edges = corners(k).filter((end) => !flat() || !end[2]);
    pen.strokeStyle = look.faint;
    pen.beginPath();
    edges.forEach((end) => { pen.moveTo(...along(k, end, lows[k])); pen.lineTo(...along(k, end, highs[k])); });
    pen.stroke();
    // Numbers stand at the outer edge: the lowest one; for the upright axis the leftmost.
    const upright = k === (flat() ? 1 : 2);
    const rank = (end) => { const p = along(k, end, (lows[k] + highs[k]) / 2); return upright ? -p[0] : p[1]; };
    const outer = edges.reduce((best, end) => (rank(end) > rank(best) ? end : best));
    const from = along(k, outer, lows[k]), to = along(k, outer, highs[k]);
    const length = Math.hypot(to[0] - from[0], to[1] - from[1]);
    if (length < 40 * ratio) continue; // seen end on
    const mid = along(k, outer, (lows[k] + highs[k]) / 2);
    const out = upright ? [-1, 0] : [mid[0] < midX - 1 ? -0.5 : mid[0] > midX + 1 ? 0.5 : 0, 1];
    pen.strokeStyle = look.line;
    pen.beginPath(); pen.moveTo(from[0], from[1]); pen.lineTo(to[0], to[1]); pen.stroke();
    pen.fillStyle = look.muted;
    pen.textAlign = upright ? "right" : out[0] < 0 ? "right" : out[0] > 0 ? "left" : "center";
    for (const v of nice(lows[k], highs[k], Math.max(2, Math.min(6, length / (55 * ratio))))) {
      const [x, y] = along(k, outer, v);
      pen.beginPath(); pen.moveTo(x, y); pen.lineTo(x + 5 * ratio * out[0], y + 5 * ratio * out[1]); pen.stroke();
      pen.fillText(written(v), x + 9 * ratio * out[0], y + 12 * ratio * out[1]);
    }
    pen.fillStyle = look.ink;
    const label = data.labels[state.axes[k]];
    if (upright) {
      pen.save();
      pen.translate(mid[0] - 48 * ratio, mid[1]);
      pen.rotate(-Math.PI / 2);
      pen.textAlign = "center";
      pen.fillText(label, 0, 0);
      pen.restore();
    } else {
      const long = pen.measureText(label).width, x = mid[0] + 34 * ratio * out[0];
      const left = pen.textAlign === "right" ? x - long : pen.textAlign === "left" ? x : x - long / 2;
      pen.textAlign = "left";
      pen.fillText(label, Math.max(4, Math.min(left, canvas.width - long - 4)), mid[1] + 34 * ratio);
    }
  }
};
const path = (members) => {
  pen.beginPath();
  for (let i = 0; i < members.length; i++) pen[i ? "lineTo" : "moveTo"](sx[members[i]], sy[members[i]]);
  pen.stroke();
};
const drawTracks = (ratio) => {
  pen.lineWidth = ratio;
  pen.globalAlpha = Math.min(0.7, Math.max(0.12, 40 / tracks.length));
  const texts = state.color && state.color.type === "i4";
  for (const track of tracks) {
    const code = codes[track[0]];
    if (track.every((row) => codes[row] < 0)) continue;
    const same = texts && track.every((row) => codes[row] === code);
    pen.strokeStyle = same ? atlas.shades[code] : "#9a9a9a";
    path(track);
  }
  pen.globalAlpha = 1;
};
const layer = document.createElement("canvas"), film = layer.getContext("2d");
let frame, inks;
const drawModels = () => {
  const { width, height } = canvas, edge = atlas.cell;
  if (!frame || frame.width !== width || frame.height !== height) {
    layer.width = width; layer.height = height;
    frame = film.createImageData(width, height);
    inks = new Uint32Array(frame.data.buffer);
  }
  inks.fill(0);
  const models = byDepth();
  for (let k = 0; k < models; k++) {
    const i = order[k], x = Math.round(sx[i]), y = Math.round(sy[i]);
    if (x < edge || y < edge || x >= width - edge || y >= height - edge) continue;
    const { offsets, colors } = stampAt(codes[i], marks[i], width), at = y * width + x;
    for (let j = 0; j < offsets.length; j++) {
      const over = colors[j], alpha = over >>> 24, place = at + offsets[j], under = inks[place];
      if (alpha > 243 || under >>> 24 < alpha) { inks[place] = over; continue; }
      const rest = 255 - alpha;
      const r = ((over & 255) * alpha + (under & 255) * rest) >> 8;
      const g = ((over >> 8 & 255) * alpha + (under >> 8 & 255) * rest) >> 8;
      const b = ((over >> 16 & 255) * alpha + (under >> 16 & 255) * rest) >> 8;
      inks[place] = (under & 0xff000000) | (b << 16) | (g << 8) | r;
    }
  }
  film.putImageData(frame, 0, 0);
  pen.drawImage(layer, 0, 0);
};
const star = (x, y, r) => {
  pen.beginPath();
  for (let k = 0; k < 10; k++) {
    const angle = (k / 5 - 0.5) * Math.PI, at = k % 2 ? r * 0.42 : r;
    pen.lineTo(x + at * Math.cos(angle), y + at * Math.sin(angle));
  }
  pen.closePath();
};
const drawReferences = (ratio) => {
  if (state.shown.geodesic && geodesic.length > 1) {
    pen.strokeStyle = look.ink;
    pen.lineWidth = 1.8 * ratio;
    path(geodesic);
  }
  if (!state.shown.references) return;
  pen.lineJoin = "round";
  for (let i = 0; i < rows; i++) {
    if (role[i] !== 1 && role[i] !== 3) continue;
    const x = sx[i], y = sy[i], r = 7 * ratio;
    if (role[i] === 3) star(x, y, 1.25 * r);
    else { pen.beginPath(); pen2 = pen; pen.save(); pen.translate(x, y); plus(r * 1.1, 45); pen.restore(); }
    pen.fillStyle = look.ink; pen.strokeStyle = look.page; pen.lineWidth = 1.2 * ratio;
    pen.fill(); pen.stroke();
    pen.textAlign = "left";
    pen.font = `${12 * ratio}px system-ui, sans-serif`;
    pen.lineWidth = 3 * ratio;
    const name = role[i] === 3 ? "truth" : "ignorance";
    pen.strokeText(name, x + 11 * ratio, y - 9 * ratio);
    pen.fillText(name, x + 11 * ratio, y - 9 * ratio);
  }
};
const drawFocus = (ratio) => {
  const row = state.focus;
  if (row < 0) return;
  pen.strokeStyle = look.ink;
  if (trackOf[row] >= 0 && state.shown.tracks) { pen.lineWidth = 1.6 * ratio; path(tracks[trackOf[row]]); }
  pen.lineWidth = 2 * ratio;
  pen.beginPath();
  pen.arc(sx[row], sy[row], 8 * ratio, 0, 7);
  pen.stroke();
};
const draw = () => {
  waiting = false;
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(stage.clientWidth * ratio)), height = Math.max(1, Math.round(stage.clientHeight * ratio));
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  pen.clearRect(0, 0, width, height);
  aim();
  projectAll();
  drawBox(ratio);
  if (state.shown.tracks) drawTracks(ratio);
  drawModels();
  drawReferences(ratio);
  drawFocus(ratio);
  if (state.focus >= 0) placeTip(ratio);
};
let waiting = false;
const redraw = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };
