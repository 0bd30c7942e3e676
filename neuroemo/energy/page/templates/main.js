// Choosing a scenario: its fragments, written by neuroemo, take the places of those that are shown.
const GROUPS = ["model", "precision"];
const pricesBox = byId("choose-prices");

function existing(wanted) {
  return scenarios.filter((scenario) => Object.entries(wanted).every(([key, value]) => scenario[key] === value));
}

// The price table rules, then the model, then the precision: what was chosen stays wherever it exists.
function nearest(prices, model, precision) {
  const tries = [{ prices, model, precision }, { prices, model }, { prices, precision }, { prices }];
  return tries.map(existing).find((found) => found.length)?.[0];
}

function choose(id) {
  state.scenario = id;
  showScenario();
  writeAddress();
  byId("announcement").textContent = document.querySelector("#slot-verdict .headline").textContent;
}

function showScenario() {
  const index = scenarios.findIndex((scenario) => scenario.id === state.scenario);
  const source = byId(`scenario-${index}`).content;
  const slot = (name) => source.querySelector(`[data-slot="${name}"]`);
  for (const name of ["verdict", "energy", "break-even", "sensitivity"]) fill(byId(`slot-${name}`), slot(name));
  byId("slot-energy").dataset.cut = state.cut;
  byId("step-table").tBodies[0].replaceWith(slot("steps").tBodies[0].cloneNode(true));
  byId("slot-total").textContent = slot("total").textContent;
  byId("text-latex").textContent = slot("latex").textContent;
  showLayerEnergies(slot("cells"));
  sortLayers();
  for (const row of all("tr[data-id]")) row.classList.toggle("current", row.dataset.id === state.scenario);
  showControls(scenarios[index]);
  showHeat();
  showStep();
}

function labelOf(input) {
  return input.parentElement.textContent.trim();
}

function reasonOf(name, input, chosen) {
  const wanted = name === "model" ? { prices: chosen.prices, model: input.value } : { prices: chosen.prices, model: chosen.model, precision: input.value };
  if (existing(wanted).length) return "";
  const keys = [`${wanted.model}/${chosen.prices}/${wanted.precision}`, `${wanted.model}/${chosen.prices}`, input.value];
  const known = keys.find((key) => Object.hasOwn(view.reasons, key));
  if (known) return view.reasons[known];
  const elsewhere = existing({ [name]: input.value }).map((scenario) => report.price_lists[scenario.prices].name);
  const others = [...new Set(elsewhere)];
  const named = others.length > 2 ? `${others.length} other price tables` : others.join(", ");
  if (name === "model") return named ? `priced with ${named} only` : "no scenario of this report uses it";
  return `not with ${report.models[chosen.model].title} and ${report.price_lists[chosen.prices].name}`;
}

function showControls(chosen) {
  pricesBox.value = chosen.prices;
  const missing = [];
  for (const name of GROUPS) {
    for (const input of all(`#choose-${name} input`)) {
      const reason = reasonOf(name, input, chosen);
      input.checked = input.value === chosen[name];
      input.disabled = Boolean(reason);
      input.parentElement.title = reason;
      if (reason) missing.push(`${labelOf(input)}: ${reason}`);
    }
  }
  for (const option of pricesBox.options) {
    option.disabled = !existing({ prices: option.value }).length;
    if (option.disabled) missing.push(`${option.textContent}: ${view.reasons[option.value] ?? "no scenario of this report uses it"}`);
  }
  byId("unavailable").replaceChildren(...missing.map((words) => {
    const item = document.createElement("li");
    item.textContent = words;
    return item;
  }));
}

function startControls() {
  const form = byId("controls");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => {
    const found = nearest(pricesBox.value, checkedIn("model")?.value, checkedIn("precision")?.value);
    if (found) choose(found.id);
  });
  byId("choose-cut").addEventListener("change", (event) => {
    state.cut = event.target.value;
    byId("slot-energy").dataset.cut = state.cut;
    writeAddress();
  });
}

function startCopies() {
  for (const button of all("button.copy")) {
    button.addEventListener("click", async () => {
      const box = byId(button.dataset.copies);
      const said = button.nextElementSibling;
      try {
        await navigator.clipboard.writeText(box.textContent);
        said.textContent = "Copied.";
      } catch {
        getSelection().selectAllChildren(box);
        box.focus();
        said.textContent = document.execCommand("copy") ? "Copied." : "Selected: press Ctrl+C to copy.";
      }
    });
  }
}

// Links to sections scroll and leave the address to the state; links to scenarios choose one.
function startLinks() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (!link) return;
    event.preventDefault();
    const wanted = new URLSearchParams(link.hash.slice(1)).get("scenario");
    if (wanted && scenarioOf(wanted)) choose(wanted);
    const place = byId(wanted ? "verdict" : link.hash.slice(1));
    place.tabIndex = -1;
    place.focus({ preventScroll: true });
    place.scrollIntoView();
  });
  document.addEventListener("keydown", (event) => {
    const priced = event.key === "Escape" && (document.activeElement.closest(".priced") || document.querySelector(".priced:hover"));
    if (priced) priced.classList.add("quiet");
  });
  for (const kind of ["focusout", "mouseout"]) {
    document.addEventListener(kind, (event) => event.target.closest?.(".priced")?.classList.remove("quiet"));
  }
}

function showAll() {
  for (const input of all("#choose-cut input")) input.checked = input.value === state.cut;
  showScenario();
}

document.documentElement.classList.add("js");
readAddress();
startHeat();
startLayers();
startSteps();
startControls();
startCopies();
startLinks();
showAll();
addEventListener("hashchange", () => {
  const section = byId(location.hash.slice(1));
  if (section) return section.scrollIntoView();
  readAddress();
  showAll();
});
