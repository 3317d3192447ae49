"use strict";
// Names come from people's folders: they are put on the page as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");
const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

function showTip(x, y, lines, picture) {
  tip.replaceChildren(...lines.map((line) => element("span", line)));
  if (picture) tip.prepend(Object.assign(new Image(), { src: picture, alt: "" }));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${clamp(x + 14, 0, innerWidth - width - 4)}px`;
  tip.style.top = `${y + 14 + height > innerHeight ? Math.max(0, y - height - 10) : y + 14}px`;
}
const hideTip = () => { tip.hidden = true; };

// Tables: a click on a heading sorts by it, another reverses the order.
for (const button of document.querySelectorAll(".sortable thead button")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th"), body = heading.closest("table").tBodies[0];
    const order = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
    for (const each of heading.parentElement.cells) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    const key = (row) => row.cells[heading.cellIndex].dataset.key ?? row.cells[heading.cellIndex].textContent;
    const number = (row) => (key(row) === "-" ? -Infinity : parseFloat(key(row)));
    const isNumber = [...body.rows].every((row) => !Number.isNaN(number(row)));
    const compare = (a, b) => (isNumber ? number(a) - number(b) : key(a).localeCompare(key(b)));
    const sign = order === "ascending" ? 1 : -1;
    body.append(...[...body.rows].sort((a, b) => sign * compare(a, b)));
  });
}

// One image: path, truth and the most probable classes.
const dialog = document.getElementById("detail");
function openDetail(row, picture) {
  const detail = data.details[row], image = dialog.querySelector("img");
  image.hidden = !picture;
  if (picture) image.src = picture;
  document.getElementById("detail-path").textContent = detail.path;
  document.getElementById("detail-truth").textContent = `True class: ${detail.class}. Split: ${detail.split}.`;
  dialog.querySelector("caption").textContent = detail.top ? `Probabilities by ${data.shown}` : "";
  dialog.querySelector("tbody").replaceChildren(...(detail.top ?? []).map(([name, proba]) => {
    const row = element("tr");
    row.append(element("td", name), element("td", proba.toFixed(3)));
    return row;
  }));
  dialog.showModal();
}
for (const card of document.querySelectorAll(".card")) {
  card.addEventListener("click", () => openDetail(card.dataset.row, card.querySelector("img")?.src));
}

// The confusion matrix: what a cell says.
const cells = document.getElementById("cells");
if (cells) {
  const { names, counts, totals } = data.matrix, n = names.length, mark = document.getElementById("cell");
  let at = [0, 0];
  const text = ([row, column]) => {
    const images = counts[row][column], of = totals[row];
    const share = of ? ` (${Math.round((100 * images) / of)} %)` : "";
    const what = row === column ? `${names[row]}, classified correctly` : `${names[row]} mistaken for ${names[column]}`;
    return `${what}: ${images} of ${of}${share}`;
  };
  const show = (x, y) => {
    const side = 100 / n;
    Object.assign(mark.style, { left: `${at[1] * side}%`, top: `${at[0] * side}%`, width: `${side}%`, height: `${side}%` });
    mark.hidden = false;
    document.getElementById("cell-text").textContent = text(at);
    if (x !== undefined) showTip(x, y, [text(at)]);
  };
  cells.addEventListener("pointermove", (event) => {
    const box = cells.getBoundingClientRect();
    const index = (position, start, length) => clamp(Math.floor((n * (position - start)) / length), 0, n - 1);
    at = [index(event.clientY, box.top, box.height), index(event.clientX, box.left, box.width)];
    show(event.clientX, event.clientY);
  });
  cells.addEventListener("pointerleave", hideTip);
  cells.addEventListener("focus", () => show());
  cells.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    at = at.map((each, axis) => clamp(each + step[axis], 0, n - 1));
    show();
  });
}

// The maps: an image under the pointer, or by the arrow keys.
for (const map of document.querySelectorAll(".map")) {
  const svg = map.querySelector("svg"), points = [...map.querySelectorAll("[id$=-points] use")];
  const places = points.map((point) => [Number(point.getAttribute("x")), Number(point.getAttribute("y"))]);
  let at = -1;
  const choose = (index) => {
    points[at]?.classList.remove("on");
    at = index;
    points[at]?.classList.add("on");
    if (at < 0) return hideTip();
    const row = data.map.rows[at], detail = data.details[row], box = points[at].getBoundingClientRect();
    const given = detail.top ? [`predicted: ${detail.top[0][0]} (${detail.top[0][1].toFixed(2)})`] : [];
    showTip(box.right, box.bottom, [detail.path, `true: ${detail.class}`, ...given], data.map.thumbnails[row]);
  };
  const nearest = (event) => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    let best = -1, smallest = 100;
    places.forEach(([x, y], index) => {
      const distance = (x - place.x) ** 2 + (y - place.y) ** 2;
      if (distance < smallest && !points[index].classList.contains("off")) [best, smallest] = [index, distance];
    });
    return best;
  };
  const open = () => at >= 0 && openDetail(data.map.rows[at], data.map.thumbnails[data.map.rows[at]]);
  svg.addEventListener("pointermove", (event) => choose(nearest(event)));
  svg.addEventListener("pointerleave", () => choose(-1));
  svg.addEventListener("click", (event) => { choose(nearest(event)); open(); });
  map.addEventListener("blur", () => choose(-1));
  map.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
    if (event.key === "Enter") open();
    if (!step) return;
    event.preventDefault();
    let next = at;
    do next = (next + step + points.length) % points.length;
    while (points[next].classList.contains("off") && next !== at);
    choose(next);
  });
  document.getElementById("map-class").addEventListener("change", (event) => {
    const wanted = event.target.value;
    points.forEach((point, index) => point.classList.toggle("off", wanted !== "" && data.map.labels[index] !== Number(wanted)));
  });
}

// On paper nothing stays folded.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
