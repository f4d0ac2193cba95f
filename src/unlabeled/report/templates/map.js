// Draws the samples on a canvas: points from afar, pictures from near.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const canvas = document.getElementById("map"), panel = document.getElementById("panel");
  const pen = canvas.getContext("2d"), count = data.names.length;
  const sheets = [...document.querySelectorAll(".sheet-image")];
  const each = data.across * data.across;
  const classes = new Map(data.classes.map((name, k) => [name, k]));
  const classOf = Int16Array.from(data.names, (_, i) => (data.labels ? classes.get(data.labels[i]) ?? -1 : -1));
  const xs = Float64Array.from(data.x), ys = Float64Array.from(data.y, (y) => 1 - y);
  const seen = new Uint8Array(count).fill(1), inside = new Int32Array(count);
  const hidden = new Set();
  let scale = 1, left = 0, top = 0, width = 0, height = 0, shown = -1, hits = null, waiting = false;

  const theme = matchMedia("(prefers-color-scheme: dark)");
  const colour = (k) => {
    const dark = theme.matches;
    if (k < 0) return data.classes.length ? (dark ? "#6b6a66" : "#b5b1a8") : dark ? "#5ec4b2" : "#0f6b60";
    return `hsl(${(k * 137.5 + 170) % 360} ${k % 2 ? 55 : 70}% ${dark ? 62 - (k % 3) * 6 : 38 + (k % 3) * 8}%)`;
  };
  const choose = () => {
    for (let i = 0; i < count; i++) seen[i] = !hidden.has(classOf[i]) && (hits === null || hits.has(i));
    redraw();
  };
  const place = (i) => [left + xs[i] * scale, top + ys[i] * scale];
  // Thousands of arcs a frame are too slow: dots are put down pixel by pixel.
  let sheet = null;
  const inkOf = (k) => {
    pen.fillStyle = colour(k);
    const rgb = parseInt(pen.fillStyle.slice(1), 16);
    return (rgb >> 16) | (rgb & 0xff00) | ((rgb & 0xff) << 16);
  };
  const dots = (drawn, radius, ratio) => {
    const wide = canvas.width, high = canvas.height, edge = radius * ratio, reach = Math.ceil(edge);
    if (!sheet || sheet.width !== wide || sheet.height !== high) sheet = pen.createImageData(wide, high);
    const words = new Uint32Array(sheet.data.buffer), mask = [];
    for (let dy = -reach; dy <= reach; dy++)
      for (let dx = -reach; dx <= reach; dx++) {
        const cover = Math.min(1, edge + 0.5 - Math.hypot(dx, dy));
        if (cover > 0) mask.push([dx, dy, Math.round(255 * cover)]);
      }
    const inks = Int32Array.from({ length: data.classes.length + 1 }, (_, k) => inkOf(k - 1));
    words.fill(0);
    for (let place = 0; place < drawn; place++) {
      const i = inside[place], ink = inks[classOf[i] + 1];
      const x = Math.round((left + xs[i] * scale) * ratio), y = Math.round((top + ys[i] * scale) * ratio);
      for (const [dx, dy, cover] of mask) {
        const px = x + dx, py = y + dy, at = py * wide + px;
        if (px >= 0 && py >= 0 && px < wide && py < high && cover >= words[at] >>> 24)
          words[at] = (cover << 24) | ink;
      }
    }
    pen.putImageData(sheet, 0, 0);
  };
  const picture = (target, i, x, y, size) => {
    const sheet = sheets[Math.floor(i / each)], at = i % each;
    if (!sheet.complete) return;
    target.drawImage(sheet, (at % data.across) * data.edge, Math.floor(at / data.across) * data.edge,
      data.edge, data.edge, x, y, size, size);
  };
  const draw = () => {
    waiting = false;
    const ratio = devicePixelRatio || 1;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    let drawn = 0;
    for (let i = 0; i < count; i++) {
      const x = left + xs[i] * scale, y = top + ys[i] * scale;
      if (seen[i] && x > -40 && y > -40 && x < width + 40 && y < height + 40) inside[drawn++] = i;
    }
    const room = Math.sqrt((width * height) / Math.max(drawn, 1));
    const size = Math.min(room * 0.9, 64), pictures = data.pictures && size >= 14;
    const radius = Math.max(1.5, Math.min(5, room / 5));
    if (!pictures) dots(drawn, radius, ratio);
    for (let place = 0; pictures && place < drawn; place++) {
      const i = inside[place], x = left + xs[i] * scale - size / 2, y = top + ys[i] * scale - size / 2;
      picture(pen, i, x, y, size);
      if (classOf[i] < 0) continue;
      pen.strokeStyle = colour(classOf[i]);
      pen.lineWidth = 2;
      pen.strokeRect(x, y, size, size);
    }
    if (shown >= 0) {
      const [x, y] = place(shown);
      pen.strokeStyle = getComputedStyle(document.body).color;
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(x, y, (pictures ? size : 10) / 1.3, 0, 7);
      pen.stroke();
    }
  };
  const redraw = () => { if (!waiting) { waiting = true; requestAnimationFrame(draw); } };
  const nearestTo = (px, py, reach) => {
    let best = -1, least = reach * reach;
    for (let i = 0; i < count; i++) {
      const x = left + xs[i] * scale - px, y = top + ys[i] * scale - py, far = x * x + y * y;
      if (far < least && seen[i]) { least = far; best = i; }
    }
    return best;
  };
  const add = (parent, kind, name, text) => {
    const node = document.createElement(kind);
    if (name) node.className = name;
    if (text !== undefined) node.textContent = text;
    return parent.appendChild(node);
  };
  const small = (parent, i, size) => {
    const node = add(parent, "canvas");
    node.width = node.height = size;
    if (data.pictures) picture(node.getContext("2d"), i, 0, 0, size);
  };
  const show = (i) => {
    if (i < 0 || i === shown) return;
    shown = i;
    panel.replaceChildren();
    if (data.pictures) small(panel, i, 160);
    add(panel, "p", "name", data.names[i]);
    if (data.labels) add(panel, "p", "", data.labels[i] === null ? "no label" : `label: ${data.labels[i]}`);
    if (data.texts.length) add(panel, "p", "text", data.texts[i]);
    add(panel, "p", "", "Nearest");
    const list = add(panel, "ol");
    data.near[i].forEach((j, k) => {
      const button = add(add(list, "li"), "button");
      small(button, j, data.pictures ? 32 : 1);
      add(button, "span", "", data.texts.length ? data.texts[j].slice(0, 80) : data.names[j]);
      add(button, "small", "", data.cosines[i][k].toFixed(2));
      button.addEventListener("click", () => centre(j));
    });
    redraw();
  };
  const centre = (i) => {
    const [x, y] = place(i);
    left += width / 2 - x;
    top += height / 2 - y;
    show(i);
    redraw();
  };
  const zoom = (by, x, y) => {
    const wanted = Math.min(Math.max(scale * by, Math.min(width, height) / 2), 4e5), ratio = wanted / scale;
    left = x - (x - left) * ratio;
    top = y - (y - top) * ratio;
    scale = wanted;
    redraw();
  };
  const fit = () => {
    const box = canvas.getBoundingClientRect(), ratio = devicePixelRatio || 1, first = !width;
    width = box.width;
    height = box.height;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    if (first) {
      scale = Math.min(width, height) * 0.9;
      left = (width - scale) / 2;
      top = (height - scale) / 2;
    }
    redraw();
  };
  const fingers = new Map();
  let moved = 0;
  const at = (event) => [event.offsetX, event.offsetY];
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId), now = at(event);
    if (!before) { if (event.pointerType === "mouse") show(nearestTo(now[0], now[1], 40)); return; }
    const others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
    if (others.length) {
      const span = (p) => Math.hypot(p[0] - others[0][0], p[1] - others[0][1]) || 1;
      zoom(span(now) / span(before), (now[0] + others[0][0]) / 2, (now[1] + others[0][1]) / 2);
    } else {
      left += now[0] - before[0];
      top += now[1] - before[1];
    }
    moved += Math.hypot(now[0] - before[0], now[1] - before[1]);
    fingers.set(event.pointerId, now);
    redraw();
  });
  for (const name of ["pointerup", "pointercancel"])
    canvas.addEventListener(name, (event) => {
      if (fingers.delete(event.pointerId) && moved < 6) show(nearestTo(...at(event), 60));
    });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.0015), ...at(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const far = 60, move = { ArrowLeft: [far, 0], ArrowRight: [-far, 0], ArrowUp: [0, far], ArrowDown: [0, -far] }[event.key];
    if (move) { left += move[0]; top += move[1]; redraw(); }
    else if (event.key === "+" || event.key === "=") zoom(1.4, width / 2, height / 2);
    else if (event.key === "-") zoom(1 / 1.4, width / 2, height / 2);
    else if (event.key === "Enter") show(nearestTo(width / 2, height / 2, Infinity));
    else if (event.key === "n" || event.key === "N") centre(shown < 0 ? nearestTo(width / 2, height / 2, Infinity) : data.near[shown][0]);
    else return;
    event.preventDefault();
  });
  document.getElementById("find").addEventListener("input", (event) => {
    const word = event.target.value.trim().toLowerCase(), said = document.getElementById("found");
    hits = word ? new Set() : null;
    for (let i = 0; word && i < count; i++)
      if (data.names[i].toLowerCase().includes(word) || (data.texts[i] || "").toLowerCase().includes(word)) hits.add(i);
    said.textContent = hits ? `${hits.size} found` : "";
    choose();
    if (hits && hits.size === 1) centre([...hits][0]);
  });
  for (const box of document.querySelectorAll("#legend input")) {
    const k = Number(box.dataset.class);
    box.nextElementSibling.style.background = colour(k);
    box.addEventListener("change", () => { hidden[box.checked ? "delete" : "add"](k); choose(); });
  }
  addEventListener("resize", fit);
  theme.addEventListener("change", redraw);
  fit();
  for (const sheet of sheets) sheet.addEventListener("load", redraw);
})();
