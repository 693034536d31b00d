"use strict";
// Puts the news into the page, and says when they stay away. Figures and plots are made by the program.
(() => {
  const STALE_MS = 5000;
  const by = (id) => document.getElementById(id);
  const live = by("live"), body = by("body");
  let heard = Date.now(), over = false;

  const state = (name, mark, word) => {
    live.className = name;
    by("mark").textContent = mark;
    by("word").textContent = word;
  };
  // Replaces what has changed, and nothing that somebody is reading: what has the focus, or is opened.
  const merge = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html").body;
    const old = body.querySelector("article"), now = fresh.querySelector("article");
    if (!old || !now || old.children.length !== now.children.length) {
      body.replaceChildren(...fresh.childNodes);
      return;
    }
    const pairs = (a, b) => {
      [...a.children].forEach((was, i) => {
        const is = b.children[i];
        if (was.isEqualNode(is)) return;
        const busy = was.contains(document.activeElement) || was.querySelector("details[open]");
        if (was.classList.contains("figures") && was.children.length === is.children.length) pairs(was, is);
        else if (!busy || over) was.replaceWith(document.adoptNode(is.cloneNode(true)));
      });
    };
    pairs(old, now);
  };
  const events = new EventSource("events");
  const told = (name, what) =>
    events.addEventListener(name, (event) => {
      heard = Date.now();
      what(event.data);
    });
  told("now", (data) => {
    const news = JSON.parse(data);
    state("on", "●", "live");
    by("now").textContent = news.text;
  });
  told("body", merge);
  told("over", () => {
    over = true;
    events.close();
    state("over", "■", "over: this is the last state");
  });
  setInterval(() => {
    const silent = Date.now() - heard;
    if (!over && silent > STALE_MS)
      state("stale", "!", "STALE: nothing was heard for " + Math.round(silent / 1000) + " s; the run or its machine may be gone");
  }, 500);
})();
