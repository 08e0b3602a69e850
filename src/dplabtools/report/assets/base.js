"use strict";

// What all parts of the page use: its data, elements made of text, columns unpacked.

const run = JSON.parse(document.getElementById("data").textContent);
const whole = new Intl.NumberFormat("en");

const byId = (id) => document.getElementById(id);
const labelName = (name) => name || "unlabelled";
const count = (number, noun) => `${whole.format(number)} ${noun}${number === 1 ? "" : noun.endsWith("ch") ? "es" : "s"}`;
const percent = (share) => `${Math.round(share * 100)} %`;

const labelNumbers = new Map(run.labels.map((label, number) => [label.name, number]));
const colourOf = (name) => run.colours[(labelNumbers.get(name) ?? 0) % run.colours.length];

const STATUSES = {
  complete: ["good", "✓"],
  partial: ["warn", "!"],
  empty: ["warn", "∅"],
  interrupted: ["warn", "‖"],
  failed: ["bad", "✕"],
};
const statusKind = (status) => (STATUSES[status] ?? ["warn", "?"])[0];
const statusText = (status) => `${(STATUSES[status] ?? ["warn", "?"])[1]} ${status}`;

/** What may have been measured of patches; which way is bad, and how a value is said. */
const QUALITIES = {
  sharpness: { title: "Sharpness", worst: "Least sharp", low: true, words: (value) => `sharpness ${Number(value.toPrecision(3))}` },
  background_share: { title: "Background", worst: "Most background", words: (value) => `${percent(value)} background` },
  pen_share: { title: "Pen", worst: "Most pen", words: (value) => `${percent(value)} pen` },
  brightness: { title: "Brightness", worst: "Darkest", low: true, words: (value) => `brightness ${Math.round(value)}` },
  saturation: { title: "Saturation", worst: "Palest", low: true, words: (value) => `saturation ${Math.round(value)}` },
};
const measured = Object.keys(QUALITIES).filter((name) => run.quality[name]);

/** Makes an element; all text is set as text, whatever it says. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "text") element.textContent = value;
    else if (name === "class") element.className = value;
    else if (name === "style") for (const [key, each] of Object.entries(value)) element.style.setProperty(key, each);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Returns seconds as a clock would show them. */
function duration(seconds) {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  const rest = String(Math.round(seconds % 60)).padStart(2, "0");
  return minutes < 60 ? `${minutes}:${rest} min` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")} h`;
}

/** A bar whose parts are as long as the patches of each label are many. */
function sharesBar(counts) {
  const parts = Object.entries(counts).filter(([, number]) => number > 0);
  return make("div", { class: "shares", "aria-hidden": "true" }, ...parts.map(([name, number]) =>
    make("i", { style: { "flex-grow": number, "flex-basis": "0", background: colourOf(name) } })));
}

const swatch = (name) => make("span", { class: "swatch", "aria-hidden": "true", style: { background: colourOf(name) } });

/** Reads a column that packing.py has written. */
async function unpack(text) {
  const binary = atob(text);
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = planes.length / 4;
  const values = new Int32Array(length);
  let last = 0;
  for (let i = 0; i < length; i++) {
    const step = planes[i] | (planes[i + length] << 8) | (planes[i + 2 * length] << 16) | (planes[i + 3 * length] << 24);
    last = (last + step) | 0;
    values[i] = last;
  }
  return values;
}

/** Gives images their pixels when they come into view. */
const onSight = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) reveal(entry.target);
}, { rootMargin: "300px" });

function lazyImage(source, properties) {
  const image = make("img", { decoding: "async", ...properties });
  image.reveal = source;
  onSight.observe(image);
  return image;
}

function reveal(image) {
  if (!image.reveal) return;
  image.src = image.reveal;
  image.reveal = null;
  onSight.unobserve(image);
}

/** Why there is nothing, and what was warned of. */
const notesOf = run.slides.map((slide, number) => [...(slide.reason ? [slide.reason] : []), ...slide.warnings].map((text) => {
  const [error, remedy] = text.split(" → ");
  return { slide: number, error, remedy: remedy ?? "", rows: [], count: 0 };
}));

/** What failed, and what to do about it. */
function faultItem(fault, withSlide) {
  const rows = fault.count
    ? ` (${count(fault.count, "patch")}: ${fault.rows.slice(0, 12).join(", ")}${fault.count > 12 ? ", …" : ""})`
    : "";
  const link = withSlide ? make("a", { class: "where", href: `#slide-${fault.slide}`, text: run.slides[fault.slide].name }) : null;
  return make("li", {}, link, make("span", { class: "what", text: fault.error + rows }),
    fault.remedy ? make("span", { class: "remedy", text: fault.remedy }) : null);
}

// -- light and dark --------------------------------------------------------------------

const preference = matchMedia("(prefers-color-scheme: dark)");
let chosenTheme = null;
try { chosenTheme = localStorage.getItem("dplabtools-theme"); } catch { /* a file may have no storage */ }

function applyTheme() {
  const theme = chosenTheme ?? (preference.matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "☀ Light" : "☾ Dark";
  byId("theme").title = `Show the page ${theme === "dark" ? "light" : "dark"}`;
  document.dispatchEvent(new Event("theme"));
}
byId("theme").addEventListener("click", () => {
  chosenTheme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("dplabtools-theme", chosenTheme); } catch { /* then it is forgotten */ }
  applyTheme();
});
preference.addEventListener("change", applyTheme);
applyTheme();

addEventListener("beforeprint", () => document.querySelectorAll("main img").forEach(reveal));
