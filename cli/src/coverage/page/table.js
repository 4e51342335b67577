// The table of rows, its pages and its CSV file.

const COLUMNS = [
  ["status", "Status"], ["account", "Account"], ["region", "Region"], ["vpc", "VPC"], ["reason", "Why"], ["flowLog", "Flow log"],
];
let found = [];

function drawHead() {
  find("head").replaceChildren(...COLUMNS.map(([key, title]) => {
    const current = state.sort === key;
    const arrow = make("span", { class: "arrow", "aria-hidden": "true" }, current ? (state.down ? "↓" : "↑") : "");
    const button = make("button", { type: "button", "data-sort": key }, title, arrow);
    button.addEventListener("click", () => {
      state.down = current ? !state.down : false;
      state.sort = key;
      refresh();
      find("head").querySelector(`[data-sort="${key}"]`).focus();
    });
    return make("th", { scope: "col", role: "columnheader", "aria-sort": current ? (state.down ? "descending" : "ascending") : null }, button);
  }));
}

function cell(index, ...children) {
  const filled = children.filter((child) => child !== null);
  return make("td", { role: "cell", "data-label": COLUMNS[index][1], class: filled.length ? "" : "blank" },
    ...(filled.length ? [make("div", {}, ...filled)] : []));
}

function rowElement(row) {
  const { owner } = row;
  const unit = owner.units.length ? unitName(owner.units[owner.units.length - 1]) : "";
  return make("tr", { role: "row", "data-status": STATUSES[row.status].id },
    cell(0, make("span", { class: "status" }, statusDot(row.status), STATUSES[row.status].title)),
    cell(1, foreign(owner.name || owner.id), owner.name ? make("span", { class: "sub id" }, owner.id) : null, unit ? make("span", { class: "sub" }, foreign(unit)) : null),
    cell(2, row.regionName || make("span", { class: "muted" }, "all Regions")),
    cell(3, row.name ? foreign(row.name) : null,
      row.vpc ? make("span", { class: row.name ? "sub id" : "id" }, row.vpc) : make("span", { class: "sub" }, "not inspected"),
      row.flowLog ? make("span", { class: "compact sub id" }, row.flowLog) : null,
      row.destination ? make("span", { class: "compact sub" }, row.destination) : null),
    cell(4, row.reason ? foreign(row.reason) : null, row.nextStep ? make("span", { class: "next" }, foreign(row.nextStep)) : null),
    cell(5, row.flowLog ? make("span", { class: "id" }, row.flowLog) : null, row.destination ? make("span", { class: "sub" }, row.destination) : null));
}

function drawRows(all = false) {
  const pages = Math.max(1, Math.ceil(found.length / state.size));
  state.page = Math.min(Math.max(state.page, 0), pages - 1);
  const start = all ? 0 : state.page * state.size;
  const list = all ? found : found.slice(start, start + state.size);
  find("body").replaceChildren(...list.map(rowElement));
  find("page").textContent = found.length ? `${NUMBER.format(start + 1)}–${NUMBER.format(start + list.length)} of ${NUMBER.format(found.length)}` : "";
  find("pages").hidden = found.length <= 50;
  for (const [name, off] of [["first", state.page === 0], ["previous", state.page === 0], ["next", state.page === pages - 1], ["last", state.page === pages - 1]]) {
    document.querySelector(`[data-page="${name}"]`).disabled = off;
  }
  const empty = find("empty");
  empty.hidden = found.length > 0;
  empty.textContent = rows.length ? "Nothing matches these filters." : emptyReport();
  document.querySelector("table").hidden = found.length === 0;
}

function emptyReport() {
  return data.account_regions ? "The inspected account-Regions have no VPCs." : "No account-Region was inspected.";
}

function turnTo(where) {
  const last = Math.ceil(found.length / state.size) - 1;
  state.page = { first: 0, previous: state.page - 1, next: state.page + 1, last }[where];
  drawRows();
  find("rows-title").scrollIntoView({ block: "start" });
}

/** A cell of a CSV file. Text that a spreadsheet would take for a formula is prefixed with an apostrophe. */
function csvCell(text) {
  const safe = /^[=+\-@\t\r\n]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

function save() {
  const header = ["account", "account_name", "organizational_units", "region", "vpc", "name", "status", "reason", "flow_log", "destination", "next_step",
    "generated_at", "scope", "simulated", "caller", "version", "settings_digest"];
  const { about } = data;
  const scope = data.about_lines.find((line) => /^(Scope|PARTIAL)/.test(line));
  const made = [about.generated_at, scope, String(about.simulated), about.caller, about.version, about.settings_digest];
  const lines = found.map((row) => [
    row.owner.id, row.owner.name, row.owner.units.map((unit) => data.units[unit].id).join(" "), row.regionName, row.vpc, row.name,
    STATUSES[row.status].id, row.reason, row.flowLog, row.destination, row.nextStep, ...made,
  ]);
  const text = [header, ...lines].map((cells) => `${cells.map(csvCell).join(",")}\n`).join("");
  const link = make("a", { download: `coverage-${data.organization}.csv` });
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.click();
  URL.revokeObjectURL(link.href);
}
