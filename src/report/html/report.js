"use strict";
// Shows the row of a plot's data table that the pointer, or the arrow keys, are at; zooms into a part of the x axis by
// dragging or with + and -, and back with a double click, 0 or Escape. The page is complete without it.
(() => {
  const tip = document.getElementById("tip");
  const said = document.getElementById("said");
  const NS = "http://www.w3.org/2000/svg";

  // Draws the part of a plot between two places on its x axis over the whole of it; without them, all of it again.
  const zoomer = (svg, [from, to], rows, places) => {
    const whole = [...svg.children];
    const height = svg.viewBox.baseVal.height;
    const number = (element, name) => Number(element.getAttribute(name));
    const upright = (e) => e.tagName === "line" && e.getAttribute("x1") === e.getAttribute("x2");
    const below = (e) => e.tagName === "text" && e.getAttribute("text-anchor") === "middle" && e.classList.contains("tick");
    const centre = (e) => e.getBBox().x + e.getBBox().width / 2;
    const inside = (x) => x >= from && x <= to;
    const stays = (e) =>
      e.tagName === "line" || (e.tagName === "text" && (e.classList.contains("axis") || !inside(number(e, "x"))));
    return (left, right) => {
      svg.replaceChildren(...whole);
      whole.forEach((e) => e.removeAttribute("transform"));
      if (left === undefined) return;
      const part = document.createElementNS(NS, "svg");
      const box = { x: from, y: 0, width: to - from, height, preserveAspectRatio: "none" };
      for (const [name, value] of Object.entries(box)) part.setAttribute(name, value);
      part.setAttribute("viewBox", [left, 0, right - left, height].join(" "));
      part.setAttribute("class", "part");
      Object.assign(part.style, { width: to - from + "px", height: height + "px" });
      const now = (x) => from + ((x - left) / (right - left)) * (to - from);
      const ticks = whole.filter(below);
      const kept = [part];
      for (const e of whole) {
        const point = e.matches(".mark, .error-bar, text");
        if (e.classList.contains("cursor")) kept.push(e);
        else if (upright(e) || ticks.includes(e)) continue;
        else if (stays(e)) kept.push(e);
        else if (point) {
          const x = e.tagName === "text" ? number(e, "x") : centre(e);
          if (x < left || x > right) continue;
          e.setAttribute("transform", "translate(" + (now(x) - x) + ",0)");
          kept.push(e);
        } else part.append(e);
      }
      const seen = rows.map((row, i) => [places[i], row]).filter(([x]) => x >= left && x <= right);
      const step = Math.max(1, Math.ceil(seen.length / 5));
      seen.filter((_, i) => i % step === 0).forEach(([x, row]) => {
        if (!ticks.length) return;
        const text = ticks[0].cloneNode();
        text.setAttribute("x", now(x));
        text.textContent = row.cells[0].textContent;
        kept.push(text);
      });
      svg.replaceChildren(...kept);
    };
  };

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
    const draw = zoomer(svg, [from, to], rows, places);
    let [left, right] = [from, to];
    const now = (x) => from + ((x - left) / (right - left)) * (to - from);
    const then = (x) => left + ((x - from) / (to - from)) * (right - left);
    const zoom = (a, b) => {
      // A sliver would show nothing.
      if (b - a < (to - from) / 200) return;
      [left, right] = [Math.max(from, a), Math.min(to, b)];
      const all = right - left > (to - from) * 0.99;
      if (all) [left, right] = [from, to];
      all ? draw() : draw(left, right);
      hide();
    };
    const about = (times) => {
      const middle = chosen < 0 ? (left + right) / 2 : places[order[chosen]];
      const half = ((right - left) * times) / 2;
      const at = Math.max(from + half, Math.min(to - half, middle));
      const kept = chosen;
      zoom(at - half, at + half);
      said.textContent = right - left < to - from ? "zoomed" : "whole plot";
      chosen = kept;
    };

    const text = (row) =>
      [...row.cells].map((cell, i) => heads[i] + ": " + cell.textContent).join("\n");
    const show = (index, clientY) => {
      chosen = index;
      const row = rows[order[index]];
      const x = now(places[order[index]]);
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
    const place = (event) => {
      const box = svg.getBoundingClientRect();
      return then(((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width);
    };
    let pressed = null;
    svg.addEventListener("pointerdown", (event) => {
      // A finger scrolls.
      if (event.pointerType !== "touch" && event.button === 0) pressed = place(event);
    });
    svg.addEventListener("pointerup", (event) => {
      const [a, b] = [pressed ?? 0, place(event)].sort((x, y) => x - y);
      if (pressed !== null && b - a > (right - left) / 50) zoom(a, b);
      pressed = null;
    });
    svg.addEventListener("dblclick", () => zoom(from, to));
    svg.addEventListener("pointermove", (event) => {
      const x = place(event);
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
      if (event.key === "Escape" || event.key === "0") zoom(from, to);
      if (event.key === "+") about(0.5);
      if (event.key === "-") about(2);
      if (next === undefined) return;
      event.preventDefault();
      show(Math.max(0, Math.min(last, next)));
      said.textContent = tip.textContent.replaceAll("\n", ", ");
    });
  }
})();
