"use strict";
(() => {
  const table = document.getElementById("layers");
  const frame = table.parentElement;
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const sorted = heads.filter((head) => head.dataset.key);
  const free = document.getElementById("free");
  const filter = document.getElementById("filter");
  const select = document.getElementById("sort");
  const texts = new Set(["name", "shape", "bound"]);
  const ascending = new Set(["name", "shape", "bound", "utilization"]); // the worst, or the first, on top
  const opened = new Map(); // from a row to the row with the rest of its figures
  const hiding = document.head.appendChild(document.createElement("style"));
  let placed = rows;
  let sorting = { key: "", reverse: false }; // no key: the tree
  const depth = (row) => Number(row.dataset.depth);
  const foldOf = (row) => row.querySelector(".fold");
  const isLayer = (row) => row.classList.contains("layer"); // a module that stands for its only layer
  const nameOf = (row) => row.querySelector(isLayer(row) ? ".of-layer .full" : ".full").textContent;
  const showsAll = () => Boolean(free && free.checked);
  const isFree = (row) => row.classList.contains("free") && !showsAll();
  const found = new Map(rows.map((row) => {
    const cells = Array.from(row.cells).filter((cell, i) => texts.has(heads[i].dataset.key));
    const names = Array.from(row.querySelectorAll(".full"), (name) => name.textContent);
    return [row, [...names, cells[0].dataset.kind, ...cells.slice(1).map((cell) => cell.textContent)].join(" ").toLowerCase()];
  }));
  const matches = (row) => found.get(row).includes(filter.value.trim().toLowerCase());

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    if (location.hash.length > 1 && !given.has("sort") && !given.has("tree")) return; // a link to a section
    sorting = { key: keyOf(given.get("sort") || ""), reverse: given.has("reverse") };
  }

  // a key, or that of the column with this title
  function keyOf(name) {
    const titled = sorted.find((head) => head.querySelector("button").firstChild.textContent.trim() === name);
    return Array.from(select.options).some((each) => each.value === name) ? name : titled ? titled.dataset.key : "";
  }

  function value(row, key) {
    const cell = row.cells[heads.findIndex((head) => head.dataset.key === key)];
    if (key === "name") return nameOf(row);
    if (texts.has(key)) return cell.textContent;
    if (cell === undefined) return key in row.dataset ? Number(row.dataset[key]) : null;
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  }

  function compare(a, b) {
    return typeof a === "string" ? (a < b ? -1 : a > b ? 1 : 0) : a - b;
  }

  function place(order) {
    if (order.some((row, i) => row !== placed[i])) body.append(...order);
    placed = order;
  }

  function showTree() {
    const filtered = filter.value.trim() !== "";
    let closed = Infinity; // below a module of this depth nothing is shown
    const above = []; // the modules around a row
    for (const row of rows) {
      if (depth(row) <= closed) closed = Infinity;
      while (above.length && depth(above.at(-1)) >= depth(row)) above.pop();
      const fold = foldOf(row);
      // a module with one layer is that layer, unless what only moves memory is shown in it too
      const standsForLayer = row.classList.contains("single") && !showsAll();
      const isShut = !filtered && fold && fold.getAttribute("aria-expanded") === "false";
      const isThere = closed === Infinity && !isFree(row);
      row.hidden = !isThere || (filtered && ((fold && !standsForLayer) || !matches(row)));
      if (isThere && !row.hidden) for (const module of above) module.hidden = false;
      if (closed === Infinity && (isShut || standsForLayer)) closed = depth(row);
      if (fold) above.push(row);
      row.classList.toggle("layer", standsForLayer);
    }
    place(rows);
  }

  function showSorted({ key, reverse }) {
    const sign = ascending.has(key) === reverse ? -1 : 1;
    const leaves = rows.filter((row) => !foldOf(row));
    const known = leaves.filter((row) => value(row, key) !== null);
    const unknown = leaves.filter((row) => value(row, key) === null);
    known.sort((a, b) => sign * compare(value(a, key), value(b, key)));
    for (const row of rows) row.hidden = Boolean(foldOf(row)) || isFree(row) || !matches(row);
    place([...known, ...unknown, ...rows.filter(foldOf)]);
  }

  function show() {
    const { key, reverse } = sorting;
    table.classList.toggle("flat", key !== "");
    for (const head of sorted) {
      if (head.dataset.key !== key) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", ascending.has(key) === reverse ? "descending" : "ascending");
    }
    select.value = key;
    if (key) showSorted(sorting);
    else showTree();
    for (const [row, rest] of opened) {
      row.after(rest);
      rest.hidden = row.hidden;
    }
    const layers = (all) => all.filter((row) => !foldOf(row) || isLayer(row)).length;
    const seen = rows.filter((row) => !row.hidden);
    const filtered = filter.value.trim() !== "";
    document.getElementById("found").textContent = filtered ? `${layers(seen)} found` : "";
    for (const label of document.querySelectorAll("#layers tfoot .name span")) {
      label.textContent = filtered ? "total of the whole network" : "total";
    }
  }

  // ---------------------------------------------------------------- as many columns as there is room for

  function fit() {
    hiding.textContent = "";
    table.classList.add("measured");
    const widths = sorted.map((head) => head.getBoundingClientRect().width);
    table.classList.remove("measured");
    const rank = (i) => (heads[i].dataset.key === sorting.key ? 0 : Number(heads[i].dataset.rank)); // what sorts is to be seen
    const order = sorted.map((head, i) => i).sort((a, b) => rank(b) - rank(a) || b - a);
    let width = widths.reduce((sum, each) => sum + each, 0);
    const left = [];
    for (const i of order.slice(0, -1)) {
      if (width <= frame.clientWidth) break;
      width -= widths[i];
      left.push(i);
    }
    hiding.textContent = left.map((i) => `#layers tr:not(.rest) > :nth-child(${i + 1}) { display: none; }`).join("\n");
    document.documentElement.classList.toggle("fits", width <= frame.clientWidth);
    for (const [row, rest] of opened) fill(row, rest);
  }

  function fill(row, rest) {
    const list = document.createElement("dl");
    const add = (title, text, look) => {
      const entry = list.appendChild(document.createElement("div"));
      entry.className = look;
      entry.appendChild(document.createElement("dt")).textContent = title;
      entry.appendChild(document.createElement("dd")).textContent = text;
    };
    add((foldOf(row) && !isLayer(row)) ? "module" : row.cells[0].dataset.kind || "module", nameOf(row), "long");
    heads.forEach((head, i) => {
      const text = row.cells[i].textContent;
      const isShown = row.cells[i].getClientRects().length > 0;
      if (i > 0 && text && !isShown) add(head.textContent, text, head.dataset.key === "shape" ? "long" : "");
    });
    rest.cells[0].replaceChildren(list);
    if (row.dataset.width === undefined) return;
    const button = rest.cells[0].appendChild(document.createElement("button"));
    button.textContent = "another width";
    button.addEventListener("click", () => {
      const width = document.getElementById("width");
      width.value = row.dataset.width;
      width.dispatchEvent(new Event("change"));
      document.getElementById("stairs").scrollIntoView();
    });
  }

  function toggle(row) {
    const labels = row.querySelectorAll("[role=button]");
    const rest = opened.get(row);
    if (rest) {
      rest.remove();
      opened.delete(row);
    } else {
      const made = document.createElement("tr");
      made.className = "rest";
      made.appendChild(document.createElement("td")).colSpan = heads.length;
      fill(row, made);
      opened.set(row, made);
      row.after(made);
    }
    for (const label of labels) label.setAttribute("aria-expanded", String(!rest));
  }

  // ---------------------------------------------------------------- what people do

  function goTo(key, reverse) {
    location.hash = !key ? "tree" : reverse ? `sort=${key}&reverse` : `sort=${key}`;
  }

  for (const head of sorted) {
    const key = head.dataset.key;
    head.querySelector("button").addEventListener("click", () => {
      if (sorting.key !== key) goTo(key, false);
      else if (sorting.reverse) goTo("");
      else goTo(key, true);
    });
  }
  select.addEventListener("change", () => goTo(select.value, false));
  for (const row of [...rows, ...table.tFoot.rows]) {
    const fold = foldOf(row);
    for (const label of row.querySelectorAll(".short, .full")) {
      label.setAttribute("role", "button");
      label.setAttribute("aria-expanded", "false");
      label.tabIndex = 0;
    }
    row.addEventListener("click", (event) => {
      if (event.target !== fold && !String(getSelection())) toggle(row);
    });
    row.addEventListener("keydown", (event) => {
      if (event.target === fold || (event.key !== "Enter" && event.key !== " ")) return;
      event.preventDefault();
      toggle(row);
    });
    if (!fold) continue;
    fold.setAttribute("aria-label", nameOf(row));
    fold.addEventListener("click", () => {
      fold.setAttribute("aria-expanded", String(fold.getAttribute("aria-expanded") === "false"));
      show();
    });
  }
  for (const [id, open] of [["open", "true"], ["shut", "false"]]) {
    document.getElementById(id).addEventListener("click", () => {
      for (const fold of body.querySelectorAll(".fold")) fold.setAttribute("aria-expanded", open);
      if (sorting.key) goTo("");
      else show();
    });
  }
  filter.addEventListener("input", show);
  if (free) free.addEventListener("change", show);
  window.addEventListener("hashchange", () => {
    readAddress();
    show();
    fit();
  });
  let seen = frame.clientWidth;
  new ResizeObserver(() => {
    if (frame.clientWidth === seen) return;
    seen = frame.clientWidth;
    fit();
  }).observe(frame);

  const deepest = Math.max(...rows.map(depth));
  let level = 1; // down to which a large tree opens
  while (level <= deepest && rows.filter((row) => depth(row) <= level && !isFree(row)).length <= 150) level += 1;
  for (const row of rows) if (foldOf(row) && depth(row) >= level - 1) foldOf(row).setAttribute("aria-expanded", String(level > deepest));

  document.documentElement.classList.add("scripts");
  for (const tools of document.querySelectorAll(".tools")) tools.hidden = false;
  readAddress();
  show();
  fit();
  if (sorting.key) document.getElementById("table").scrollIntoView();
})();
