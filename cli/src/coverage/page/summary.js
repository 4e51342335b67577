// The totals, the bars and the list of next steps.

const MORE_BARS = 10;
const MORE_STEPS = 5;
const shown = { group: "unit", allGroups: false, allSteps: false };

function statusDot(status) {
  return make("span", { class: "dot", "data-status": STATUSES[status].id, "aria-hidden": "true" });
}

function drawTotals() {
  const all = tally(rows);
  const main = make("div", { class: "tile main", id: "coverage" },
    ring(all.percent ?? 0),
    make("div", {},
      make("div", { class: "figure" }, percentText(data.coverage_percent)),
      make("div", { class: "muted" }, all.wanted ? `${NUMBER.format(all.covered)} of ${NUMBER.format(all.wanted)} covered${data.part ? " in this part" : ""}` : "nothing to cover")));
  const tiles = STATUSES.map((status, index) => {
    const total = all.counts[index];
    const tile = make("button", { type: "button", class: total ? "tile" : "tile none", "data-tile": status.id, "data-status": status.id, title: status.meaning, "aria-pressed": "false" },
      make("span", { class: "label" }, statusDot(index), status.title),
      make("span", { class: "figure" }, NUMBER.format(total)));
    tile.addEventListener("click", () => {
      const only = state.statuses.size === 1 && state.statuses.has(index);
      state.statuses = new Set(only ? [] : [index]);
      refresh();
      find("rows-title").scrollIntoView({ block: "nearest" });
    });
    return tile;
  });
  find("totals").replaceChildren(main, ...tiles);
}

function ring(percent) {
  const drawing = find("ring").content.cloneNode(true);
  drawing.querySelector(".arc").setAttribute("stroke-dasharray", `${percent} ${100 - percent}`);
  return drawing;
}

/** One bar of a chart. A click sets the filter `key` to `value`. */
function bar(key, value, label, list, depth) {
  const sums = tally(list);
  const parts = STATUSES.map((status, index) => [status, index]).filter(([, index]) => sums.counts[index] > 0);
  const summary = parts.map(([status, index]) => `${status.title} ${NUMBER.format(sums.counts[index])}`).join(", ");
  const stack = make("span", { class: "stack", "aria-hidden": "true" });
  // The covered part comes first, so that its length can be compared from the left.
  const order = [...parts].sort(([a], [b]) => (b.id === "covered") - (a.id === "covered"));
  for (const [status, index] of order) {
    const part = make("span", { "data-status": status.id, "data-part": index, title: `${status.title}: ${NUMBER.format(sums.counts[index])}` });
    part.style.flexGrow = sums.counts[index];
    stack.append(part);
  }
  const share = make("span", { class: "share" }, make("b", {}, percentText(sums.percent)), ` of ${NUMBER.format(sums.wanted)}`);
  const line = make("button", { type: "button", class: "bar", "data-filter": key, "data-value": value, "aria-pressed": "false", title: `${label}: ${summary}` },
    foreign(label, "what"), stack, share, make("span", { class: "hidden" }, `. ${summary}`));
  line.style.setProperty("--depth", depth);
  line.addEventListener("click", (event) => {
    const part = event.target.dataset.part;
    if (part === undefined) state[key] = state[key] === value ? -1 : value;
    else {
      state[key] = value;
      state.statuses = new Set([Number(part)]);
    }
    refresh();
  });
  return make("li", {}, line);
}

/** The units as a tree. Everything below a unit counts towards it. */
function unitBars() {
  const paths = new Map();
  for (const { units } of data.accounts) {
    units.forEach((unit, depth) => paths.set(unit, { depth, path: units.slice(0, depth + 1).map(unitName).join("\n") }));
  }
  const groups = grouped((row) => row.owner.units);
  const tree = [...groups].sort(([a], [b]) => collator.compare(paths.get(a).path, paths.get(b).path));
  return tree.map(([unit, list]) => bar("unit", unit, unitName(unit), list, paths.get(unit).depth));
}

function accountBars() {
  const groups = [...grouped((row) => [row.account])].map(([account, list]) => ({ account, list, sums: tally(list) }));
  groups.sort((a, b) => b.sums.problems - a.sums.problems || b.sums.wanted - a.sums.wanted || a.account - b.account);
  return groups.map(({ account, list }) => bar("account", account, data.accounts[account].name || data.accounts[account].id, list, 0));
}

function drawGroups() {
  const byUnit = shown.group === "unit";
  find("groups-title").textContent = byUnit ? "By organizational unit" : "By account, most problems first";
  const bars = byUnit ? unitBars() : accountBars();
  const cut = !shown.allGroups && bars.length > MORE_BARS + 2;
  find("groups").replaceChildren(...(cut ? bars.slice(0, MORE_BARS) : bars));
  if (!bars.length) find("groups").append(make("li", { class: "empty" }, byUnit ? "No organizational units are known." : "No accounts."));
  const more = find("groups-more");
  more.hidden = !cut;
  more.textContent = `Show all ${NUMBER.format(bars.length)}`;
  for (const button of document.querySelectorAll("[data-group]")) button.setAttribute("aria-pressed", String(button.dataset.group === shown.group));
}

function drawRegions() {
  const groups = grouped((row) => (row.region < 0 ? [] : [row.region]));
  const bars = data.regions.map((name, region) => bar("region", region, name, groups.get(region) ?? [], 0));
  find("regions").replaceChildren(...bars);
  if (!bars.length) find("regions").append(make("li", { class: "empty" }, "No Regions."));
}

function drawSteps() {
  const groups = grouped((row) => (row.nextStep && STATUSES[row.status].problem ? [row.next] : []));
  const steps = [...groups].sort(([a, one], [b, two]) => two.length - one.length || a - b);
  const cut = !shown.allSteps && steps.length > MORE_STEPS + 1;
  find("steps-card").hidden = steps.length === 0;
  find("steps").replaceChildren(...(cut ? steps.slice(0, MORE_STEPS) : steps).map(([step, list]) => {
    const button = make("button", { type: "button", "data-filter": "step", "data-value": step, "aria-pressed": "false" }, foreign(data.texts[step]));
    button.addEventListener("click", () => {
      state.step = state.step === step ? -1 : step;
      refresh();
    });
    return make("li", {}, make("span", { class: "count" }, `${NUMBER.format(list.length)} ×`), button);
  }));
  find("steps-more").hidden = !cut;
  find("steps-more").textContent = `Show all ${NUMBER.format(steps.length)}`;
}

/** Marks the tiles, bars and steps that are set as filters. */
function markFilters() {
  for (const tile of document.querySelectorAll("[data-tile]")) {
    const index = STATUSES.findIndex((status) => status.id === tile.dataset.tile);
    tile.setAttribute("aria-pressed", String(state.statuses.has(index)));
  }
  for (const line of document.querySelectorAll("[data-filter]")) {
    line.setAttribute("aria-pressed", String(state[line.dataset.filter] === Number(line.dataset.value)));
  }
}
