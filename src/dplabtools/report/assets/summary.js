// The head of the page, its charts, its failures, and how the run was made.

const written = run.slides.reduce((sum, slide) => sum + slide.written, 0);
const placed = run.slides.reduce((sum, slide) => sum + Math.max(slide.placed, slide.written), 0);
const byStatus = new Map();
for (const slide of run.slides) byStatus.set(slide.status, (byStatus.get(slide.status) ?? 0) + 1);

function showSummary() {
  byId("run-name").textContent = run.name;
  const views = run.views.length ? ` at ${run.views.join("; ")}` : "";
  byId("sentence").textContent = `${count(written, "patch")}${views} from ${count(run.slides.length, "slide")}, in ${run.folder}`;

  const failed = byStatus.get("failed") ?? 0;
  const missing = placed - written;
  const complaints = [];
  if (run.interrupted) complaints.push("The run was interrupted.");
  if (failed) complaints.push(`${count(failed, "slide")} failed.`);
  if (missing) complaints.push(`${count(missing, "patch")} of those asked for ${missing === 1 ? "is" : "are"} missing.`);
  if (complaints.length) {
    byId("alarm").append(complaints.join(" ") + " ", make("a", { href: "#failures", text: "See why, and what to do" }));
    byId("alarm").hidden = false;
  }

  const figure = (name, value, small) => [make("div", {}, make("dt", { text: name }),
    make("dd", {}, value, small ? make("small", { text: small }) : null))];
  const states = [...byStatus].map(([status, number]) => `${whole.format(number)} ${status}`).join(", ");
  byId("figures").append(
    ...figure("Slides", whole.format(run.slides.length), states),
    ...figure("Patches", whole.format(written), missing ? `of ${whole.format(placed)} asked for` : "all that were asked for"),
  );
  if (run.seconds) {
    const rate = written / run.seconds;
    byId("figures").append(...figure("Time", duration(run.seconds), `${rate < 10 ? rate.toFixed(1) : whole.format(Math.round(rate))} patches/s`));
  }
  const covered = run.slides.filter((slide) => slide.coverage !== null);
  if (covered.length) {
    const all = covered.reduce((sum, slide) => sum + slide.written, 0);
    const mean = covered.reduce((sum, slide) => sum + slide.coverage * slide.written, 0) / all;
    byId("figures").append(...figure("Foreground", percent(mean), "of a patch, on average"));
  }
  if (run.facts.started) {
    const zone = run.facts.started.slice(19).replace("+00:00", "UTC");
    byId("figures").append(...figure("Started", run.facts.started.slice(0, 10), `${run.facts.started.slice(11, 16)} ${zone}`));
  }

  const counts = Object.fromEntries(run.labels.map((label) => [label.name, label.count]));
  if (run.labels.length > 1) {
    byId("label-bar").append(sharesBar(counts), make("div", { class: "keys-of-labels" }, ...run.labels.map((label) =>
      make("span", {}, swatch(label.name), labelName(label.name), make("b", { text: whole.format(label.count) })))));
  }
}

function chart(title, remark, bars, ends) {
  const highest = Math.max(1, ...bars.map((bar) => bar.value));
  const words = bars.filter((bar) => bar.value).map((bar) => `${bar.name}: ${bar.words}`).join("; ");
  byId("charts").append(make("figure", {}, make("figcaption", { text: title }, make("small", { text: remark })),
    make("div", { class: "bars", role: "img", "aria-label": words }, ...bars.map((bar) =>
      make("i", { title: `${bar.name}: ${bar.words}`, style: { height: `${bar.value ? Math.max(2, bar.value / highest * 100) : 0}%` } }))),
    make("div", { class: "axis" }, ...ends.map((end) => make("span", { text: end })))));
}

/** Values in bins whose borders are round numbers. */
function histogram(title, values, { words, noun }) {
  const highest = Math.max(...values);
  let step = 10 ** Math.floor(Math.log10(Math.max(highest, 1e-9) / 10));
  while (highest / step > 20) step *= step.toExponential().startsWith("2") ? 2.5 : 2;
  const bars = Array.from({ length: Math.floor(highest / step) + 1 }, () => 0);
  for (const value of values) bars[Math.floor(value / step)] += 1;
  const sorted = [...values].sort((a, b) => a - b);
  const median = sorted[Math.floor(sorted.length / 2)];
  chart(title, `median ${words(median)}`, bars.map((value, i) => (
    { value, name: `${words(i * step)} to ${words((i + 1) * step)}`, words: count(value, noun) })), [words(0), words(bars.length * step)]);
}

function showCharts() {
  const total = run.coverage.reduce((sum, value) => sum + value, 0);
  const bins = run.coverage.length;
  if (total) {
    chart("Foreground of patches", count(total, "patch"), run.coverage.map((value, i) => (
      { value, name: `${percent(i / bins)} to ${percent((i + 1) / bins)}`, words: count(value, "patch") })), ["0 %", "50 %", "100 %"]);
  }
  for (const name of measured) {
    const { title, words } = QUALITIES[name];
    const { borders, counts } = run.quality[name];
    const last = counts.length - 1 - [...counts].reverse().findIndex(Boolean);
    const number = counts.reduce((sum, value) => sum + value, 0);
    const sides = [0, Math.floor(last / 2) + 1, last + 1].map((at) => words(borders[at]).replace(/^[a-z]+ | [a-z]+$/g, ""));
    if (number) chart(`${title} of patches`, count(number, "patch"), counts.slice(0, last + 1).map((value, i) => (
      { value, name: `${words(borders[i])} to ${words(borders[i + 1])}`, words: count(value, "patch") })), sides);
  }
  if (run.slides.length > 1) {
    histogram("Patches per slide", run.slides.map((slide) => slide.written), { words: (value) => whole.format(Math.round(value)), noun: "slide" });
  }
  const seconds = run.slides.map((slide) => slide.seconds).filter((value) => value !== null);
  if (seconds.length > 1 && Math.max(...seconds) > 0) histogram("Seconds per slide", seconds, { words: (value) => `${Number(value.toPrecision(2))} s`, noun: "slide" });
  if (!byId("charts").childElementCount) byId("charts").append(make("p", { class: "empty", text: "One slide, and no coverage in its manifest: nothing to draw." }));
}

function showFailures() {
  const notes = [...notesOf.flat(), ...(run.warnings ?? []).map((error) => ({ error, remedy: "", count: 0 }))];
  byId("failure-badge").textContent = run.faults.length ? whole.format(run.faults.length) : "";
  byId("failure-count").textContent = run.faults.length + notes.length ? "" : "None.";
  byId("failure-list").append(...[...run.faults, ...notes].map((fault) => faultItem(fault, fault.slide !== undefined)));
}

function showMaking() {
  const group = (title, pairs) => {
    if (!pairs.length) return;
    byId("params").append(make("h3", { text: title }), make("dl", {}, ...pairs.map(([name, value]) =>
      make("div", {}, make("dt", { text: name }), make("dd", {}, make("code", { text: value || "–" }))))));
  };
  const report = Object.entries(run.report).map(([name, value]) => `${name} ${value}`).join(", ");
  group("Run", [...Object.entries(run.facts), ["folder", run.folder], ["report", `made ${run.made} with ${report}, seed ${run.seed}`]]);
  group("Parameters", Object.entries(run.params));
  group("Versions", Object.entries(run.versions));
}

showSummary();
showCharts();
showFailures();
showMaking();
