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
  // What a part of the page is about, from one state to the next.
  const about = (part) => {
    const head = part.querySelector("h1, h2, h3, h4, figcaption, summary");
    return [part.tagName, part.className, part.id, head ? head.textContent : ""].join(" ");
  };
  // Replaces what has changed, and nothing that somebody is reading: what has the focus, or is opened.
  const update = (old, now) => {
    const left = [...old.children];
    const parts = [...now.children].map((is) => {
      const at = left.findIndex((was) => about(was) === about(is));
      const was = at < 0 ? null : left.splice(at, 1)[0];
      const busy = was && (was.contains(document.activeElement) || was.querySelector("details[open]"));
      if (was && was.classList.contains("figures")) update(was, is);
      else if (!was || !(was.isEqualNode(is) || (busy && !over))) {
        const fresh = document.adoptNode(is.cloneNode(true));
        if (was) was.replaceWith(fresh);
        return fresh;
      }
      return was;
    });
    left.forEach((was) => was.remove());
    parts.forEach((part, i) => {
      if (old.children[i] !== part) old.insertBefore(part, old.children[i] || null);
    });
  };
  const merge = (html) => {
    const fresh = new DOMParser().parseFromString(html, "text/html").body;
    const old = body.querySelector("article"), now = fresh.querySelector("article");
    if (old && now) update(old, now);
    else body.replaceChildren(...fresh.childNodes);
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
