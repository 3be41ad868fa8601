"use strict";
(() => {
  const form = document.getElementById("search");
  const drop = document.getElementById("drop");
  const file = form.elements.namedItem("images");
  const said = document.getElementById("said");
  const answer = () => document.getElementById("answer");
  const hits = () => [...document.querySelectorAll(".hits > li")];

  const zone = form.elements.namedItem("zone");
  if (zone.value === "UTC") zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

  let quiet = 0;
  const tell = (text) => {
    said.textContent = text;
    clearTimeout(quiet);
    quiet = setTimeout(() => { said.textContent = ""; }, 6000);
  };

  // ---- the crop -------------------------------------------------------------------------------------------------
  const preview = () => {
    const place = document.getElementById("preview");
    place.replaceChildren();
    for (const one of [...file.files].slice(0, 4)) {
      const reader = new FileReader();
      reader.addEventListener("load", () => {
        const image = document.createElement("img");
        image.alt = one.name;
        image.src = reader.result;
        place.append(image);
      });
      reader.readAsDataURL(one);
    }
  };
  file.addEventListener("change", preview);
  preview();
  const take = (files) => {
    if (!files.length) return;
    file.files = files;
    preview();
    if (form.reportValidity()) form.requestSubmit();
  };
  for (const name of ["dragenter", "dragover"]) addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) addEventListener(name, () => drop.classList.remove("over"));
  addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files); });
  addEventListener("paste", (event) => { if (event.clipboardData) take(event.clipboardData.files); });

  // ---- searching ------------------------------------------------------------------------------------------------
  const problem = (text) => {
    const line = document.createElement("p");
    line.className = "problem";
    line.setAttribute("role", "alert");
    line.textContent = text;
    answer().replaceChildren(line);
  };
  let newest = 0;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const mine = ++newest;
    form.classList.add("busy");
    try {
      const response = await fetch(form.action, { method: "POST", body: new FormData(form) });
      if (response.redirected) { location.assign(response.url); return; }
      const text = await response.text();
      if (mine !== newest) return;
      if ((response.headers.get("content-type") || "").startsWith("text/html")) {
        const page = new DOMParser().parseFromString(text, "text/html");
        answer().replaceWith(page.getElementById("answer"));
      } else {
        problem(JSON.parse(text).error);
      }
      const first = hits()[0];
      if (first) first.focus({ preventScroll: true });
      answer().scrollIntoView({ block: "nearest" });
    } catch (error) {
      if (mine === newest) problem("The server does not answer; try again in a moment.");
    } finally {
      if (mine === newest) form.classList.remove("busy");
    }
  });

  // ---- review ---------------------------------------------------------------------------------------------------
  const judge = async (hit, verdict) => {
    const wanted = hit.dataset.verdict === verdict ? "none" : verdict;
    const body = JSON.stringify({ search: answer().dataset.search, picture: hit.dataset.picture, verdict: wanted });
    try {
      const response = await fetch("/v1/verdicts", { method: "POST", headers: { "content-type": "application/json" }, body });
      if (!response.ok) throw new Error((await response.json()).error);
      hit.dataset.verdict = wanted;
      for (const button of hit.querySelectorAll("[data-say]")) button.setAttribute("aria-pressed", String(button.dataset.say === wanted));
      tell(wanted === "none" ? "Verdict taken back." : `Stored: ${wanted}.`);
    } catch (error) {
      tell(`Not stored: ${error.message}`);
    }
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-say]");
    if (button) judge(button.closest("li"), button.dataset.say);
    if (event.target.id === "export") save();
  });
  const KEYS = { s: "same", d: "different", u: "unsure", n: "none" };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    const all = hits();
    const here = event.target.closest(".hits > li");
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && all.length) {
      event.preventDefault();
      const next = here ? all.indexOf(here) + step : 0;
      all[Math.max(0, Math.min(all.length - 1, next))].focus();
    } else if (here && KEYS[event.key.toLowerCase()]) {
      judge(here, KEYS[event.key.toLowerCase()]);
    }
  });

  // ---- the list to take away ------------------------------------------------------------------------------------
  const COLUMNS = ["id", "distance", "decision", "low", "high", "camera", "time", "modality", "tracklet", "source", "travel", "verdict"];
  const cell = (value) => {
    const text = /^[=+\-@\t\r]/.test(value) && Number.isNaN(Number(value)) ? `'${value}` : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const save = () => {
    const { search, purpose } = answer().dataset;
    const rows = [["rank", ...COLUMNS, "searched", "search", "purpose", "index_recall", "partial"]];
    for (const list of document.querySelectorAll(".hits")) {
      [...list.children].forEach((hit, place) => {
        rows.push([place + 1, ...COLUMNS.map((name) => hit.dataset[name]), list.dataset.searched, search, purpose, list.dataset.recall, list.dataset.partial]);
      });
    }
    const url = URL.createObjectURL(new Blob([rows.map((row) => row.map((value) => cell(String(value))).join(",")).join("\n") + "\n"], { type: "text/csv" }));
    const link = document.createElement("a");
    link.href = url;
    link.download = `search-${search}.csv`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };
})();
