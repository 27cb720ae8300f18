// Painting parts of the photo that move, and the ways they take. Knows strokes and pixels; knows no hub.
//
// Each area keeps its strokes and is drawn anew from them, so that undoing is forgetting the last. A mask is white where
// painted and clear elsewhere; ways are points as shares of width and height.

const AREAS = ["1", "2", "3", "4", "5", "6", "still"];
const COLOURS = { 1: "#e4572e", 2: "#0f9d9a", 3: "#e0a800", 4: "#8a63c9", 5: "#5d9b2f", 6: "#e0559b", still: "#7c8894" };
const WAY_MAX = 77;
const HISTORY_MAX = 200;

export function painter({ over, panel, words, changed }) {
  const pen = over.getContext("2d");
  const tinted = document.createElement("canvas");
  const probe = document.createElement("canvas");
  const [size, status] = ["brush", "painted"].map((id) => document.getElementById(id));
  let areas = new Map();
  let history = [];
  let stroke = null;
  let cursor = null;
  let waiting = false;

  const chosen = (name) => panel.querySelector(`[name="${name}"]:checked`).value;
  const areaName = (name) => (name === "still" ? words.still : words.area.replace("{n}", name));
  const brush = () => (Number(size.value) / 100) * Math.max(over.width, over.height);
  const active = () => panel.open && !panel.hidden;

  function area(name) {
    if (!areas.has(name)) {
      const mask = document.createElement("canvas");
      mask.width = over.width;
      mask.height = over.height;
      areas.set(name, { name, mask, strokes: [], way: [], png: null, share: 0 });
    }
    return areas.get(name);
  }

  // --- pictures

  function paint(pad, one) {
    pad.globalCompositeOperation = one.erase ? "destination-out" : "source-over";
    pad.lineCap = pad.lineJoin = "round";
    pad.lineWidth = one.size;
    pad.strokeStyle = "#fff";
    pad.beginPath();
    pad.moveTo(...one.points[0]);
    for (const at of one.points.length > 1 ? one.points.slice(1) : one.points) pad.lineTo(...at);
    pad.stroke();
  }

  function redraw(one) {
    const pad = one.mask.getContext("2d");
    pad.clearRect(0, 0, one.mask.width, one.mask.height);
    for (const drawn of one.strokes) paint(pad, drawn);
    settle(one);
  }

  // How much is painted, seen at 64 x 64.
  function settle(one) {
    probe.width = probe.height = 64;
    const pad = probe.getContext("2d", { willReadFrequently: true });
    pad.drawImage(one.mask, 0, 0, 64, 64);
    const seen = pad.getImageData(0, 0, 64, 64).data;
    let count = 0;
    for (let i = 3; i < seen.length; i += 4) count += seen[i] > 64;
    one.share = one.strokes.some((drawn) => !drawn.erase) ? count / 4096 : 0;
    one.png = null;
  }

  function show() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      pen.clearRect(0, 0, over.width, over.height);
      for (const one of areas.values()) {
        tint(one);
        if (one.way.length) trail(one, one.way);
      }
      if (stroke?.way) trail(area(stroke.name), stroke.points);
      if (cursor && active() && over.matches(":focus-visible")) ring();
    });
  }

  function tint(one) {
    tinted.width = over.width;
    tinted.height = over.height;
    const pad = tinted.getContext("2d");
    pad.fillStyle = COLOURS[one.name];
    pad.fillRect(0, 0, tinted.width, tinted.height);
    pad.globalCompositeOperation = "destination-in";
    pad.drawImage(one.mask, 0, 0);
    pen.globalAlpha = 0.5;
    pen.drawImage(tinted, 0, 0);
    pen.globalAlpha = 1;
  }

  function trail(one, points) {
    const unit = Math.max(over.width, over.height) / 240;
    for (const [width, colour] of [[2.6 * unit, "#fff"], [1.4 * unit, COLOURS[one.name]]]) {
      pen.lineWidth = width;
      pen.strokeStyle = pen.fillStyle = colour;
      pen.lineCap = pen.lineJoin = "round";
      pen.beginPath();
      pen.moveTo(...points[0]);
      for (const at of points) pen.lineTo(...at);
      pen.stroke();
      pen.beginPath();
      pen.arc(...points[0], width * 1.4, 0, 7);
      pen.fill();
      if (points.length > 1) head(points, 5 * unit);
    }
    pen.font = `600 ${8 * unit}px system-ui, sans-serif`;
    pen.lineWidth = 2 * unit;
    pen.strokeStyle = "#fff";
    const beside = [points[0][0] + 4 * unit, points[0][1] - 3 * unit];
    pen.strokeText(one.name, ...beside);
    pen.fillText(one.name, ...beside);
  }

  function head(points, long) {
    const [x, y] = points.at(-1);
    const [fx, fy] = points.findLast(([px, py]) => Math.hypot(px - x, py - y) > long / 2) ?? points[0];
    const angle = Math.atan2(y - fy, x - fx);
    pen.beginPath();
    for (const turn of [2.6, -2.6]) {
      pen.moveTo(x, y);
      pen.lineTo(x + long * Math.cos(angle + turn), y + long * Math.sin(angle + turn));
    }
    pen.stroke();
  }

  function ring() {
    for (const [width, colour] of [[4, "#000"], [2, "#fff"]]) {
      pen.lineWidth = width;
      pen.strokeStyle = colour;
      pen.beginPath();
      pen.arc(...cursor, chosen("tool") === "way" ? 6 : Math.max(3, brush() / 2), 0, 7);
      pen.stroke();
    }
  }

  // --- what was done

  function remember(one) {
    history.push({ name: one.name, strokes: [...one.strokes], way: [...one.way] });
    if (history.length > HISTORY_MAX) history.shift();
  }

  function tell(one = area(chosen("area"))) {
    const share = Math.round(one.share * 100) || (one.share ? "< 1" : 0);
    const text = !one.share ? words.nothing : one.name === "still" ? words.keeps
      : one.way.length > 1 ? words.painted : words.no_way;
    status.textContent = text.replace("{area}", areaName(one.name)).replace("{share}", share)
      .replace("{points}", one.way.length);
    for (const label of panel.querySelectorAll("[data-area]")) {
      label.classList.toggle("used", Boolean(areas.get(label.dataset.area)?.share));
    }
    show();
  }

  function finish(one) {
    tell(one);
    changed();
  }

  function extend(one, at) {
    if (one.name === "still" || one.way.length >= WAY_MAX) return;
    remember(one);
    one.way = [...one.way, at];
    finish(one);
  }

  function undo() {
    const last = history.pop();
    if (!last) return;
    const one = area(last.name);
    Object.assign(one, { strokes: last.strokes, way: last.way });
    redraw(one);
    finish(one);
  }

  function wipe(names) {
    for (const one of names.filter((name) => areas.has(name)).map(area)) {
      remember(one);
      Object.assign(one, { strokes: [], way: [] });
      redraw(one);
    }
    finish(area(chosen("area")));
  }

  // --- hand

  const place = (event) => {
    const box = over.getBoundingClientRect();
    return [Math.min(over.width, Math.max(0, (event.clientX - box.left) / box.width * over.width)),
      Math.min(over.height, Math.max(0, (event.clientY - box.top) / box.height * over.height))];
  };
  const far = ([ax, ay], [bx, by]) => Math.hypot(ax - bx, ay - by);

  over.addEventListener("pointerdown", (event) => {
    if (!active() || event.button) return;
    event.preventDefault();
    over.focus({ preventScroll: true });
    over.setPointerCapture(event.pointerId);
    const tool = chosen("tool");
    const one = area(chosen("area"));
    stroke = { name: one.name, points: [place(event)], way: tool === "way", erase: tool === "erase", size: brush(),
      id: event.pointerId };
    if (!stroke.way) {
      remember(one);
      one.strokes = [...one.strokes, stroke];
      paint(one.mask.getContext("2d"), stroke);
    }
    show();
  });
  over.addEventListener("pointermove", (event) => {
    cursor = place(event);
    if (stroke?.id !== event.pointerId) return;
    const last = stroke.points.at(-1);
    if (far(last, cursor) < 2) return;
    stroke.points.push(cursor);
    if (!stroke.way) paint(area(stroke.name).mask.getContext("2d"), { ...stroke, points: [last, cursor] });
    show();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    over.addEventListener(end, (event) => {
      if (stroke?.id !== event.pointerId) return;
      const { name, points, way } = stroke;
      const one = area(name);
      stroke = null;
      if (!way) {
        settle(one);
        finish(one);
      } else if (points.length < 4 || name === "still") {
        extend(one, points[0]);
      } else {
        remember(one);
        one.way = simpler(points, 0.004 * Math.hypot(over.width, over.height));
        finish(one);
      }
    });
  }

  // --- keyboard

  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  over.addEventListener("keydown", (event) => {
    if (!active()) return;
    const undoes = event.key === "Backspace" || (event.key === "z" && (event.ctrlKey || event.metaKey));
    if (!undoes && (event.ctrlKey || event.metaKey || event.altKey)) return;
    cursor ??= [over.width / 2, over.height / 2];
    if (STEPS[event.key]) {
      const far = Math.max(over.width, over.height) * (event.shiftKey ? 0.06 : 0.012);
      const [x, y] = STEPS[event.key];
      cursor = [Math.min(over.width, Math.max(0, cursor[0] + x * far)),
        Math.min(over.height, Math.max(0, cursor[1] + y * far))];
      status.textContent = words.at.replace("{x}", Math.round(100 * cursor[0] / over.width))
        .replace("{y}", Math.round(100 * cursor[1] / over.height));
      show();
    } else if (event.key === " " || event.key === "Enter") {
      const one = area(chosen("area"));
      if (chosen("tool") === "way") {
        extend(one, [...cursor]);
      } else {
        remember(one);
        one.strokes = [...one.strokes, { points: [[...cursor]], size: brush(), erase: chosen("tool") === "erase" }];
        redraw(one);
        finish(one);
      }
    } else if (event.key === "+" || event.key === "=" || event.key === "-") {
      size.value = Number(size.value) + (event.key === "-" ? -1 : 1);
      show();
    } else if (undoes) {
      undo();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });
  for (const name of ["focus", "blur"]) over.addEventListener(name, show);

  document.getElementById("undo").addEventListener("click", undo);
  document.getElementById("wipe").addEventListener("click", () => wipe([chosen("area")]));
  document.getElementById("wipe-all").addEventListener("click", () => wipe(AREAS));
  panel.addEventListener("change", () => tell());

  return {
    // A new photo: everything painted belonged to the one before.
    reset(width, height) {
      [over.width, over.height] = [width, height];
      [areas, history, stroke, cursor] = [new Map(), [], null, null];
      tell();
    },
    add(data) {
      for (const name of ["area", "tool", "brush"]) data.delete(name);
      if (panel.hidden) return;
      for (const one of areas.values()) {
        if (!one.share) continue;
        one.png ??= one.mask.toDataURL("image/png");
        data.set(one.name === "still" ? "still" : `mask${one.name}`, one.png);
        if (one.name !== "still" && one.way.length > 1) {
          data.set(`way${one.name}`, one.way.map(([x, y]) => `${(x / over.width).toFixed(4)},${(y / over.height).toFixed(4)}`)
            .join(" "));
        }
      }
    },
  };
}

// Ramer, Douglas and Peucker's simpler line, coarser until it is short enough.
export function simpler(points, off) {
  const keep = new Set([0, points.length - 1]);
  const spans = [[0, points.length - 1]];
  while (spans.length) {
    const [from, to] = spans.pop();
    let worst = 0;
    let at = 0;
    for (let i = from + 1; i < to; i++) {
      const away = beside(points[i], points[from], points[to]);
      if (away > worst) [worst, at] = [away, i];
    }
    if (worst > off) {
      keep.add(at);
      spans.push([from, at], [at, to]);
    }
  }
  const left = points.filter((_, i) => keep.has(i));
  return left.length <= WAY_MAX ? left : simpler(points, off * 1.5);
}

function beside([x, y], [ax, ay], [bx, by]) {
  const long = Math.hypot(bx - ax, by - ay);
  return long ? Math.abs((bx - ax) * (ay - y) - (ax - x) * (by - ay)) / long : Math.hypot(x - ax, y - ay);
}
