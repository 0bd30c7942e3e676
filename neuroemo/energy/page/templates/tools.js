// Small things that every part of the page uses. Text from the report enters the page as textContent only.
const report = JSON.parse(document.getElementById("report").textContent);
const view = JSON.parse(document.getElementById("view").textContent);
const byId = (id) => document.getElementById(id);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const checkedIn = (name) => all(`input[name="${name}"]`).find((input) => input.checked);
const NBSP = "\u00a0";
const UNITS = [["J", 1e12], ["mJ", 1e9], ["µJ", 1e6], ["nJ", 1e3], ["pJ", 1]];

function significant(value) {
  if (value === 0) return "0";
  const exponent = Number(value.toExponential().split("e")[1]);
  const digits = Math.min(20, Math.max(0, 2 - exponent));
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function energyText(picojoules) {
  const [unit, factor] = UNITS.find(([, size]) => picojoules >= size) || UNITS[UNITS.length - 1];
  return `${significant(picojoules / factor)}${NBSP}${unit}`;
}

function percentText(share) {
  if (share === 0 || share === 1) return `${(100 * share).toFixed(2)}${NBSP}%`;
  let text = (100 * share).toFixed(2);
  for (let digits = 3; digits < 7 && [0, 100].includes(Number(text)); digits += 1) text = (100 * share).toFixed(digits);
  return `${text}${NBSP}%`;
}

function fill(place, from) {
  place.replaceChildren(...[...from.childNodes].map((node) => node.cloneNode(true)));
}
