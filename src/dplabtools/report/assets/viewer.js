// One slide, large: it is drawn on a canvas, in level 0 pixels, by a view that moves and zooms.

const viewer = byId("viewer");
const canvas = byId("canvas");
const context = canvas.getContext("2d");

const FILL_BELOW = 5; // pixels on screen: smaller patches are areas, without outlines
const LINES_BELOW = 6000; // so many patches in sight have outlines
const CLEAR_FROM = 32; // pixels on screen: larger patches are outlines only, with their picture if there is one
const OUTLINE = "#1d2329"; // of the mask
const OUTLINE_EDGE = "rgb(255 255 255 / 0.85)";
const DEEPEST = 4; // screen pixels per level 0 pixel

let open = null; // what is known of the slide that is shown
let view = { scale: 1, x: 0, y: 0 }; // screen pixels per level 0 pixel, and what is in the middle
let selected = null;
const hidden = new Set(); // labels
let outlined = true; // the mask
let pending = false;

const payload = (number) => JSON.parse(byId(`slide-${number}`).textContent);

/** Unpacks a slide: columns, outline, pictures. */
async function load(number) {
  const detail = payload(number);
  const names = ["x", "y", "width", "height", "code", "coverage", "row", ...detail.quality].filter((name) => detail[name]);
  const columns = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await unpack(detail[name])])));
  const scales = detail.scales ?? detail.views.map(() => 1);
  const base = scales.indexOf(Math.min(...scales));
  const slide = { number, head: run.slides[number], detail, columns, scales, base, count: detail.n, image: null, outline: null, pictures: new Map() };
  slide.boxes = boxesOf(slide);
  slide.size = slide.head.size ?? extentOf(slide.boxes);
  slide.byLabel = detail.labels.map(() => []);
  for (let i = 0; i < slide.count; i++) slide.byLabel[columns.code[i]].push(i);
  if (detail.outline) slide.outline = await outlineOf(detail.outline, slide.size);
  if (detail.overview) slide.image = await decoded(detail.overview);
  for (const sample of run.samples) {
    if (sample.slide === number) decoded(sample.images[base]).then((image) => { slide.pictures.set(sample.at, image); draw(); });
  }
  return slide;
}

async function decoded(source) {
  const image = new Image();
  image.src = source;
  await image.decode();
  return image;
}

/** Left, top, width and height of each patch, of the smallest image where there are sets. */
function boxesOf({ columns, scales, base, count: length }) {
  const boxes = new Float64Array(length * 4);
  for (let i = 0; i < length; i++) {
    const [wide, high] = [columns.width[i], columns.height[i]];
    boxes[4 * i] = columns.x[i] + wide * (scales[0] - scales[base]) / 2;
    boxes[4 * i + 1] = columns.y[i] + high * (scales[0] - scales[base]) / 2;
    boxes[4 * i + 2] = wide * scales[base];
    boxes[4 * i + 3] = high * scales[base];
  }
  return boxes;
}

function extentOf(boxes) {
  let [right, bottom] = [1, 1];
  for (let i = 0; i < boxes.length; i += 4) {
    right = Math.max(right, boxes[i] + boxes[i + 2]);
    bottom = Math.max(bottom, boxes[i + 1] + boxes[i + 3]);
  }
  return [right, bottom];
}

async function outlineOf(packed, [width, height]) {
  const [lengths, x, y] = await Promise.all([packed.lengths, packed.x, packed.y].map(unpack));
  const path = new Path2D();
  let at = 0;
  for (const length of lengths) {
    for (let i = 0; i < length; i++, at++) {
      const [px, py] = [x[at] / packed.units * width, y[at] / packed.units * height];
      if (i) path.lineTo(px, py); else path.moveTo(px, py);
    }
    path.closePath();
  }
  return path;
}

// -- drawing ---------------------------------------------------------------------------

function draw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; if (open) paint(); });
}

function paint() {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const { scale } = view;
  const [left, top] = [width / 2 - view.x * scale, height / 2 - view.y * scale];
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.fillStyle = "#fff";
  context.fillRect(left, top, open.size[0] * scale, open.size[1] * scale);
  if (open.image) context.drawImage(open.image, left, top, open.size[0] * scale, open.size[1] * scale);
  if (open.outline && outlined) {
    context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * left, ratio * top);
    for (const [line, colour] of [[4, OUTLINE_EDGE], [1.5, OUTLINE]]) { // dark on glass, and light around it on tissue
      context.lineWidth = line / scale;
      context.strokeStyle = colour;
      context.stroke(open.outline);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
  }
  paintPatches(left, top, width, height);
  if (selected !== null) paintSelected(left, top);
}

