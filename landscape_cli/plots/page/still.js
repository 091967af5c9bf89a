// A drawing to zoom into, and its points to read off. The view is the SVG's viewBox.
const $ = (id) => document.getElementById(id);
const stage = $("stage"), drawing = $("drawing"), tip = $("tip");
const { places, said } = JSON.parse($("data").textContent);
const home = drawing.viewBox.baseVal, whole = [home.x, home.y, home.width, home.height];
let view = [...whole], chosen = -1;
const ring = document.createElementNS(drawing.namespaceURI, "circle");
ring.setAttribute("fill", "none");
ring.setAttribute("stroke", "#d55e00");
ring.setAttribute("visibility", "hidden");
drawing.append(ring);
const show = () => {
  drawing.setAttribute("viewBox", view.join(" "));
  const unit = view[2] / Math.max(1, stage.clientWidth);
  ring.setAttribute("r", 6 * unit);
  ring.setAttribute("stroke-width", 2 * unit);
  place();
};
// From a place of the drawing to one of the screen, and back.
const onScreen = (x, y) => {
  const at = new DOMPoint(x, y).matrixTransform(drawing.getScreenCTM()), box = stage.getBoundingClientRect();
  return [at.x - box.left, at.y - box.top];
};
const inDrawing = (x, y) => {
  const at = new DOMPoint(x, y).matrixTransform(drawing.getScreenCTM().inverse());
  return [at.x, at.y];
};
const zoom = (factor, x = view[0] + view[2] / 2, y = view[1] + view[3] / 2) => {
  const width = Math.max(whole[2] / 60, Math.min(whole[2], view[2] / factor)), real = width / view[2];
  view = [x - (x - view[0]) * real, y - (y - view[1]) * real, width, view[3] * real];
  hold();
};
const hold = () => {
  // Some of the drawing is always seen.
  view[0] = Math.max(whole[0] - view[2] / 2, Math.min(whole[0] + whole[2] - view[2] / 2, view[0]));
  view[1] = Math.max(whole[1] - view[3] / 2, Math.min(whole[1] + whole[3] - view[3] / 2, view[1]));
  if (view[2] >= whole[2]) view = [...whole];
  show();
};
const move = (dx, dy) => { view[0] += dx; view[1] += dy; hold(); };
const reset = () => { view = [...whole]; show(); };
const place = () => {
  if (chosen < 0) return;
  const [x, y] = onScreen(...places[chosen]), box = tip.getBoundingClientRect();
  const left = x + 14 + box.width > stage.clientWidth ? x - 14 - box.width : x + 14;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 10, stage.clientHeight - box.height - 4))}px`;
};
const choose = (number, aloud) => {
  if (number === chosen && !aloud) return;
  chosen = number;
  tip.hidden = number < 0;
  ring.setAttribute("visibility", number < 0 ? "hidden" : "visible");
  if (number < 0) return;
  ring.setAttribute("cx", places[number][0]);
  ring.setAttribute("cy", places[number][1]);
  const name = document.createElement("strong"), lines = said[number].slice(1).map((text) => {
    const line = document.createElement("div");
    line.textContent = text;
    return line;
  });
  name.textContent = said[number][0];
  tip.replaceChildren(name, ...lines);
  if (aloud) $("said").textContent = said[number].filter(Boolean).join(", ");
  show();
};
const nearest = (x, y, within) => {
  let best = -1, least = within * within;
  places.forEach(([a, b], number) => {
    const square = (a - x) ** 2 + (b - y) ** 2;
    if (square < least) { least = square; best = number; }
  });
  return best;
};
const step = (by) => {
  if (places.length) choose(((chosen < 0 && by < 0 ? 0 : chosen) + by + places.length) % places.length, true);
};
const held = new Map();
stage.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  stage.setPointerCapture(event.pointerId);
  held.set(event.pointerId, [event.clientX, event.clientY]);
});
stage.addEventListener("pointermove", (event) => {
  const before = held.get(event.pointerId), unit = 1 / drawing.getScreenCTM().a;
  if (!before) { choose(nearest(...inDrawing(event.clientX, event.clientY), 14 * unit), false); return; }
  if (held.size === 2) {
    const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const far = (x, y) => Math.hypot(x - other[0], y - other[1]) || 1;
    const middle = inDrawing((event.clientX + other[0]) / 2, (event.clientY + other[1]) / 2);
    zoom(far(event.clientX, event.clientY) / far(...before), ...middle);
  } else move((before[0] - event.clientX) * unit, (before[1] - event.clientY) * unit);
  held.set(event.pointerId, [event.clientX, event.clientY]);
});
for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => held.delete(event.pointerId));
stage.addEventListener("pointerleave", () => { if (!held.size) choose(-1, false); });
stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...inDrawing(event.clientX, event.clientY));
}, { passive: false });
stage.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const far = view[2] / 12;
  const act = {
    ArrowLeft: () => move(-far, 0), ArrowRight: () => move(far, 0), ArrowUp: () => move(0, -far), ArrowDown: () => move(0, far),
    "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8), "_": () => zoom(0.8), r: reset, R: reset,
    n: () => step(1), p: () => step(-1), Escape: () => choose(-1, false),
  }[event.key];
  if (act) { event.preventDefault(); act(); }
});
$("reset").addEventListener("click", reset);
window.addEventListener("resize", show);
show();
stage.dataset.ready = "yes";
