// The heat map: other measures in the same cells, and a walk over them by arrow keys.
const heatTable = byId("heat");
const heatRows = all("tbody tr", heatTable);
const deployed = report.networks.deployed;
const MEASURES = {
  density: ["Density: share of inputs that are not zero, and of neurons that fire", percentText],
  operations: ["Operations: accumulates and multiply-accumulates of a clip", significant],
  energy: ["Energy of a clip's accumulates and multiply-accumulates", energyText],
};

function stepEnergies(scenario) {
  return deployed.layers.map((layer) => {
    const parts = Object.hasOwn(scenario.snn.layers_pj, layer.name) ? scenario.snn.layers_pj[layer.name] : {};
    const shares = [["accumulates", "acs"], ["multiply-accumulates", "macs"]].filter(([part]) => Object.hasOwn(parts, part));
    if (layer.kind === "neuron" || !shares.length) return layer.per_step.acs.map(() => null);
    const each = shares.map(([part, key]) => [parts[part] / (layer[key] || 1), layer.per_step[key]]);
    return layer.per_step.acs.map((_, step) => each.reduce((sum, [price, counts]) => sum + price * counts[step], 0));
  });
}

function heatMatrix() {
  return state.heat === "energy" ? stepEnergies(scenarioOf(state.scenario)) : view.heat[state.heat];
}

function showHeat() {
  const linear = view.heat.linear_models.includes(scenarioOf(state.scenario).model);
  const choice = byId("choose-heat").querySelector('input[value="energy"]');
  choice.disabled = !linear;
  byId("heat-note").textContent = linear ? "" : "This energy model does not say at which step its energy is spent.";
  if (!linear && state.heat === "energy") state.heat = "operations";
  const [title, write] = MEASURES[state.heat];
  const matrix = heatMatrix();
  const largest = Math.max(0, ...matrix.map((row) => Math.max(...row.map((value) => value ?? 0))));
  matrix.forEach((row, index) => row.forEach((value, step) => {
    const cell = heatRows[index].cells[step + 1];
    cell.className = value === null ? "none" : `c${largest > 0 ? Math.floor(15 * Math.sqrt(value / largest) + 0.5) : 0}`;
    cell.firstElementChild.textContent = value === null ? "—" : write(value);
  }));
  byId("heat-caption").textContent = title;
  byId("heat-low").textContent = state.heat === "density" ? `0${NBSP}%` : "0";
  byId("heat-middle").textContent = write(largest / 4);
  byId("heat-high").textContent = write(largest);
  heatTable.classList.toggle("numbers", state.numbers);
  for (const input of all("#choose-heat input[type=radio]")) input.checked = input.value === state.heat;
  byId("choose-heat").querySelector('[name="numbers"]').checked = state.numbers;
  const current = heatTable.querySelector('td[tabindex="0"]');
  if (current) readOut(current);
}

function readOut(cell) {
  const name = cell.parentElement.cells[0].textContent;
  byId("heat-readout").textContent = `${name}, step ${cell.cellIndex}: ${cell.textContent}`;
}

function startHeat() {
  const cells = heatRows.map((row) => [...row.cells].slice(1));
  const first = cells[0] && cells[0][0];
  for (const cell of cells.flat()) cell.tabIndex = cell === first ? 0 : -1;
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -Infinity], End: [0, Infinity] };
  heatTable.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td");
    if (!cell || !moves[event.key]) return;
    event.preventDefault();
    const within = (value, size) => Math.min(size - 1, Math.max(0, value));
    const row = within(heatRows.indexOf(cell.parentElement) + moves[event.key][0], cells.length);
    const next = cells[row][within(cell.cellIndex - 1 + moves[event.key][1], cells[row].length)];
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  for (const kind of ["focusin", "mouseover"]) {
    heatTable.addEventListener(kind, (event) => { if (event.target.closest("td")) readOut(event.target.closest("td")); });
  }
  byId("choose-heat").addEventListener("change", (event) => {
    if (event.target.name === "numbers") state.numbers = event.target.checked; else state.heat = event.target.value;
    showHeat();
    writeAddress();
  });
}
