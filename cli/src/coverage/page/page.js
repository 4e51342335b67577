// The filter controls, the theme, and the event handlers.

function drawChips() {
  const counts = tally(passing("status")).counts;
  const focused = document.activeElement?.dataset?.chip;
  find("chips").replaceChildren(...STATUSES.map((status, index) => {
    const chip = make("button", { type: "button", class: "chip", "data-chip": status.id, title: status.meaning, "aria-pressed": String(state.statuses.has(index)) },
      statusDot(index), status.title, make("span", { class: "count" }, NUMBER.format(counts[index])));
    chip.addEventListener("click", () => {
      if (!state.statuses.delete(index)) state.statuses.add(index);
      refresh();
    });
    return chip;
  }));
  if (focused) document.querySelector(`[data-chip="${focused}"]`).focus();
}

/** Draws the active filters, each as a button that removes it. */
function drawActive() {
  const names = {
    unit: () => unitName(state.unit),
    account: () => data.accounts[state.account].name || data.accounts[state.account].id,
    region: () => data.regions[state.region],
    step: () => data.texts[state.step],
  };
  const buttons = Object.keys(names).filter((key) => state[key] >= 0).map((key) => {
    const button = make("button", { type: "button", "aria-label": `Remove the filter ${names[key]()}` }, foreign(names[key]()), " ✕");
    button.addEventListener("click", () => {
      state[key] = -1;
      refresh();
    });
    return button;
  });
  if (buttons.length || state.statuses.size || state.words.length) {
    const clear = make("button", { type: "button", id: "clear" }, "Clear all");
    clear.addEventListener("click", () => {
      Object.assign(state, { words: [], statuses: new Set(), unit: -1, account: -1, region: -1, step: -1 });
      find("search").value = "";
      refresh();
      find("search").focus();
    });
    buttons.push(clear);
  }
  find("active").replaceChildren(...buttons);
}

/** Draws everything that depends on the filters and the sort order, starting at the first page. */
function refresh() {
  state.page = 0;
  found = sorted(passing(null));
  const part = found.length === rows.length ? "" : ` of ${NUMBER.format(rows.length)}`;
  find("found").textContent = `${count(found.length, "row", "rows")}${part}`;
  for (const key of ["unit", "account", "region"]) find(key).value = String(state[key]);
  find("save").disabled = found.length === 0;
  drawHead();
  drawRows();
  drawChips();
  drawActive();
  markFilters();
}

function fillSelect(key, all, names) {
  const options = names.map(([value, name]) => make("option", { value }, name));
  find(key).replaceChildren(make("option", { value: -1 }, all), ...options);
  find(key).addEventListener("change", (event) => {
    state[key] = Number(event.target.value);
    refresh();
  });
}

function fillSelects() {
  const paths = new Map();
  for (const { units } of data.accounts) units.forEach((unit, depth) => paths.set(unit, units.slice(0, depth + 1).map(unitName).join(" / ")));
  const byName = (list) => list.sort(([, a], [, b]) => collator.compare(a, b));
  fillSelect("unit", "All units", byName([...paths]));
  fillSelect("account", "All accounts", byName(data.accounts.map(({ id, name }, account) => [account, name ? `${name} (${id})` : id])));
  fillSelect("region", "All Regions", data.regions.map((name, region) => [region, name]));
}

function themes() {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let choice = "auto";
  const apply = () => {
    document.documentElement.dataset.theme = choice === "auto" ? (dark.matches ? "dark" : "light") : choice;
    for (const button of document.querySelectorAll("[data-theme-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === choice));
    }
  };
  dark.addEventListener("change", apply);
  for (const button of document.querySelectorAll("[data-theme-choice]")) {
    button.addEventListener("click", () => {
      choice = button.dataset.themeChoice;
      apply();
    });
  }
  apply();
}

function listen() {
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("search").addEventListener("input", (event) => {
    state.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    refresh();
  });
  find("size").value = String(state.size);
  find("size").addEventListener("change", (event) => {
    state.size = Number(event.target.value);
    state.page = 0;
    drawRows();
  });
  for (const button of document.querySelectorAll("[data-page]")) button.addEventListener("click", () => turnTo(button.dataset.page));
  for (const button of document.querySelectorAll("[data-group]")) {
    button.addEventListener("click", () => {
      Object.assign(shown, { group: button.dataset.group, allGroups: false });
      drawGroups();
      markFilters();
    });
  }
  for (const [id, key, draw] of [["groups-more", "allGroups", drawGroups], ["steps-more", "allSteps", drawSteps]]) {
    find(id).addEventListener("click", () => {
      shown[key] = true;
      draw();
      markFilters();
    });
  }
  find("save").addEventListener("click", save);
  // A printout shows all rows, because paper has no buttons for the other pages.
  window.addEventListener("beforeprint", () => drawRows(true));
  window.addEventListener("afterprint", () => drawRows());
}

function start() {
  const part = data.part ? `: only ${data.part}` : "";
  find("organization").textContent = data.organization;
  find("part").textContent = part;
  // A page of a part, or of an invented organization, must not pass for one of the whole.
  const loud = data.about_lines.filter((line) => /^(SIMULATED|PARTIAL)/.test(line));
  const quiet = data.about_lines.filter((line) => !loud.includes(line));
  find("banner").hidden = loud.length === 0;
  find("banner").replaceChildren(...loud.map((line) => make("div", {}, foreign(line))));
  find("about").replaceChildren(...quiet.map((line) => make("div", {}, foreign(line))));
  const empty = data.empty_account_regions ? `, ${NUMBER.format(data.empty_account_regions)} of them without a VPC` : "";
  find("extent").textContent = `As of ${data.generated_at.replace("T", " ").replace("Z", " UTC")} · ${count(data.surveyed_accounts, "account", "accounts")} in ${count(data.regions.length, "Region", "Regions")} · ${count(data.account_regions, "account-Region", "account-Regions")} inspected${empty}`;
  find("legend").replaceChildren(...STATUSES.flatMap((status, index) => [
    make("dt", {}, make("span", { class: "status" }, statusDot(index), status.title)), make("dd", {}, status.meaning),
  ]));
  themes();
  fillSelects();
  drawTotals();
  drawGroups();
  drawRegions();
  drawSteps();
  listen();
  refresh();
}

start();
