// Pointer, keys, the panel beside the picture, and what is said of one model.
// ---------------------------------------------------------------- one model
const valueOf = (column, row) => {
  const v = column.values[row];
  if (column.type === "i4") return v < 0 ? null : column.names[v];
  return Number.isNaN(v) ? null : String(Number(v.toPrecision(6))).replace(/^-/, "−");
};
const ROLES = ["", "ignorance", "geodesic", "truth"];
const nameOf = (row) => {
  const column = named("name");
  return (column && valueOf(column, row)) || ROLES[role[row]] || `model ${row + 1}`;
};
const focus = (row, say) => {
  if (row === state.focus && !say) return;
  state.focus = row;
  tip.hidden = row < 0;
  if (row >= 0) {
    const title = document.createElement("strong"), list = document.createElement("dl"), told = [nameOf(row)];
    title.textContent = told[0];
    for (const column of columns) {
      const value = column.name === "name" ? null : valueOf(column, row);
      if (value === null) continue;
      const term = document.createElement("dt"), text = document.createElement("dd");
      term.textContent = column.name;
      text.textContent = value;
      list.append(term, text);
      told.push(`${column.name} ${value}`);
    }
    tip.replaceChildren(title, list);
    if (say) $("said").textContent = told.join(", ");
  }
  redraw();
};
const placeTip = (ratio) => {
  const x = sx[state.focus] / ratio, y = sy[state.focus] / ratio, box = tip.getBoundingClientRect();
  const left = x + 16 + box.width > stage.clientWidth ? x - 16 - box.width : x + 16;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 12, stage.clientHeight - box.height - 4))}px`;
};
const seen = (i) => (role[i] ? (role[i] === 2 ? state.shown.geodesic : state.shown.references) : codes[i] >= 0);
const nearest = (x, y, within) => {
  let best = -1, least = within * within;
  for (let i = 0; i < rows; i++) {
    if (!seen(i)) continue;
    const dx = sx[i] - x, dy = sy[i] - y, square = dx * dx + dy * dy;
    // Of two as near the front one is meant.
    if (square < least || (square === least && best >= 0 && depth[i] < depth[best])) { least = square; best = i; }
  }
  return best;
};

// ---------------------------------------------------------------- ways to move
const rotate = (dx, dy) => {
  state.yaw += dx;
  state.pitch = Math.max(-Math.PI / 2, Math.min(Math.PI / 2, state.pitch + dy));
  redraw();
};
const LARGEST = 200;
const step = (by) => {
  for (let k = 1, row = state.focus < 0 ? (by > 0 ? -1 : rows) : state.focus; k <= rows; k++) {
    row = (row + by + rows) % rows;
    if (seen(row)) { focus(row, true); return; }
  }
};
// ---------------------------------------------------------------- the panel
const LISTED = 500;
const swatch = (shape, color) => {
  const icon = document.createElement("canvas");
  icon.width = icon.height = 28;
  icon.setAttribute("aria-hidden", "true");
  stamp(icon.getContext("2d"), 14, 14, 9, shape, color);
  return icon;
};
const fillLegend = () => {
  const column = state.color, texts = column && column.type === "i4", list = palette();
  $("legend").replaceChildren();
  $("numbers").hidden = !column || texts;
  if (column && !texts) {
    const stops = Array.from({ length: 17 }, (_, k) => shade(k / 16));
    $("bar").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    $("low").textContent = written(column.low);
    $("high").textContent = written(column.high) + (column.log ? " (log)" : "");
  }
  if (texts) {
    const count = new Map();
    for (let i = 0; i < rows; i++) if (!role[i]) count.set(column.values[i], (count.get(column.values[i]) || 0) + 1);
    const entries = column.names.map((name, code) => [code, name]).filter(([code]) => count.has(code));
    if (count.has(-1)) entries.push([-1, `no ${column.name}`]);
    for (const [code, name] of entries.slice(0, LISTED)) {
      const button = document.createElement("button");
      button.type = "button";
      const text = document.createElement("span");
      text.textContent = `${name} (${count.get(code)})`;
      const shape = state.marker || code < 0 ? 0 : Math.floor(code / list.length);
      button.append(swatch(shape, code < 0 ? look.missing : list[code % list.length]), text);
      button.setAttribute("aria-pressed", String(!state.hidden.has(code)));
      button.addEventListener("click", () => {
        if (!state.hidden.delete(code)) state.hidden.add(code);
        button.setAttribute("aria-pressed", String(!state.hidden.has(code)));
        focus(-1, false);
        recolor();
        redraw();
      });
      $("legend").append(button);
    }
    if (entries.length > LISTED) {
      const rest = document.createElement("p");
      rest.className = "note";
      rest.textContent = `and ${entries.length - LISTED} more, not listed`;
      $("legend").append(rest);
    }
  }
  $("shapes").replaceChildren(...(state.marker ? state.marker.names : []).map((name, code) => {
    const line = document.createElement("div"), text = document.createElement("span");
    text.textContent = name;
    line.append(swatch(code, look.muted), text);
    return line;
  }));
};
const options = (select, entries, chosen) => {
  for (const [value, text] of entries) {
    const option = document.createElement("option");
    option.value = value;
    option.textContent = text;
    option.selected = String(value) === String(chosen);
    select.append(option);
  }
};
const recast = () => { recolor(); fillLegend(); redraw(); };
const colorable = columns.map((c, k) => [k, c]).filter(([, c]) => c.name !== "name");
options($("color"), [[-1, "one colour"], ...colorable.map(([k, c]) => [k, c.name])], columns.indexOf(state.color));
$("color").addEventListener("change", (event) => {
  state.color = columns[event.target.value] || null;
  state.hidden.clear();
  recast();
});
const shaped = colorable.filter(([, c]) => c.type === "i4" && c.names.length <= SHAPES.length);
options($("marker"), [[-1, "as the colour"], ...shaped.map(([k, c]) => [k, c.name])], columns.indexOf(state.marker));
$("marker").addEventListener("change", (event) => { state.marker = columns[event.target.value] || null; recast(); });
["x", "y", "z"].forEach((id, k) => {
  const entries = data.dims.map((name, dim) => [dim, name]);
  options($(id), k === 2 ? [[-1, "none: flat"], ...entries] : entries, state.axes[k]);
  $(id).addEventListener("change", (event) => {
    const was = flat();
    state.axes[k] = Number(event.target.value);
    if (was !== flat()) reset();
    measure();
    redraw();
  });
});
$("scale").checked = state.oneScale;
$("scale").addEventListener("change", (event) => { state.oneScale = event.target.checked; measure(); redraw(); });
for (const part of ["geodesic", "references", "tracks"]) {
  const there = { geodesic: geodesic.length > 1, references: role.some((r) => r === 1 || r === 3), tracks: tracks.length > 0 }[part];
  $(part).parentElement.hidden = !there;
  $(part).addEventListener("change", (event) => { state.shown[part] = event.target.checked; focus(-1, false); redraw(); });
}
$("reset").addEventListener("click", () => back());

dark.addEventListener("change", recast);
new ResizeObserver(redraw).observe(stage);
reset();
measure();
recast();
