// ---------------------------------------------------------------- hands
// Pointer, wheel and keys. A page gives: rotate, nearest, focus, step, reset, flat, and LARGEST, the most it zooms in.
const pan = (dx, dy) => { state.panX += dx; state.panY += dy; redraw(); };
const zoom = (factor) => {
  const next = Math.max(0.2, Math.min(LARGEST, state.zoom * factor)), real = next / state.zoom;
  state.zoom = next;
  state.panX *= real;
  state.panY *= real;
  redraw();
};
const held = new Map();
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  held.set(event.pointerId, [event.clientX, event.clientY]);
  canvas.classList.add("held");
});
canvas.addEventListener("pointermove", (event) => {
  const ratio = window.devicePixelRatio || 1, before = held.get(event.pointerId);
  if (!before) {
    const box = canvas.getBoundingClientRect();
    focus(nearest((event.clientX - box.left) * ratio, (event.clientY - box.top) * ratio, 12 * ratio), false);
    return;
  }
  const dx = event.clientX - before[0], dy = event.clientY - before[1];
  if (held.size === 2) {
    const [other] = [...held].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const far = (x, y) => Math.hypot(x - other[0], y - other[1]) || 1;
    zoom(far(event.clientX, event.clientY) / far(...before));
  } else if (flat() || event.shiftKey || event.buttons === 4 || event.buttons === 2) pan(dx * ratio, dy * ratio);
  else rotate(dx * 0.008, dy * 0.008);
  held.set(event.pointerId, [event.clientX, event.clientY]);
});
const release = (event) => { held.delete(event.pointerId); if (!held.size) canvas.classList.remove("held"); };
canvas.addEventListener("pointerup", release);
canvas.addEventListener("pointercancel", release);
canvas.addEventListener("pointerleave", () => { if (!held.size) focus(-1, false); });
canvas.addEventListener("contextmenu", (event) => event.preventDefault());
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
}, { passive: false });

const back = () => { reset(); redraw(); };
canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const shift = event.shiftKey || flat(), far = 40 * (window.devicePixelRatio || 1);
  const act = {
    ArrowLeft: () => (shift ? pan(far, 0) : rotate(-0.1, 0)), ArrowRight: () => (shift ? pan(-far, 0) : rotate(0.1, 0)),
    ArrowUp: () => (shift ? pan(0, far) : rotate(0, -0.1)), ArrowDown: () => (shift ? pan(0, -far) : rotate(0, 0.1)),
    "+": () => zoom(1.2), "=": () => zoom(1.2), "-": () => zoom(1 / 1.2), "_": () => zoom(1 / 1.2),
    r: back, R: back, n: () => step(1), p: () => step(-1), Escape: () => focus(-1, false),
  }[event.key];
  if (act) { event.preventDefault(); act(); }
});

