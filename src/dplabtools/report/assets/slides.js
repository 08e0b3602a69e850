// The table of slides, and the contact sheet of their patches; one filter for both.

const SAMPLES = 72; // patches on the contact sheet, before all of them are asked for

const faultsOf = run.slides.map(() => []);
for (const fault of run.faults) faultsOf[fault.slide].push(fault);

/** What failed, why there is nothing, and what was warned of. */
const problemsOf = run.slides.map((_, number) => [...faultsOf[number], ...notesOf[number]].map((each) => each.error));

/** A share that may be small: biopsies have little tissue. */
function share(value) {
  return value > 0 && value < 0.01 ? `${(value * 100).toPrecision(1)} %` : percent(value);
}

const COLUMNS = [
  { title: "Slide", key: (slide) => slide.name.toLowerCase(), cell: (slide, number) => [make("a", { href: `#slide-${number}`, text: slide.name }),
    make("small", { text: slide.size ? `${whole.format(slide.size[0])} × ${whole.format(slide.size[1])} px${slide.reader ? `, ${slide.reader}` : ""}` : "" })], kind: "name" },
  { title: "Status", key: (slide) => Object.keys(STATUSES).indexOf(slide.status), cell: (slide) => [make("span", { class: `status ${statusKind(slide.status)}`, text: statusText(slide.status) })] },
  { title: "Patches", key: (slide) => slide.written, down: true, kind: "number", titled: true, cell: (slide) => [whole.format(slide.written),
    slide.placed > slide.written ? make("small", { text: `of ${whole.format(slide.placed)}` }) : null] },
  { title: "Labels", key: (slide) => Object.keys(slide.counts).length, down: true, kind: "labels", hidden: run.labels.length < 2, cell: (slide) =>
    [sharesBar(slide.counts), ...Object.entries(slide.counts).map(([name, number]) => make("span", {}, swatch(name), `${labelName(name)} ${whole.format(number)}`))] },
  { title: "µm/px", key: (slide) => slide.mpp, kind: "number", titled: true, cell: (slide) =>
    [slide.mpp === null ? "unknown" : String(Number(slide.mpp.toPrecision(4))), slide.mppSource ? make("small", { text: slide.mppSource }) : null] },
  { title: "Tissue", key: (slide) => slide.tissue, down: true, kind: "number", titled: true, hidden: run.slides.every((slide) => slide.tissue === null),
    cell: (slide) => [slide.tissue === null ? "" : share(slide.tissue)] },
  { title: "Foreground", key: (slide) => slide.coverage, down: true, kind: "number", titled: true, hidden: run.slides.every((slide) => slide.coverage === null),
    cell: (slide) => [slide.coverage === null ? "" : percent(slide.coverage)] },
  ...measured.slice(0, 3).map((name) => ({ title: QUALITIES[name].title, key: (slide) => slide[name] ?? null, down: !QUALITIES[name].low, kind: "number", titled: true,
    cell: (slide) => [(slide[name] ?? null) === null ? "" : name.endsWith("_share") ? share(slide[name]) : String(Number(slide[name].toPrecision(3)))] })),
  { title: "Seconds", key: (slide) => slide.seconds, down: true, kind: "number", titled: true, hidden: run.slides.every((slide) => slide.seconds === null),
    cell: (slide) => [slide.seconds === null ? "" : slide.seconds.toFixed(1)] },
  { title: "Problems", key: (slide, number) => problemsOf[number].length, down: true, kind: "problems", hidden: problemsOf.every((each) => !each.length),
    cell: (slide, number) => problemsOf[number].slice(0, 2).map((text) => make("span", { text })).concat(
      problemsOf[number].length > 2 ? [make("small", { text: `and ${problemsOf[number].length - 2} more` })] : []) },
].filter((column) => !column.hidden);

const rows = run.slides.map((slide, number) => {
  const picture = slide.thumbnail
    ? lazyImage(slide.thumbnail, { alt: "", width: 80, height: 60 })
    : make("span", { class: "nothing", text: "no image" });
  const row = make("tr", {}, make("td", { class: "picture" }, picture), ...COLUMNS.map((column) => {
    const cell = make("td", { class: column.kind ?? "" }, ...column.cell(slide, number));
    if (column.titled) cell.dataset.title = column.title;
    if (!cell.textContent) cell.classList.add("none");
    return cell;
  }));
  row.addEventListener("click", (event) => {
    if (!event.target.closest("a") && !String(getSelection())) location.hash = `slide-${number}`;
  });
  return row;
});
const words = run.slides.map((slide, number) =>
  [slide.file, slide.status, ...Object.keys(slide.counts), ...problemsOf[number]].join("\n").toLowerCase());

let sorting = { column: null, down: false };
let shown = run.slides.map((_, number) => number);

function showHead() {
  const heads = COLUMNS.map((column) => {
    const button = make("button", { type: "button", text: column.title });
    button.addEventListener("click", () => {
      sorting = { column, down: sorting.column === column ? !sorting.down : Boolean(column.down) };
      showRows();
    });
    const head = make("th", { scope: "col", class: column.kind ?? "" }, button);
    column.head = head;
    return head;
  });
  byId("slide-table").tHead.append(make("tr", {}, make("th", { class: "picture" }, make("span", { class: "vh", text: "Picture" })), ...heads));
}

