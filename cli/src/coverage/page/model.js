"use strict";

// The report, the state of the filters, and the rows that pass them.

const data = JSON.parse(document.getElementById("data").textContent);
const STATUSES = data.statuses;
const NUMBER = new Intl.NumberFormat("en");
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

const rows = data.rows.map(([account, region, vpc, name, status, reason, flowLog, destination, next], order) => {
  const owner = data.accounts[account];
  const row = {
    order, account, owner, region, vpc, name, status, flowLog, next,
    regionName: region < 0 ? "" : data.regions[region],
    reason: data.texts[reason],
    destination: data.texts[destination],
    nextStep: data.texts[next],
  };
  const texts = [owner.id, owner.name, row.regionName, vpc, name, STATUSES[status].title, row.reason, flowLog, row.destination];
  row.haystack = texts.join("\n").toLowerCase();
  return row;
});

const state = { words: [], statuses: new Set(), unit: -1, account: -1, region: -1, step: -1, sort: "status", down: false, page: 0, size: 100 };

/** The rows that pass all filters, except the filter named in `except`. */
function passing(except) {
  const { words, statuses, unit, account, region, step } = state;
  return rows.filter((row) =>
    (except === "status" || statuses.size === 0 || statuses.has(row.status)) &&
    (unit < 0 || row.owner.units.includes(unit)) &&
    (account < 0 || row.account === account) &&
    (region < 0 || row.region === region) &&
    (step < 0 || row.next === step) &&
    words.every((word) => row.haystack.includes(word)));
}

const SORTS = {
  status: (a, b) => a.status - b.status,
  account: (a, b) => collator.compare(a.owner.name, b.owner.name) || a.account - b.account,
  region: (a, b) => a.region - b.region,
  vpc: (a, b) => collator.compare(a.name || a.vpc, b.name || b.vpc),
  reason: (a, b) => collator.compare(a.reason, b.reason),
  flowLog: (a, b) => collator.compare(a.flowLog, b.flowLog),
};

function sorted(list) {
  const compare = SORTS[state.sort];
  const sign = state.down ? -1 : 1;
  return list.sort((a, b) => sign * compare(a, b) || a.order - b.order);
}

/** Counts rows by status and calculates the percentage in the same way as the report's own totals. */
function tally(list) {
  const counts = STATUSES.map(() => 0);
  for (const row of list) counts[row.status] += 1;
  const problems = counts.reduce((sum, count, status) => sum + (STATUSES[status].problem ? count : 0), 0);
  const covered = counts[STATUSES.findIndex((status) => status.id === "covered")];
  const wanted = covered + problems;
  return { counts, problems, covered, wanted, percent: wanted ? Math.floor((covered * 1000) / wanted) / 10 : null };
}

/** All rows, grouped by the keys that `keysOf` returns. */
function grouped(keysOf) {
  const groups = new Map();
  for (const row of rows) {
    for (const key of keysOf(row)) {
      const group = groups.get(key);
      if (group) group.push(row);
      else groups.set(key, [row]);
    }
  }
  return groups;
}

function unitName(unit) {
  const { id, name } = data.units[unit];
  return name || id;
}

function percentText(percent) {
  return percent === null ? "–" : `${percent.toFixed(1)} %`;
}

function count(number, one, many) {
  return `${NUMBER.format(number)} ${number === 1 ? one : many}`;
}

/**
 * Creates an element. Strings become text nodes, so nothing in the report is ever parsed as HTML.
 */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") element.className = value;
    else if (value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** Untrusted text, isolated so that it cannot change the direction of the text around it. */
function foreign(text, className = "") {
  return make("bdi", { class: className, dir: "auto" }, text);
}

function find(id) {
  return document.getElementById(id);
}
