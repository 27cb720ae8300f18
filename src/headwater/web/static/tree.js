// Pan and zoom for drawings that are wider than their frame. The frame scrolls by itself, with wheel, fingers and arrow
// keys; this adds zooming, dragging with the mouse, and a start at the middle of things.

const STEP = 1.25, LEAST = 0.2, MOST = 3;

for (const view of document.querySelectorAll("[data-pan]")) {
  const svg = view.querySelector("svg");
  const natural = { width: svg.viewBox.baseVal.width, height: svg.viewBox.baseVal.height };
  let scale = 1;

  const zoom = (wanted, x = view.clientWidth / 2, y = view.clientHeight / 2) => {
    const next = Math.min(MOST, Math.max(LEAST, wanted));
    const left = (view.scrollLeft + x) * next / scale - x, top = (view.scrollTop + y) * next / scale - y;
    scale = next;
    view.style.height ||= `${view.offsetHeight}px`;  // else the buttons below would move away under the pointer
    svg.setAttribute("width", Math.round(natural.width * scale));
    svg.setAttribute("height", Math.round(natural.height * scale));
    view.scrollTo({ left, top, behavior: "instant" });
  };
  const fit = () => zoom(Math.min(1, view.clientWidth / natural.width, view.clientHeight / natural.height));
  const doing = { "+": () => zoom(scale * STEP), "=": () => zoom(scale * STEP), "-": () => zoom(scale / STEP), 0: fit };

  view.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !doing[event.key]) return;
    event.preventDefault();
    doing[event.key]();
  });
  view.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;  // pinching comes as this too; a plain wheel goes on scrolling
    event.preventDefault();
    const frame = view.getBoundingClientRect();
    zoom(scale * Math.exp(-event.deltaY / 300), event.clientX - frame.left, event.clientY - frame.top);
  }, { passive: false });

  let from = null;
  view.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button === 0) {
      from = { x: event.clientX + view.scrollLeft, y: event.clientY + view.scrollTop, moved: false };
    }
  });
  view.addEventListener("pointermove", (event) => {
    if (!from || !(event.buttons & 1)) return;
    const left = from.x - event.clientX, top = from.y - event.clientY;
    from.moved ||= Math.abs(left - view.scrollLeft) + Math.abs(top - view.scrollTop) > 4;
    if (from.moved) view.scrollTo({ left, top, behavior: "instant" });
  });
  view.addEventListener("click", (event) => {
    if (from?.moved) event.preventDefault();  // the end of a drag is no click on what lies under it
    from = null;
  }, true);
  view.addEventListener("dragstart", (event) => event.preventDefault());

  const tools = view.parentElement.querySelector("[data-pan-tools]");
  if (tools) {
    tools.hidden = false;
    tools.addEventListener("click", (event) => doing[event.target.closest("[data-zoom]")?.dataset.zoom]?.());
  }
  view.scrollTo({ left: Number(view.dataset.pan) - view.clientWidth / 2, behavior: "instant" });
}
