// Reads values off a chart: with the pointer, or with the arrow keys when it has the focus.
"use strict";
(() => {
  const make = (name, values) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(values)) node.setAttribute(key, value);
    return node;
  };
  const short = (value) => {
    const size = Math.abs(value);
    if (size >= 1000) return Math.round(value).toLocaleString("en");
    return size !== 0 && size < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  };
  for (const chart of document.querySelectorAll("svg.chart")) {
    const [x0, x1, y0, y1, left, right, bottom, top] = chart.dataset.scale.split(" ").map(Number);
    const log = chart.dataset.log === "1";
    const lines = new Map();
    for (const line of chart.querySelectorAll("polyline")) {
      const points = Array.from(line.points, (point) => [point.x, point.y]);
      lines.set(line.dataset.name, (lines.get(line.dataset.name) || []).concat(points));
    }
    const places = [...new Set([...lines.values()].flat().map((point) => point[0]))].sort((a, b) => a - b);
    if (!places.length) continue;
    const cursor = chart.querySelector(".cursor");
    let at = places.length - 1;
    const show = () => {
      const x = places[at];
      const share = (x - left) / (right - left);
      const value = log ? x0 * (x1 / x0) ** share : x0 + (x1 - x0) * share;
      const words = [`${chart.dataset.x} ${short(value)}`];
      cursor.replaceChildren(make("line", { x1: x, x2: x, y1: top, y2: bottom }));
      for (const [name, points] of lines) {
        const near = points.find((point) => Math.abs(point[0] - x) < 0.06);
        if (!near) continue;
        const y = y0 + ((y1 - y0) * (bottom - near[1])) / (bottom - top);
        words.push(lines.size > 1 ? `${name} ${short(y)}` : short(y));
        cursor.append(make("circle", { cx: x, cy: near[1], r: 3.5 }));
      }
      const onLeft = share > 0.5;
      words.forEach((word, i) => {
        const text = make("text", { x: onLeft ? x - 8 : x + 8, y: top + 10 + 15 * i,
          "text-anchor": onLeft ? "end" : "start" });
        text.textContent = word;
        cursor.append(text);
      });
    };
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
      at = places.reduce((best, p, i) => (Math.abs(p - x) < Math.abs(places[best] - x) ? i : best), 0);
      show();
    });
    const hide = () => cursor.replaceChildren();
    chart.addEventListener("pointerleave", hide);
    chart.addEventListener("blur", hide);
    chart.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      at = Math.min(Math.max(at + step * (event.shiftKey ? 10 : 1), 0), places.length - 1);
      show();
    });
  }
})();
