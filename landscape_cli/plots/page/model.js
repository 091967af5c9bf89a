// What the page holds, and how it colours it. The three scripts of this folder are one, in one scope.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const canvas = $("view"), pen = canvas.getContext("2d"), stage = $("stage"), tip = $("tip");

// ---------------------------------------------------------------- what the page holds
const unpack = (text, kind) => {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new { f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array }[kind](bytes.buffer);
};
const rows = data.rows, dims = data.labels.length;
const coordinates = unpack(data.coordinates, "f4");
const role = unpack(data.roles, "u1"); // 0 model, 1 ignorance, 2 geodesic, 3 truth
const columns = data.columns.map((c) => ({ ...c, values: unpack(c.data, c.type) }));
const named = (name) => columns.find((c) => c.name === name);
const tracks = [];
{
  const flat = unpack(data.tracks, "i4"); // row numbers, -1 after each track
  for (let i = 0, start = 0; i < flat.length; i++)
    if (flat[i] < 0) { tracks.push(flat.subarray(start, i)); start = i + 1; }
}
const trackOf = new Int32Array(rows).fill(-1);
tracks.forEach((track, number) => track.forEach((row) => { trackOf[row] = number; }));
const geodesic = unpack(data.geodesic, "i4");

const state = {
  axes: data.axes.slice(), color: named(data.color) || null, marker: named(data.marker) || null,
  hidden: new Set(), shown: { geodesic: true, references: true, tracks: true }, oneScale: data.one_scale,
  yaw: 0, pitch: 0, zoom: 1, panX: 0, panY: 0, focus: -1,
};
const flat = () => state.axes[2] < 0;
const reset = () => Object.assign(state, flat()
  ? { yaw: 0, pitch: 0, zoom: 1, panX: 0, panY: 0 }
  : { yaw: -0.55, pitch: 0.42, zoom: 1, panX: 0, panY: 0 });

// ---------------------------------------------------------------- colours
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const anchors = data.viridis.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
const SHADES = 64;
const shade = (t) => {
  // The end that would drown in the page is left out: yellow on white, dark violet on black.
  const along = (dark.matches ? 0.18 + 0.82 * t : 0.92 * t) * (anchors.length - 1);
  const low = Math.min(Math.floor(along), anchors.length - 2), part = along - low;
  return `rgb(${anchors[low].map((a, k) => Math.round(a + part * (anchors[low + 1][k] - a))).join(" ")})`;
};
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
let look, atlas, codes, marks;
const palette = () => data.colors.map((c) => (c === "#000000" && dark.matches ? "#ffffff" : c));

const SHAPES = [
  (r) => pen2.arc(0, 0, r, 0, 7),
  (r) => polygon(3, r * 1.25, -90), (r) => polygon(4, r * 1.25, 45), (r) => polygon(4, r * 1.3, 0),
  (r) => polygon(3, r * 1.25, 90), (r) => plus(r * 1.2, 0), (r) => plus(r * 1.2, 45), (r) => polygon(5, r * 1.2, -90),
  (r) => polygon(3, r * 1.25, 180), (r) => polygon(3, r * 1.25, 0),
];
let pen2;
const polygon = (corners, r, turn) => {
  for (let k = 0; k < corners; k++) {
    const angle = (turn / 180 + (2 * k) / corners) * Math.PI;
    pen2.lineTo(r * Math.cos(angle), r * Math.sin(angle));
  }
  pen2.closePath();
};
const plus = (r, turn) => {
  const w = r / 2.6, corner = [[w, w], [w, r], [-w, r], [-w, w], [-r, w], [-r, -w], [-w, -w], [-w, -r], [w, -r], [w, -w], [r, -w], [r, w]];
  const c = Math.cos((turn * Math.PI) / 180), s = Math.sin((turn * Math.PI) / 180);
  corner.forEach(([x, y]) => pen2.lineTo(c * x - s * y, s * x + c * y));
  pen2.closePath();
};
const stamp = (context, x, y, r, shape, color) => {
  pen2 = context;
  context.save();
  context.translate(x, y);
  context.beginPath();
  SHAPES[shape % SHAPES.length](r);
  context.fillStyle = color;
  context.fill();
  context.lineWidth = Math.max(0.4, r * 0.16);
  context.strokeStyle = look.page;
  context.stroke();
  context.restore();
};

// Each row's colour (a column of the atlas of stamps) and marker (a row of it); -1: hidden.
const recolor = () => {
  look = { page: ink("--page"), ink: ink("--ink"), muted: ink("--muted"), line: ink("--line"), faint: ink("--faint") };
  look.missing = dark.matches ? "#6d6d6d" : "#b3b3b3";
  const column = state.color, list = palette();
  codes = new Int16Array(rows);
  marks = new Uint8Array(rows);
  let shades;
  if (!column) shades = [list[0]];
  else if (column.type !== "i4") {
    shades = Array.from({ length: SHADES }, (_, k) => shade(k / (SHADES - 1)));
    const scale = column.log ? Math.log : (v) => v, low = scale(column.low), span = scale(column.high) - low || 1;
    for (let i = 0; i < rows; i++) {
      const v = column.values[i];
      codes[i] = Number.isNaN(v) ? SHADES : Math.round(((scale(v) - low) / span) * (SHADES - 1));
    }
  } else {
    shades = list;
    for (let i = 0; i < rows; i++) {
      const code = column.values[i];
      codes[i] = code < 0 ? list.length : code % list.length;
      marks[i] = code < 0 ? 0 : Math.floor(code / list.length) % SHAPES.length;
      if (state.hidden.has(code)) codes[i] = -1;
    }
  }
  shades = [...shades, look.missing];
  if (state.marker)
    for (let i = 0; i < rows; i++) marks[i] = Math.max(0, state.marker.values[i]) % SHAPES.length;
  const ratio = window.devicePixelRatio || 1, models = Math.max(1, data.models);
  const radius = Math.min(5, Math.max(1.8, 90 / Math.sqrt(models))) * ratio, cell = Math.ceil(radius * 2.9) + 2;
  const sheet = document.createElement("canvas");
  sheet.width = cell * shades.length;
  sheet.height = cell * SHAPES.length;
  const context = sheet.getContext("2d", { willReadFrequently: true }), used = new Set(marks);
  shades.forEach((color, x) => used.forEach((y) => stamp(context, (x + 0.5) * cell, (y + 0.5) * cell, radius, y, color)));
  atlas = { cell, shades, width: 0, stamps: [], pixels: context.getImageData(0, 0, sheet.width, sheet.height), sheet };
};
// Where the pixels of a stamp lie in a picture of this width, from the stamp's centre, and their colours. Pixels are
// written by hand: tens of thousands of stamps a frame are too many for a canvas without a graphics card.
const stampAt = (code, mark, width) => {
  if (atlas.width !== width) { atlas.width = width; atlas.stamps = []; }
  const number = mark * atlas.shades.length + code;
  if (!atlas.stamps[number]) {
    const { cell, sheet, pixels } = atlas, whole = new Uint32Array(pixels.data.buffer), offsets = [], colors = [];
    for (let y = 0; y < cell; y++)
      for (let x = 0; x < cell; x++) {
        const color = whole[(mark * cell + y) * sheet.width + code * cell + x];
        if (color >>> 24 < 12) continue;
        offsets.push((y - (cell >> 1)) * width + x - (cell >> 1));
        colors.push(color);
      }
    atlas.stamps[number] = { offsets: Int32Array.from(offsets), colors: Uint32Array.from(colors) };
  }
  return atlas.stamps[number];
};
