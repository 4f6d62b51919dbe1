"use strict";
(() => {
  const table = document.getElementById("layers");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const free = document.getElementById("free");
  const texts = new Set(["name", "shape", "bound"]);
  const ascending = new Set(["name", "shape", "bound", "utilization"]); // the worst, or the first, on top
  const depth = (row) => Number(row.dataset.depth);
  const foldOf = (row) => row.querySelector(".fold");
  const showsAll = () => Boolean(free && free.checked);
  const isFree = (row) => row.classList.contains("free") && !showsAll();

  function sorting() {
    const given = new URLSearchParams(location.hash.slice(1));
    const column = heads.findIndex((head) => head.dataset.key === given.get("sort"));
    return { column, reverse: given.has("reverse") };
  }

  function value(row, column) {
    const cell = row.cells[column];
    const key = heads[column].dataset.key;
    if (key === "name") return cell.querySelector(".full").textContent;
    if (texts.has(key)) return cell.textContent;
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  }

  function compare(a, b) {
    return typeof a === "string" ? (a < b ? -1 : a > b ? 1 : 0) : a - b;
  }

  function showTree() {
    let closed = Infinity; // below a module of this depth nothing is shown
    for (const row of rows) {
      if (depth(row) <= closed) closed = Infinity;
      row.hidden = depth(row) > closed || isFree(row);
      const fold = foldOf(row);
      const isShut = fold && fold.getAttribute("aria-expanded") === "false";
      // a module with one layer is that layer, unless what only moves memory is shown in it too
      const isLayer = row.classList.contains("single") && !showsAll();
      if (closed === Infinity && (isShut || isLayer)) closed = depth(row);
      row.classList.toggle("layer", isLayer);
    }
    body.append(...rows);
  }

  function showSorted(column, reverse) {
    const key = heads[column].dataset.key;
    const sign = ascending.has(key) === reverse ? -1 : 1;
    const leaves = rows.filter((row) => !foldOf(row));
    const known = leaves.filter((row) => value(row, column) !== null);
    const unknown = leaves.filter((row) => value(row, column) === null);
    known.sort((a, b) => sign * compare(value(a, column), value(b, column)));
    for (const row of rows) row.hidden = Boolean(foldOf(row)) || isFree(row);
    body.append(...known, ...unknown, ...rows.filter(foldOf));
  }

  function show() {
    const { column, reverse } = sorting();
    table.classList.toggle("flat", column >= 0);
    heads.forEach((head, i) => {
      if (i !== column) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", ascending.has(head.dataset.key) === reverse ? "descending" : "ascending");
    });
    if (column >= 0) showSorted(column, reverse);
    else showTree();
  }

  heads.forEach((head, i) => {
    head.querySelector("button").addEventListener("click", () => {
      const now = sorting();
      const key = head.dataset.key;
      location.hash = now.column !== i ? `sort=${key}` : now.reverse ? "tree" : `sort=${key}&reverse`;
    });
  });
  for (const row of rows) {
    const fold = foldOf(row);
    if (!fold) continue;
    fold.setAttribute("aria-label", row.querySelector(".full").textContent);
    fold.addEventListener("click", () => {
      fold.setAttribute("aria-expanded", String(fold.getAttribute("aria-expanded") === "false"));
      show();
    });
  }
  for (const [id, open] of [["open", "true"], ["shut", "false"]]) {
    document.getElementById(id).addEventListener("click", () => {
      for (const fold of body.querySelectorAll(".fold")) fold.setAttribute("aria-expanded", open);
      if (sorting().column >= 0) location.hash = "tree";
      else show();
    });
  }
  if (free) free.addEventListener("change", show);
  window.addEventListener("hashchange", show);
  show();
})();
