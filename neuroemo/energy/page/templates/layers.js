// The layer table: the energy of the scenario in its last two columns, and rows in the order of any column.
const layerTable = byId("layer-table");
const layerBody = layerTable.tBodies[0];

function showLayerEnergies(source) {
  for (const row of layerBody.rows) {
    const cells = source.rows[Number(row.dataset.order)].cells;
    [...cells].forEach((cell, index) => row.cells[row.cells.length - 2 + index].replaceWith(cell.cloneNode(true)));
  }
}

function sortKey(row, column) {
  const cell = row.cells[column];
  if (cell.classList.contains("words") || column === 0) return cell.textContent;
  return cell.dataset.value ? Number(cell.dataset.value) : null;
}

function sortLayers() {
  const heads = [...layerTable.tHead.rows[0].cells];
  const column = heads.findIndex((head) => head.dataset.column === state.sort);
  if (column < 0) { state.sort = ""; state.way = ""; }
  const turn = state.way === "descending" ? -1 : 1;
  const order = (row) => Number(row.dataset.order);
  const rows = [...layerBody.rows].sort((one, two) => {
    if (column < 0) return order(one) - order(two);
    const [a, b] = [sortKey(one, column), sortKey(two, column)];
    if (a === null || b === null) return (a === null) - (b === null) || order(one) - order(two);
    return (typeof a === "string" ? a.localeCompare(b, "en") : a - b) * turn || order(one) - order(two);
  });
  layerBody.replaceChildren(...rows);
  heads.forEach((head, index) => head.setAttribute("aria-sort", index === column ? state.way : "none"));
}

function startLayers() {
  layerTable.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button.sort");
    if (!button) return;
    const key = button.parentElement.dataset.column;
    const ways = { "": "descending", descending: "ascending", ascending: "" };
    state.way = state.sort === key ? ways[state.way] : "descending";
    state.sort = state.way ? key : "";
    sortLayers();
    writeAddress();
  });
}
