// What is chosen, kept in the address after "#", so that a link shows what its sender saw.
const scenarios = report.scenarios;
const initial = report.default_scenario;
const state = { scenario: initial, steps: 0, cut: "part", heat: "density", numbers: false, sort: "", way: "" };

function scenarioOf(id) {
  return scenarios.find((scenario) => scenario.id === id);
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const one = (key, allowed) => (allowed.includes(given.get(key)) ? given.get(key) : allowed[0]);
  const steps = Number(given.get("steps"));
  state.scenario = scenarioOf(given.get("scenario")) ? given.get("scenario") : initial;
  state.steps = Number.isInteger(steps) && steps > 0 ? steps : 0;
  state.cut = one("cut", ["part", "layer"]);
  state.heat = one("heat", ["density", "operations", "energy"]);
  state.numbers = given.get("numbers") === "yes";
  state.way = one("way", ["", "descending", "ascending"]);
  state.sort = state.way ? given.get("sort") || "" : "";
}

function writeAddress() {
  const kept = new URLSearchParams();
  if (state.scenario !== initial) kept.set("scenario", state.scenario);
  if (state.steps) kept.set("steps", state.steps);
  if (state.cut !== "part") kept.set("cut", state.cut);
  if (state.heat !== "density") kept.set("heat", state.heat);
  if (state.numbers) kept.set("numbers", "yes");
  if (state.way) { kept.set("sort", state.sort); kept.set("way", state.way); }
  history.replaceState(null, "", `#${kept}`);
}
