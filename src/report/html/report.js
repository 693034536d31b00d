"use strict";
// Shows the row of a plot's data table that the pointer, or the arrow keys, are at. The page is complete without it.
(() => {
  const tip = document.getElementById("tip");
  const said = document.getElementById("said");
  const NS = "http://www.w3.org/2000/svg";

  for (const figure of document.querySelectorAll("figure")) {
    const svg = figure.querySelector("svg[data-scale]");
    const rows = [...figure.querySelectorAll("tr[data-x]")];
    if (!svg || rows.length < 2) continue;
    const [min, max, from, to, log] = svg.dataset.scale.split(" ").map(Number);
    const heads = [...figure.querySelectorAll("thead th")].map((th) => th.textContent);
    const at = (row) => {
      const x = Number(row.dataset.x);
      return from + (to - from) * (((log ? Math.log10(x) : x) - min) / (max - min));
    };
    const places = rows.map(at);
    const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b]);
    const cursor = document.createElementNS(NS, "line");
    const height = svg.viewBox.baseVal.height;
    cursor.setAttribute("class", "cursor");
    cursor.setAttribute("y1", "18");
    cursor.setAttribute("y2", String(height - 38));
    svg.append(cursor);
    let chosen = -1;

    const text = (row) =>
      [...row.cells].map((cell, i) => heads[i] + ": " + cell.textContent).join("\n");
    const show = (index, clientY) => {
      chosen = index;
      const row = rows[order[index]];
      const x = places[order[index]];
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      cursor.classList.add("on");
      tip.textContent = text(row);
      tip.hidden = false;
      const box = svg.getBoundingClientRect();
      const left = box.left + (x / svg.viewBox.baseVal.width) * box.width;
      const wide = tip.offsetWidth;
      tip.style.left = Math.max(4, left + 14 + wide > innerWidth ? left - wide - 14 : left + 14) + "px";
      tip.style.top = Math.max(4, Math.min(clientY ?? box.top + 20, innerHeight - tip.offsetHeight - 4)) + "px";
    };
    const hide = () => {
      chosen = -1;
      tip.hidden = true;
      cursor.classList.remove("on");
    };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      let near = 0;
      for (let i = 1; i < order.length; i++) {
        if (Math.abs(places[order[i]] - x) < Math.abs(places[order[near]] - x)) near = i;
      }
      show(near, event.clientY + 12);
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("keydown", (event) => {
      const last = order.length - 1;
      const next = { ArrowRight: chosen + 1, ArrowLeft: chosen - 1, Home: 0, End: last }[event.key];
      if (event.key === "Escape") hide();
      if (next === undefined) return;
      event.preventDefault();
      show(Math.max(0, Math.min(last, next)));
      said.textContent = tip.textContent.replaceAll("\n", ", ");
    });
  }
})();
