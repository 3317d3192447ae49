"use strict";
// Names of classes and files come from people: they are put on the page as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const element = (name, className, text = "") => Object.assign(document.createElement(name), { className, textContent: text });
const percent = (share) => `${(100 * share).toFixed(1)} %`;
let latest = 0, shown = null;

function fail(text) {
  byId("status").textContent = "";
  shown = null;
  byId("result").hidden = byId("near").hidden = true;
  byId("error").textContent = text;
  byId("error").hidden = false;
}

function showPhoto(file) {
  const photo = byId("photo");
  URL.revokeObjectURL(photo.src);
  photo.hidden = false;
  photo.alt = `The photograph ${file.name}`;
  byId("name").textContent = file.name;
  // Some kinds that the server reads a browser cannot show.
  photo.onerror = () => { photo.hidden = true; };
  photo.src = URL.createObjectURL(file);
}

function bar({ class: name, probability }) {
  const row = element("li"), track = element("div", "track"), fill = element("div", "fill");
  fill.style.width = percent(probability).replace(" ", "");
  track.append(fill);
  row.append(element("span", "name", name), element("span", "share", percent(probability)), track);
  return row;
}

function doubts({ typicality, out_of_distribution: isForeign, set }) {
  byId("foreign").hidden = !isForeign;
  if (isForeign) byId("foreign").textContent = `This may be none of the classes: only ${percent(typicality)} of the validation photographs lie as far from all of them.`;
  byId("set").hidden = !set;
  if (set) byId("set").textContent = `Possible classes (${percent(data.coverage)} of such sets hold the true one): ${set.join(", ")}`;
}

function neighbour({ number, class: name, similarity }) {
  const row = element("li");
  if (data.has_pictures) {
    const picture = Object.assign(new Image(128, 128), { alt: `Training photograph of ${name}` });
    picture.onerror = () => picture.replaceWith(element("span", "soft", "no picture"));
    picture.src = `similar/${number}`;
    row.append(picture);
  }
  row.append(element("span", "", name), element("span", "soft", similarity.toFixed(3)));
  return row;
}

async function ask(file, address = `predict?top=${data.n_top}&similar=${data.n_similar}`) {
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  let response, answer;
  try {
    response = await fetch(address, { method: "POST", body: file, headers: { "Content-Type": type } });
    answer = await response.json();
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (!response.ok) throw new Error(`This photograph cannot be classified: ${answer.error}.`);
  return answer;
}

async function classify(file) {
  const number = (latest += 1);
  byId("error").hidden = true;
  if (file.size > data.max_bytes) {
    fail(`This file is too large: ${Math.ceil(file.size / 1e6)} MB, and at most ${data.max_bytes / 1e6} MB are taken.`);
    return;
  }
  byId("status").textContent = "Classifying…";
  let answer;
  try {
    answer = await ask(file);
  } catch (error) {
    if (number === latest) fail(error.message);
    return;
  }
  // Another photograph may have been chosen meanwhile.
  if (number !== latest) return;
  showPhoto(file);
  shown = file;
  forgetReasons();
  const [first] = answer.predictions;
  byId("top").replaceChildren(...answer.predictions.map(bar));
  doubts(answer);
  byId("similar").replaceChildren(...answer.similar.map(neighbour));
  byId("result").hidden = false;
  byId("near").hidden = answer.similar.length === 0;
  byId("status").textContent = `${first.class}, ${percent(first.probability)}. It took ${Math.round(answer.milliseconds)} ms.`;
}

function forgetReasons() {
  byId("explained").replaceChildren();
  byId("method").hidden = true;
  byId("why").disabled = false;
}

function reason({ class: name, probability, picture }) {
  const figure = element("figure"), image = Object.assign(new Image(), { src: picture, alt: `What spoke for ${name}` });
  figure.append(image, element("figcaption", "", `for ${name}, ${percent(probability)}`));
  return figure;
}

async function explain() {
  const number = latest;
  byId("why").disabled = true;
  byId("status").textContent = "Looking for what spoke for it…";
  let answer;
  try {
    answer = await ask(shown, "explain");
  } catch (error) {
    if (number === latest) { byId("status").textContent = error.message; byId("why").disabled = false; }
    return;
  }
  if (number !== latest) return;
  byId("method").textContent = `Orange parts spoke for the class; both pictures have one scale. ${answer.method}`;
  byId("method").hidden = false;
  byId("explained").replaceChildren(...answer.explained.map(reason));
  byId("status").textContent = `It took ${Math.round(answer.milliseconds)} ms.`;
}
byId("why").addEventListener("click", explain);

function take(files) {
  if (files.length > 1) fail("One photograph at a time, please.");
  else if (files.length === 1) classify(files[0]);
}

const drop = byId("drop");
byId("file").addEventListener("change", (event) => take(event.target.files));
document.addEventListener("paste", (event) => take(event.clipboardData.files));
// Anywhere on the page: a photograph that misses the box must not replace the page.
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") take(event.dataTransfer.files);
  });
}
