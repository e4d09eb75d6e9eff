// Keeps a page true while it is looked at: what is said of the present is asked for anew, and where no answer
// comes the clock says since when. Without this script a page says what was when it was loaded.
"use strict";
(() => {
  const main = document.querySelector("main[data-fresh]");
  const clock = document.querySelector(".clock");
  if (!main || !clock) return;
  const every = 15_000;
  const scrolled = () => [...main.querySelectorAll(".scroll")];
  // What has the focus is found again by where it leads, a button by being one.
  const held = () => {
    const focus = document.activeElement;
    if (!main.contains(focus)) return null;
    const href = focus.getAttribute("href");
    return href ? `[href="${CSS.escape(href)}"]` : focus.localName;
  };
  const take = (page) => {
    const focus = held();
    const places = scrolled().map((part) => part.scrollLeft);
    main.replaceChildren(...page.querySelector("main").childNodes);
    scrolled().forEach((part, index) => (part.scrollLeft = places[index] ?? 0));
    if (focus) main.querySelector(focus)?.focus({ preventScroll: true });
    clock.textContent = page.querySelector(".clock").textContent;
    clock.classList.remove("stale");
    document.title = page.title;
  };
  const look = async () => {
    if (document.hidden || !getSelection().isCollapsed) return;
    try {
      const answer = await fetch(location.href, { signal: AbortSignal.timeout(every) });
      if (!answer.ok) throw new Error(answer.statusText);
      take(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      if (clock.classList.contains("stale")) return;
      clock.classList.add("stale");
      clock.textContent = `no answer since ${clock.textContent}`;
    }
  };
  setInterval(look, every);
  document.addEventListener("visibilitychange", look);
})();
