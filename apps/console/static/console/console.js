// What the pages need of a browser beside htmx: the beat by which parts renew themselves, times in the reader's zone,
// lengths of time that grow, and a word when the plane does not answer. Without it everything is there, and stands still.
"use strict";
(() => {
  const EVERY_MS = 3000;
  const root = document.documentElement;
  const skew = Date.parse(root.dataset.now) - Date.now();
  const now = () => Date.now() + skew;

  // -- times
  const day = { day: "numeric", month: "short" };
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const formats = {
    plain: new Intl.DateTimeFormat(undefined, { ...day, ...clock }),
    old: new Intl.DateTimeFormat(undefined, { ...day, year: "numeric", ...clock }),
    precise: new Intl.DateTimeFormat(undefined, { ...clock, fractionalSecondDigits: 3 }),
    oldPrecise: new Intl.DateTimeFormat(undefined, { ...day, ...clock, fractionalSecondDigits: 3 }),
  };
  const HALF_A_DAY_MS = 43200000;

  function localise(within) {
    for (const each of within.querySelectorAll("time[data-local]")) {
      const at = new Date(each.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      const format = each.dataset.local === "precise"
        ? Math.abs(now() - at) < HALF_A_DAY_MS ? formats.precise : formats.oldPrecise
        : at.getFullYear() === new Date(now()).getFullYear() ? formats.plain : formats.old;
      each.textContent = format.format(at);
      each.removeAttribute("data-local");
    }
  }

  function span(ms) {
    const s = Math.max(0, Math.round(ms / 1000));
    if (s < 120) return `${s} s`;
    if (s < 7200) return `${Math.round(s / 60)} min`;
    return s < 172800 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
  }

  function grow() {
    for (const each of document.querySelectorAll("[data-since]")) {
      each.textContent = span(now() - Date.parse(each.dataset.since));
    }
  }

  // -- the beat: only while somebody looks, and does not want it to stand still
  const live = document.getElementById("live");
  const wanted = () => live === null || live.getAttribute("aria-pressed") === "true";

  function beat() {
    if (document.hidden) return;
    grow();
    if (wanted()) htmx.trigger(document.body, "tick");
  }

  function show(on) {
    live.setAttribute("aria-pressed", String(on));
    live.textContent = on ? "Live" : "Still";
    live.title = on ? "The page renews itself; press to have it stand still" : "The page stands still; press to have it renew itself";
  }

  if (live !== null) {
    live.hidden = false;
    show(true);
    live.addEventListener("click", () => {
      show(!wanted());
      beat();
    });
  }
  setInterval(beat, EVERY_MS);
  setInterval(() => document.hidden || grow(), 1000);
  document.addEventListener("visibilitychange", beat);

  // -- what came
  const away = document.getElementById("away");
  const said = document.getElementById("said");
  const log = document.getElementById("log-lines");
  let spoken = document.querySelector("[data-say]")?.dataset.say;
  let atEnd = true;

  document.body.addEventListener("htmx:beforeSwap", () => {
    if (log !== null) atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
  });
  document.body.addEventListener("htmx:afterSettle", () => {
    localise(document);
    grow();
    if (log !== null && atEnd) log.scrollTop = log.scrollHeight;
    const word = document.querySelector("[data-say]")?.dataset.say;
    if (word !== undefined && word !== spoken) said.textContent = spoken = word;
  });
  document.body.addEventListener("htmx:afterRequest", (event) => {
    const status = event.detail.xhr?.status ?? 0;
    away.hidden = status > 0 && status < 500;
  });

  localise(document);
  grow();
  if (log !== null) log.scrollTop = log.scrollHeight;
})();