function compare(a, b) {
  const one = sorting.column.key(run.slides[a], a);
  const other = sorting.column.key(run.slides[b], b);
  if (one === null || other === null) return (one === null) - (other === null); // unknown ones last
  const order = typeof one === "string" ? one.localeCompare(other, "en", { numeric: true }) : one - other;
  return sorting.down ? -order : order;
}

function showRows() {
  const text = byId("filter-text").value.trim().toLowerCase();
  const status = byId("filter-status").value;
  const label = byId("filter-label").value;
  shown = run.slides.map((_, number) => number).filter((number) =>
    words[number].includes(text)
    && (!status || (status === "!" ? problemsOf[number].length : run.slides[number].status === status))
    && (!label || run.slides[number].counts[run.labels[label].name] > 0));
  if (sorting.column) shown.sort((a, b) => compare(a, b) || a - b);
  for (const column of COLUMNS) {
    if (column === sorting.column) column.head.setAttribute("aria-sort", sorting.down ? "descending" : "ascending");
    else column.head.removeAttribute("aria-sort");
  }
  byId("slide-table").tBodies[0].replaceChildren(...shown.map((number) => rows[number]));
  byId("no-slides").hidden = shown.length > 0;
  byId("slide-count").textContent = shown.length === rows.length ? whole.format(rows.length) : `${whole.format(shown.length)} of ${whole.format(rows.length)}`;
  showSamples(label);
}

/** A patch of the contact sheet; it leads to its place on the slide. */
function sampleItem(sample) {
  const slide = run.slides[sample.slide];
  const label = sample.label ? `${sample.label}, ` : "";
  const share = sample.coverage === null ? "" : `, ${percent(sample.coverage)} foreground`;
  const images = sample.images.map((image) => lazyImage(image, { alt: "" }));
  const good = measured.filter((name) => sample[name] !== undefined).map((name) => `, ${QUALITIES[name].words(sample[name])}`).join("");
  const text = `${label}x ${sample.x}, y ${sample.y} on ${slide.name}${share}${good}`;
  const item = make("li", {},
    make("a", { href: `#slide-${sample.slide}/patch-${sample.at}`, title: text, "aria-label": text },
      make("span", { class: "images" }, ...images),
      make("span", { class: "caption" }, sample.label ? swatch(sample.label) : null, sample.label || slide.name)));
  return item;
}
for (const sample of run.samples) sample.item = sampleItem(sample);

let allSamples = false;
byId("all-samples").addEventListener("click", () => { allSamples = true; showRows(); });

/** Whether a value is as bad as what is asked for. */
function bad(value, by) {
  const limit = byId("sample-limit").value;
  if (limit === "") return true;
  const scaled = by.endsWith("_share") ? Number(limit) / 100 : Number(limit);
  return QUALITIES[by].low ? value <= scaled : value >= scaled;
}

/** Lets the contact sheet be ordered by what was measured. */
function showOrders() {
  byId("sample-order").hidden = !measured.length;
  byId("sample-by").append(make("option", { value: "", text: "at random" }),
    ...measured.map((name) => make("option", { value: name, text: `${QUALITIES[name].worst} first` })));
  byId("sample-by").addEventListener("input", () => {
    const by = byId("sample-by").value;
    byId("sample-limit").value = "";
    byId("sample-limit-label").hidden = !by;
    if (by) byId("sample-limit-label").firstElementChild.textContent = `${QUALITIES[by].title} ${QUALITIES[by].low ? "up to" : "from"}${by.endsWith("_share") ? ", %" : ""}`;
  });
  byId("sample-order").addEventListener("input", showRows);
  byId("sample-order").addEventListener("submit", (event) => event.preventDefault());
}

function showSamples(label) {
  const visible = new Set(shown);
  const by = byId("sample-by").value;
  const matching = run.samples.filter((sample) => visible.has(sample.slide) && (!label || sample.label === run.labels[label].name)
    && (by ? sample[by] !== undefined && bad(sample[by], by) : sample.random));
  if (by) matching.sort((a, b) => (QUALITIES[by].low ? a[by] - b[by] : b[by] - a[by]));
  const number = allSamples ? matching.length : Math.min(matching.length, SAMPLES);
  const samples = by ? matching.slice(0, number) : Array.from({ length: number }, (_, i) => matching[Math.floor(i * matching.length / number)]);
  byId("contact-sheet").replaceChildren(...samples.map((sample) => sample.item));
  byId("sample-count").textContent = number
    ? `${whole.format(number)} ${by ? "of the worst" : "at random"}, of the slides above; choose one to see where it lies`
    : "None to show.";
  byId("all-samples").hidden = number === matching.length;
  byId("all-samples").textContent = `Show ${whole.format(matching.length)}`;
}

function showFilters() {
  const option = (value, text) => make("option", { value, text });
  byId("filter-status").append(option("", "any"), ...(problemsOf.some((each) => each.length) ? [option("!", "with problems")] : []),
    ...[...byStatus].map(([status, number]) => option(status, `${status} (${whole.format(number)})`)));
  byId("filter-label").append(option("", "any"), ...run.labels.map((label, number) => option(number, `${labelName(label.name)} (${whole.format(label.count)})`)));
  byId("filter-label").parentElement.hidden = run.labels.length < 2;
  byId("filters").addEventListener("input", showRows);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", () => setTimeout(showRows));
}

document.body.style.setProperty("--views", Math.max(1, ...run.samples.map((sample) => sample.images.length)));
showHead();
showFilters();
showOrders();
showRows();