function paintPatches(left, top, width, height) {
  const { scale } = view;
  const boxes = open.boxes;
  open.detail.labels.forEach((name, code) => {
    if (hidden.has(name)) return;
    const seen = open.byLabel[code].filter((i) => {
      const [x, y] = [boxes[4 * i] * scale + left, boxes[4 * i + 1] * scale + top];
      return x < width && y < height && x + boxes[4 * i + 2] * scale > 0 && y + boxes[4 * i + 3] * scale > 0;
    });
    const side = seen.length ? boxes[4 * seen[0] + 2] * scale : 0;
    const large = side >= FILL_BELOW && seen.length < LINES_BELOW;
    context.fillStyle = colourOf(name);
    context.globalAlpha = large ? Math.max(0, 0.3 * (1 - side / CLEAR_FROM)) : 0.32;
    if (context.globalAlpha) for (const i of seen) context.fillRect(boxes[4 * i] * scale + left, boxes[4 * i + 1] * scale + top, Math.max(1, boxes[4 * i + 2] * scale), Math.max(1, boxes[4 * i + 3] * scale));
    context.globalAlpha = 1;
    for (const [i, picture] of open.pictures) {
      const [wide, high] = [boxes[4 * i + 2] * scale, boxes[4 * i + 3] * scale];
      if (open.columns.code[i] === code && wide >= CLEAR_FROM) context.drawImage(picture, boxes[4 * i] * scale + left, boxes[4 * i + 1] * scale + top, wide, high);
    }
    context.globalAlpha = Math.min(1, side / 24);  // lines close together would hide the tissue
    if (large) for (const [line, colour] of [[3, "#fff"], [1, colourOf(name)]]) { // light around it, to be seen on tissue
      context.lineWidth = line;
      context.strokeStyle = colour;
      for (const i of seen) context.strokeRect(boxes[4 * i] * scale + left + 0.5, boxes[4 * i + 1] * scale + top + 0.5, boxes[4 * i + 2] * scale - 1, boxes[4 * i + 3] * scale - 1);
    }
    context.globalAlpha = 1;
  });
}

/** The selected patch, with the other images of its set around it. */
function paintSelected(left, top) {
  const { scale } = view;
  const [x, y, wide, high] = open.boxes.subarray(4 * selected, 4 * selected + 4);
  open.scales.forEach((each) => {
    const grow = each / open.scales[open.base];
    const box = [left + (x + wide * (1 - grow) / 2) * scale, top + (y + high * (1 - grow) / 2) * scale, wide * grow * scale, high * grow * scale];
    context.lineWidth = 5;
    context.strokeStyle = "#fff";
    context.strokeRect(...box);
    context.lineWidth = 3;
    context.strokeStyle = "#000";
    context.strokeRect(...box);
  });
}

// -- moving ----------------------------------------------------------------------------

const fitScale = () => Math.min(canvas.clientWidth / open.size[0], canvas.clientHeight / open.size[1]) * 0.96;

function fit() {
  view = { scale: fitScale(), x: open.size[0] / 2, y: open.size[1] / 2 };
  draw();
}

function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const scale = Math.min(Math.max(view.scale * factor, fitScale() / 2), Math.max(DEEPEST, fitScale()));
  const [dx, dy] = [x - canvas.clientWidth / 2, y - canvas.clientHeight / 2];
  move(dx / view.scale - dx / scale, dy / view.scale - dy / scale, scale);
}

function move(dx, dy, scale = view.scale) {
  const within = (value, size) => Math.min(Math.max(value, 0), size);
  view = { scale, x: within(view.x + dx, open.size[0]), y: within(view.y + dy, open.size[1]) };
  draw();
}

