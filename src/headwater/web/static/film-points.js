// Landmarks of faces, shown over the photo for a person to put right: dragged, or moved by arrow keys. Sent only once
// one was moved, and then all of them, so that no face is taken for another.

const PARTS = ["left_eye", "right_eye", "nose", "mouth", "chin"];
const GUESS = { left_eye: [0.42, 0.4], right_eye: [0.58, 0.4], nose: [0.5, 0.5], mouth: [0.5, 0.6], chin: [0.5, 0.72] };

export function pointer({ stage, panel, words, ask, changed }) {
  const [layer, status, reset] = ["handles", "face-told", "face-reset"].map((id) => document.getElementById(id));
  let found = null;
  let points = {};
  let moved = false;
  let turn = 0;

  const within = (value) => Math.min(1, Math.max(0, value));
  const say = (name) => {
    const [face, part] = name.split(".");
    return `${words.face.replace("{n}", face.replace("face", ""))}: ${words[part]}`;
  };

  function put(handle, [x, y]) {
    points[handle.dataset.point] = [x, y];
    handle.style.left = `${100 * x}%`;
    handle.style.top = `${100 * y}%`;
    const at = words.at.replace("{x}", Math.round(100 * x)).replace("{y}", Math.round(100 * y));
    handle.setAttribute("aria-label", `${say(handle.dataset.point)}, ${at}`);
  }

  function move(handle, at) {
    moved = true;
    reset.disabled = false;
    put(handle, at.map(within));
    status.textContent = handle.getAttribute("aria-label");
    changed();
  }

  function draw(all) {
    points = {};
    layer.replaceChildren(...Object.entries(all).map(([name, at]) => {
      const handle = document.createElement("button");
      handle.type = "button";
      handle.className = "handle";
      handle.dataset.point = name;
      put(handle, at);
      handle.addEventListener("pointerdown", (event) => {
        if (event.button) return;
        event.preventDefault();
        handle.focus({ preventScroll: true });
        handle.setPointerCapture(event.pointerId);
      });
      handle.addEventListener("pointermove", (event) => {
        if (!handle.hasPointerCapture(event.pointerId)) return;
        const box = stage.getBoundingClientRect();
        move(handle, [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]);
      });
      handle.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
        if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        const far = event.shiftKey ? 0.03 : 0.005;
        const [x, y] = points[name];
        move(handle, [x + step[0] * far, y + step[1] * far]);
      });
      return handle;
    }));
  }

  async function look() {
    const mine = ++turn;
    status.textContent = words.looking;
    const told = await ask();
    if (mine !== turn) return;
    if (!told.points) {
      status.textContent = told.problem ?? words.offline;
      return;
    }
    const names = Object.keys(told.points);
    found = names.length ? told.points : Object.fromEntries(PARTS.map((part) => [`face1.${part}`, GUESS[part]]));
    const faces = new Set(names.map((name) => name.split(".")[0])).size;
    draw(found);
    status.textContent = names.length ? words.faces.replace("{n}", names.length).replace("{faces}", faces)
      : words.no_face;
  }

  panel.addEventListener("toggle", () => {
    layer.hidden = !panel.open;
    if (panel.open && !found) look();
  });
  reset.addEventListener("click", () => {
    moved = false;
    reset.disabled = true;
    if (found) draw(found);
    changed();
  });

  return {
    forget() {
      turn += 1;
      found = null;
      moved = false;
      reset.disabled = true;
      draw({});
      status.textContent = "";
      if (panel.open) look();
    },
    add(data) {
      if (moved && !panel.hidden) data.set("points", JSON.stringify(points));
    },
  };
}
