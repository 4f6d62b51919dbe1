(() => {
  const given = document.getElementById("texts");
  if (!given) return;
  const { sizes, series, widths } = JSON.parse(given.textContent);
  const at = (id) => document.getElementById(id);
  const [select, slider, body, chart] = ["width", "size", "at", "chart"].map(at);
  const read = new Map(); // the texts of a series, each over all sizes

  function textsOf(index) {
    if (!read.has(index)) {
      const filled = (joined) => {
        let last = "";
        return joined.split("|").map((text) => (last = text || last));
      };
      read.set(index, series[index].map(filled));
    }
    return read.get(index);
  }

  function element(parent, name, text) {
    const made = parent.appendChild(document.createElement(name));
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function line(path, look) {
    const made = chart.appendChild(document.createElementNS("http\u003a//www.w3.org/2000/svg", "path"));
    made.setAttribute("d", path);
    made.setAttribute("class", look);
  }

  function draw(now) {
    const width = widths[select.value];
    const own = sizes[width.sizes];
    const texts = textsOf(width.rows[0][2])[0];
    const cycles = texts.map((text) => Number(text.replace(/[~,]/g, "")));
    const top = Math.max(...cycles);
    const x = (i) => (600 * (own[i] - own[0])) / Math.max(1, own.at(-1) - own[0]);
    const y = (i) => 155 - (145 * cycles[i]) / top;
    const steps = own.slice(1).map((_, i) => `H${x(i + 1)}V${y(i + 1)}`);
    chart.replaceChildren();
    line(`M${x(width.today)} 0V160`, "today");
    line(`M${x(0)} ${y(0)}${steps.join("")}`, "stairs");
    line(`M${x(now)} 0V160`, "now");
    at("least").textContent = own[0];
    at("top").textContent = `cycles over sizes, to ${texts[cycles.indexOf(top)]}`;
    at("most").textContent = own.at(-1);
  }

  // the place of the size next to where the slider is
  function chosen() {
    const own = sizes[widths[select.value].sizes];
    const after = Math.max(1, own.findIndex((size) => size >= slider.value));
    return slider.value - own[after - 1] <= own[after] - slider.value ? after - 1 : after;
  }

  function show(now) {
    const width = widths[select.value];
    const own = sizes[width.sizes];
    at("chosen").textContent = `${own[now]} (today ${own[width.today]})`;
    slider.setAttribute("aria-valuetext", String(own[now]));
    body.replaceChildren();
    for (const [label, , index] of width.rows) {
      const row = element(body, "tr");
      const name = element(row, "th");
      name.scope = "row";
      name.append(...label.split(/(?<=[._])/).flatMap((part) => [part, document.createElement("wbr")]));
      for (const texts of textsOf(index)) {
        const cell = element(row, "td", texts[now]);
        cell.className = "number";
        element(cell, "small", texts[width.today]);
      }
    }
    draw(now);
  }

  function choose() {
    const width = widths[select.value];
    const own = sizes[width.sizes];
    slider.min = own[0];
    slider.max = own.at(-1);
    slider.value = own[width.today];
    show(width.today);
  }

  const move = (by) => () => {
    const own = sizes[widths[select.value].sizes];
    const next = Math.min(own.length - 1, Math.max(0, chosen() + by));
    slider.value = own[next];
    show(next);
  };
  at("fewer").addEventListener("click", move(-1));
  at("more").addEventListener("click", move(1));
  slider.addEventListener("input", () => show(chosen()));
  select.addEventListener("change", choose);
  at("explorer").hidden = false;
  choose();
})();