function select(at, { centre = false } = {}) {
  selected = at;
  if (at !== null && centre) {
    const [x, y, wide, high] = open.boxes.subarray(4 * at, 4 * at + 4);
    const largest = Math.max(...open.scales) / open.scales[open.base];
    const scale = Math.min(canvas.clientWidth, canvas.clientHeight) / (Math.max(wide, high) * Math.max(largest * 1.3, 5));
    view = { scale: Math.max(Math.min(scale, DEEPEST), fitScale()), x: x + wide / 2, y: y + high / 2 };
  }
  byId("patch-note").textContent = at === null ? "" : describe(at);
  canvas.dataset.selected = at ?? "";
  for (const link of byId("slide-samples").querySelectorAll("a")) {
    if (at !== null && link.hash === `#slide-${open.number}/patch-${at}`) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  draw();
}

function describe(at) {
  const { columns, detail } = open;
  const label = detail.labels[columns.code[at]];
  const parts = [`Patch ${columns.row ? columns.row[at] : at}`, label, `x ${columns.x[at]}, y ${columns.y[at]}`,
    `${columns.width[at]} × ${columns.height[at]} px${detail.views.length === 1 ? ` at ${detail.views[0]}` : ` at ${detail.views.join(", ")}`}`,
    columns.coverage[at] < 0 ? "" : `${percent(columns.coverage[at] / 1000)} foreground`,
    ...measured.map((name) => ((columns[name]?.[at] ?? -1) < 0 ? "" : QUALITIES[name].words(columns[name][at] / (name.endsWith("_share") ? 1000 : 1))))];
  return parts.filter(Boolean).join(" · ");
}

/** Returns the patch under a point of the canvas, the last drawn one; null if there is none. */
function patchAt(x, y) {
  const px = view.x + (x - canvas.clientWidth / 2) / view.scale;
  const py = view.y + (y - canvas.clientHeight / 2) / view.scale;
  for (let i = open.count - 1; i >= 0; i--) {
    const [left, top, wide, high] = open.boxes.subarray(4 * i, 4 * i + 4);
    if (px >= left && px < left + wide && py >= top && py < top + high && !hidden.has(open.detail.labels[open.columns.code[i]])) return i;
  }
  return null;
}

const pointers = new Map();
let dragged = 0;
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  if (!pointers.size) dragged = 0;
  pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
});
canvas.addEventListener("pointermove", (event) => {
  if (!open || !pointers.has(event.pointerId)) return;
  const before = [...pointers.values()];
  const [x, y] = pointers.get(event.pointerId);
  pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
  const after = [...pointers.values()];
  dragged += Math.hypot(event.offsetX - x, event.offsetY - y);
  move(-(event.offsetX - x) / view.scale / after.length, -(event.offsetY - y) / view.scale / after.length);
  if (after.length === 2) {
    const apart = ([[ax, ay], [bx, by]]) => Math.max(1, Math.hypot(ax - bx, ay - by));
    zoom(apart(after) / apart(before), (after[0][0] + after[1][0]) / 2, (after[0][1] + after[1][1]) / 2);
  }
});
for (const type of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(type, (event) => {
    if (type === "pointerup" && open && pointers.size === 1 && dragged < 4) select(patchAt(event.offsetX, event.offsetY));
    pointers.delete(event.pointerId);
  });
}
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  if (open) zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0018)), event.offsetX, event.offsetY);
}, { passive: false });

