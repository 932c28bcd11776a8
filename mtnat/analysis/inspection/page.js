"use strict";
// Draws the attention maps. The weights of a map are whole numbers of thousandths: weights[layer][head][row][column].
(function () {
  // Shares of the hot colour, in percent, above which the other text colour has the better contrast: in the dark and in the
  // light scheme.
  const WARM = 52, HOT = 63;
  const parts = JSON.parse(document.getElementById("attention").textContent);

  function element(name, text, attributes) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    return made;
  }

  function fill(select, names, value) {
    select.replaceChildren(...names.map((name, number) => element("option", name, { value: String(number) })));
    select.value = value;
    if (select.selectedIndex < 0) select.selectedIndex = 0;
  }

  function mean(heads) {
    return heads[0].map((row, y) => row.map((_, x) => heads.reduce((sum, head) => sum + head[y][x], 0) / heads.length));
  }

  function cell(weight, isStrongest) {
    const percent = Math.round(weight / 10);
    const made = element("td", percent ? String(percent) : "·");
    // The square root makes small weights visible.
    const heat = Math.round(100 * Math.sqrt(weight / 1000));
    made.style.setProperty("--heat", heat + "%");
    made.classList.toggle("warm", heat > WARM);
    made.classList.toggle("hot", heat > HOT);
    made.classList.toggle("strongest", isStrongest);
    return made;
  }

  function table(map, weights, caption, onlyPieces) {
    const made = element("table", undefined, { class: "map" });
    made.append(element("caption", caption));
    const head = element("tr");
    head.append(element("td"));
    map.columns.forEach((name, x) => head.append(element("th", x + 1 + " " + name, { scope: "col" })));
    const body = element("tbody");
    weights.forEach(function (row, y) {
      if (onlyPieces && map.pieces[y] === null) return;
      const line = element("tr");
      line.append(element("th", y + 1 + " " + map.rows[y], { scope: "row" }));
      const strongest = row.indexOf(Math.max(...row));
      row.forEach((weight, x) => line.append(cell(weight, x === strongest)));
      body.append(line);
    });
    const top = element("thead");
    top.append(head);
    made.append(top, body);
    return made;
  }

  function start(place, maps) {
    const find = (name) => place.querySelector("[data-" + name + "]");
    const [kind, layer, head, only, box] = ["kind", "layer", "head", "only", "map"].map(find);

    function draw() {
      const map = maps[kind.value], layers = map.weights.length, heads = map.weights[0].length;
      fill(layer, map.weights.map((_, number) => "layer " + (number + 1) + " of " + layers), layer.value || String(layers - 1));
      fill(head, ["mean of all heads", ...map.weights[0].map((_, number) => "head " + (number + 1) + " of " + heads)], head.value);
      const some = map.pieces.some((piece) => piece !== null), gaps = map.pieces.filter((piece) => piece === null).length;
      // BOS and EOS are no reason to offer the choice.
      only.disabled = !(some && gaps > 2);
      only.closest("label").hidden = only.disabled;
      const chosen = map.weights[layer.value];
      const weights = head.value === "0" ? mean(chosen) : chosen[head.value - 1];
      const names = [map.name, layer.selectedOptions[0].text, head.selectedOptions[0].text];
      box.replaceChildren(table(map, weights, names.join(", "), only.checked && !only.disabled));
    }

    kind.addEventListener("change", function () {
      layer.value = "";
      draw();
    });
    for (const control of [layer, head, only]) control.addEventListener("change", draw);
    place.querySelector(".controls").hidden = false;
    draw();
  }

  document.querySelectorAll("[data-attention]").forEach(function (place) {
    const maps = parts[Number(place.getAttribute("data-attention"))];
    if (maps.length) start(place, maps);
  });
})();
