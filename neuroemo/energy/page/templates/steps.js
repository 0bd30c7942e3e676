// The slider: reads the row of its step from the table of steps, and moves the cursors along the curves.
const slider = byId("choose-steps");

function showStep() {
  const rows = byId("step-table").tBodies[0].rows;
  if (!slider || !rows.length) return;
  slider.max = rows.length;
  slider.value = state.steps ? Math.min(state.steps, rows.length) : rows.length;
  const row = rows[Number(slider.value) - 1];
  byId("chosen-step").textContent = row.cells[0].textContent;
  slider.setAttribute("aria-valuetext", `step ${row.cells[0].textContent}: ${row.cells[1].textContent}, cheaper so far: ${row.cells[3].textContent}`);
  all("#at-step dd").forEach((place, index) => { place.textContent = row.cells[index + 1].textContent; });
  moveCursor(".curve-figure", row.dataset.x, row.dataset.y);
  moveCursor(".decision-figure", row.dataset.u, row.dataset.v);
}

function moveCursor(figure, x, y) {
  const line = document.querySelector(`#slot-break-even ${figure} .cursor-line`);
  const point = document.querySelector(`#slot-break-even ${figure} .cursor-point`);
  if (!line || x === undefined) return;
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
  point.setAttribute("cx", x);
  point.setAttribute("cy", y);
}

function startSteps() {
  if (!slider) return;
  slider.addEventListener("input", () => {
    state.steps = slider.value === slider.max ? 0 : Number(slider.value);
    showStep();
    writeAddress();
  });
}