const neighbour = (step) => shown[(shown.indexOf(open.number) + step + shown.length) % shown.length] ?? open.number;
const KEYS = {
  ArrowLeft: () => move(-80 / view.scale, 0), ArrowRight: () => move(80 / view.scale, 0),
  ArrowUp: () => move(0, -80 / view.scale), ArrowDown: () => move(0, 80 / view.scale),
  "+": () => zoom(1.4), "=": () => zoom(1.4), "-": () => zoom(1 / 1.4), 0: fit,
  n: () => step(1), p: () => step(-1),
  "[": () => { location.hash = `slide-${neighbour(-1)}`; }, "]": () => { location.hash = `slide-${neighbour(1)}`; },
};
function step(by) {
  if (open.count) select(((selected ?? (by > 0 ? -1 : 0)) + by + open.count) % open.count, { centre: true });
}
viewer.addEventListener("keydown", (event) => {
  if (!open || event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  if (event.key.startsWith("Arrow") && event.target !== canvas) return; // others scroll, or move between boxes
  event.preventDefault();
  KEYS[event.key]();
});
byId("zoom-in").addEventListener("click", () => open && zoom(1.4));
byId("zoom-out").addEventListener("click", () => open && zoom(1 / 1.4));
byId("zoom-fit").addEventListener("click", () => open && fit());
byId("previous-slide").addEventListener("click", () => open && KEYS["["]());
byId("next-slide").addEventListener("click", () => open && KEYS["]"]());
byId("close-viewer").addEventListener("click", () => viewer.close());
new ResizeObserver(() => open && draw()).observe(canvas);

// -- opening and closing; the address says what is open --------------------------------

function showPanel() {
  const { head, detail, number } = open;
  const fact = (name, value, small) => value ? [make("dt", { text: name }), make("dd", {}, value, small ? make("small", { text: small }) : null)] : [];
  byId("viewer-title").textContent = head.name;
  byId("slide-facts").replaceChildren(
    ...fact("Status", make("span", { class: `status ${statusKind(head.status)}`, text: statusText(head.status) })),
    ...fact("Patches", whole.format(head.written), head.placed > head.written ? `of ${whole.format(head.placed)} asked for` : ""),
    ...fact("Size", head.size ? `${whole.format(head.size[0])} × ${whole.format(head.size[1])} px` : ""),
    ...fact("Tissue", head.tissue === null ? "" : share(head.tissue), "of the slide"),
    ...fact("µm/px", head.mpp === null ? "unknown" : String(head.mpp), head.mppSource),
    ...fact("Read by", head.reader), ...fact("Seconds", head.seconds === null ? "" : head.seconds.toFixed(1)), ...fact("File", head.file));
  const box = (checked, toggle, ...words_) => {
    const input = make("input", { type: "checkbox", checked });
    input.addEventListener("change", () => { toggle(input.checked); draw(); });
    return make("label", {}, input, ...words_);
  };
  byId("legend").replaceChildren(make("legend", { text: detail.of > detail.n ? `Patches (${whole.format(detail.n)} of ${whole.format(detail.of)} drawn)` : "Patches" }),
    ...detail.labels.map((name) => box(!hidden.has(name), (on) => { if (on) hidden.delete(name); else hidden.add(name); },
      swatch(name), make("span", { text: labelName(name) }), make("span", { class: "count", text: whole.format(head.counts[name]) }))),
    ...(open.outline ? [box(outlined, (on) => { outlined = on; },
      make("span", { class: "swatch", style: { background: OUTLINE } }), make("span", { text: "Outline of the mask" }), make("span"))] : []));
  byId("slide-faults").replaceChildren(...[...faultsOf[number], ...notesOf[number]].map((fault) => faultItem(fault, false)));
  byId("slide-samples").replaceChildren(...run.samples.filter((sample) => sample.slide === number).map((sample) => {
    const item = sampleItem(sample);
    item.querySelector(".caption").remove();
    item.querySelectorAll("img").forEach(reveal);
    return item;
  }));
  const note = byId("stage-note");
  note.textContent = [
    open.image || !open.count ? "" : "The slide cannot be shown; its patches are drawn where they lie.",
    open.image || open.count ? "" : "The slide cannot be shown, and there are no patches of it.",
    detail.scales || !open.count ? "" : "How large patches are on the slide is not known, as it states no microns per pixel: they are drawn too small or too large.",
  ].filter(Boolean).join(" ");
  note.hidden = !note.textContent;
  canvas.setAttribute("aria-label", `${head.name} with ${count(head.written, "patch")}`);
}

async function follow() {
  const match = /^#slide-(\d+)(?:\/patch-(\d+))?$/.exec(location.hash);
  if (!match || !run.slides[match[1]]) {
    if (viewer.open) viewer.close();
    return;
  }
  const number = Number(match[1]);
  if (!viewer.open) viewer.showModal();
  if (open?.number !== number) {
    open = null;
    canvas.dataset.ready = "";
    byId("viewer-title").textContent = run.slides[number].name;
    const loaded = await load(number);
    if (!viewer.open || !location.hash.startsWith(match[0].split("/")[0])) return; // something else was asked for
    open = loaded;
    selected = null;
    showPanel();
    fit();
    select(null);
    canvas.focus();
  }
  if (match[2] !== undefined && Number(match[2]) < open.count) select(Number(match[2]), { centre: true });
  canvas.dataset.ready = number;
}

viewer.addEventListener("close", () => {
  const number = open?.number;
  open = null;
  if (location.hash.startsWith("#slide-")) history.replaceState(null, "", location.pathname + location.search);
  if (number !== undefined) rows[number].querySelector("a").focus({ preventScroll: true });
});
addEventListener("hashchange", follow);
follow();
