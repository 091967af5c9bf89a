// One panel, large: zoomed about the pointer, moved by dragging, from one to the next by the arrows.
const dialog = document.getElementById("large");
const room = document.getElementById("room");
const openers = [...document.querySelectorAll("button.open")];
let shown = -1, image = null, scale = 1, left = 0, top_ = 0, held = null;

function place() {
  image.style.transform = `translate(${left}px, ${top_}px) scale(${scale})`;
}

function show(number) {
  shown = (number + openers.length) % openers.length;
  image = openers[shown].querySelector("img").cloneNode();
  image.draggable = false;
  room.replaceChildren(image);
  scale = 1; left = 0; top_ = 0;
  place();
  if (!dialog.open) dialog.showModal();
}

function zoom(factor, x, y) {
  const next = Math.min(40, Math.max(1, scale * factor));
  left = x - (x - left) * next / scale;
  top_ = y - (y - top_) * next / scale;
  scale = next;
  if (scale === 1) { left = 0; top_ = 0; }
  place();
}

openers.forEach((button, number) => button.addEventListener("click", () => show(number)));
document.getElementById("close").addEventListener("click", () => dialog.close());
dialog.addEventListener("close", () => { if (shown >= 0) openers[shown].focus(); });
dialog.addEventListener("keydown", (event) => {
  const middle = [room.clientWidth / 2, room.clientHeight / 2];
  if (event.key === "ArrowRight") show(shown + 1);
  else if (event.key === "ArrowLeft") show(shown - 1);
  else if (event.key === "+" || event.key === "=") zoom(1.25, ...middle);
  else if (event.key === "-") zoom(0.8, ...middle);
  else return;
  event.preventDefault();
});
room.addEventListener("wheel", (event) => {
  const box = room.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
  event.preventDefault();
}, { passive: false });
room.addEventListener("pointerdown", (event) => {
  held = [event.clientX - left, event.clientY - top_];
  room.setPointerCapture(event.pointerId);
});
room.addEventListener("pointermove", (event) => {
  if (held === null) return;
  left = event.clientX - held[0];
  top_ = event.clientY - held[1];
  place();
});
for (const end of ["pointerup", "pointercancel"]) room.addEventListener(end, () => { held = null; });

// The table of runs, sorted by the column whose head is pressed; runs without a value come last.
for (const head of document.querySelectorAll("th")) {
  head.querySelector("button").addEventListener("click", () => {
    const upwards = head.getAttribute("aria-sort") !== "ascending";
    const table = head.closest("table"), body = table.tBodies[0];
    const column = [...head.parentNode.children].indexOf(head);
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", upwards ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
    const rows = [...body.rows].sort((one, other) => {
      const a = value(one), b = value(other);
      if (a === "" || b === "") return (a === "") - (b === "");
      const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
      return upwards ? order : -order;
    });
    body.append(...rows);
  });
}
