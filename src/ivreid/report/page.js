"use strict";
(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const PAGE = 12;

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "on") for (const [event, act] of Object.entries(value)) element.addEventListener(event, act);
      else if (value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  };

  // ---- pictures -------------------------------------------------------------------------------------------------
  const named = (number) => {
    const [path, pid, camera, infrared] = data.images[number];
    return { path, pid, camera, modality: infrared ? "infrared" : "visible" };
  };
  const words = (number) => {
    const { pid, camera, modality } = named(number);
    return `identity ${pid}, ${camera ? `camera ${camera}, ` : ""}${modality}`;
  };
  const source = (number) => {
    if (data.folder) return named(number).path ? `${data.folder}/${number}.jpg` : null;
    return data.pictures[number] || null;
  };
  const picture = (number, alt) => {
    const url = source(number);
    const blank = () => make("span", { class: "blank", role: "img", "aria-label": `${alt} (no picture here)` }, `id ${named(number).pid}`);
    if (!url) return blank();
    const image = make("img", { src: url, alt, title: named(number).path, loading: "lazy" });
    image.addEventListener("error", () => image.replaceWith(blank()));
    return image;
  };

  // ---- files to take away ---------------------------------------------------------------------------------------
  const save = (name, text, type) => {
    const url = URL.createObjectURL(new Blob([text], { type }));
    const link = make("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  };
  const quoted = (value) => {
    const plain = String(value).replace(/\s+/g, " ").trim();
    const formula = /^[=+\-@]/.test(plain) && !/^[+-]?[0-9.,]*(e[+-]?[0-9]+)?%?$/i.test(plain); // to a spreadsheet
    const text = formula ? `'${plain}` : plain;
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const csv = (rows) => rows.map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  const fileButton = (label, what, act) => make("button", { type: "button", class: "file", "aria-label": `${label}: ${what}`, on: { click: act } }, label);

  const DRAWN = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "fill-opacity", "opacity", "font-size", "font-weight", "font-family", "paint-order"];
  const drawing = (svg) => {
    const copy = svg.cloneNode(true);
    const from = [svg, ...svg.querySelectorAll("*")];
    const to = [copy, ...copy.querySelectorAll("*")];
    from.forEach((element, i) => {
      const style = getComputedStyle(element);
      for (const name of DRAWN) to[i].style.setProperty(name, style.getPropertyValue(name));
    });
    const { width, height } = svg.viewBox.baseVal;
    copy.setAttribute("xmlns", "http" + "://www.w3.org/2000/svg");
    copy.setAttribute("width", width);
    copy.setAttribute("height", height);
    copy.style.background = getComputedStyle(document.body).backgroundColor;
    return new XMLSerializer().serializeToString(copy);
  };
  document.querySelectorAll("svg.chart").forEach((svg, i) => {
    const name = (svg.getAttribute("aria-label") || "chart").split(/[.:,;]/)[0];
    const file = `${name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || `chart-${i + 1}`}.svg`;
    const button = fileButton("SVG", name, () => save(file, drawing(svg), "image/svg+xml"));
    const caption = svg.closest("figure")?.querySelector("figcaption");
    if (caption) caption.append(" ", button);
    else svg.after(button);
  });
  document.querySelectorAll("table[data-name]").forEach((table) => {
    const name = table.dataset.name;
    const rows = () => [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent));
    table.parentElement.after(fileButton("CSV", name, () => save(`${name}.csv`, csv(rows()), "text/csv")));
  });
  document.querySelectorAll("blockquote.copy").forEach((quote) => {
    const button = make("button", { type: "button", class: "file" }, "Copy");
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(quote);
      try {
        await navigator.clipboard.writeText(quote.textContent);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Selected: press Ctrl-C";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 3000);
    });
    quote.after(button);
  });

  // ---- tables that sort -----------------------------------------------------------------------------------------
  const key = (cell) => {
    const number = parseFloat(cell.textContent.replaceAll(",", ""));
    return Number.isNaN(number) ? cell.textContent : number;
  };
  document.querySelectorAll(".sortable table").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", class: "sort" }, head.textContent);
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].map((row) => [key(row.cells[column]), row]);
        rows.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1));
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  });

  // ---- maps whose marks show their pictures ---------------------------------------------------------------------
  const tip = make("div", { class: "tip", role: "status", "aria-live": "polite", hidden: "" });
  document.body.append(tip);
  let pointed = null;
  const put = () => {
    if (!pointed) return;
    const box = pointed.getBoundingClientRect();
    const left = Math.max(8, Math.min(box.right + 8, innerWidth - tip.offsetWidth - 8));
    const top = Math.max(8, Math.min(box.top - tip.offsetHeight / 2, innerHeight - tip.offsetHeight - 8));
    tip.style.left = `${left}px`;
    tip.style.top = `${top}px`;
  };
  const point = (mark, on) => {
    pointed = on ? mark : null;
    document.querySelectorAll(".dot.on").forEach((other) => other.classList.remove("on"));
    if (!on) { tip.hidden = true; return; }
    const number = Number(mark.dataset.image);
    mark.classList.add("on");
    tip.replaceChildren(picture(number, words(number)), make("span", {}, words(number)));
    tip.hidden = false;
    put();
  };
  document.querySelectorAll("svg.pictured").forEach((svg) => {
    const marks = [...svg.querySelectorAll("[data-image]")];
    marks.forEach((mark) => mark.querySelector("title")?.remove());
    let at = -1;
    svg.addEventListener("pointerover", (event) => {
      const mark = event.target.closest("[data-image]");
      if (mark) point(mark, true);
    });
    svg.addEventListener("pointerleave", () => point(null, false));
    svg.addEventListener("blur", () => point(null, false));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") point(null, false);
      if (!step || !marks.length) return;
      event.preventDefault();
      at = (at + step + marks.length) % marks.length;
      point(marks[at], true);
    });
  });
  addEventListener("scroll", put, { passive: true });

  // ---- every query ----------------------------------------------------------------------------------------------
  const browser = document.getElementById("browser");
  if (browser && data.queries) browse(browser, data.queries);

  function browse(place, { q, ap, first, hits, d }) {
    const state = { text: "", outcome: "all", camera: "", sort: "hard", page: 0, chosen: null };
    const cameras = [...new Set(q.map((number) => named(number).camera))].sort((a, b) => a - b);
    let found = [];

    const field = (label, control) => {
      control.setAttribute("aria-label", label);
      return make("label", {}, make("span", {}, label), control);
    };
    const change = (name) => (event) => { state[name] = event.target.value; state.page = 0; show(); };
    const choice = (name, options) => make("select", { name, on: { change: change(name) } }, ...options.map(([value, text]) => make("option", { value }, text)));
    const search = make("input", { type: "search", name: "text", placeholder: "identity or path", on: { input: change("text") } });
    const controls = make("form", { class: "filters", on: { submit: (event) => event.preventDefault() } },
      field("Find", search),
      field("Outcome", choice("outcome", [["all", "all"], ["wrong", "another person first"], ["right", "right person first"], ["late", "not among the first ten"]])),
      field("Camera", choice("camera", [["", "all"], ...cameras.map((camera) => [String(camera), camera ? `camera ${camera}` : "unknown"])])),
      field("Order", choice("sort", [["hard", "lowest AP first"], ["easy", "highest AP first"], ["first", "latest first match"], ["pid", "identity"]])));
    const count = make("p", { class: "reading", role: "status", "aria-live": "polite" });
    const list = make("ol", { class: "queries" });
    const detail = make("div", { class: "detail", role: "region", "aria-label": "The chosen query's list", tabindex: "-1" });
    const turn = (step) => () => { state.page += step; show(); };
    const back = make("button", { type: "button", on: { click: turn(-1) } }, "Back");
    const next = make("button", { type: "button", on: { click: turn(1) } }, "Next");
    const where = make("span", {});
    const everything = fileButton("CSV", "every query shown here", () => save("queries.csv", csv([
      ["query", "identity", "camera", "modality", "average precision", "first match", "met"],
      ...found.map((i) => {
        const { path, pid, camera, modality } = named(q[i]);
        return [path, pid, camera, modality, ap[i] / 1000, first[i], first[i] > 1 && hits[i].length ? named(hits[i][0]).pid : ""];
      })]), "text/csv"));
    place.replaceChildren(controls, count, make("div", { class: "browse" }, make("div", {}, list, make("p", { class: "pager" }, back, where, next, everything)), detail));

    const fits = (i) => {
      const { path, pid, camera } = named(q[i]);
      const text = state.text.trim().toLowerCase();
      if (text && String(pid) !== text && !path.toLowerCase().includes(text)) return false;
      if (state.camera !== "" && String(camera) !== state.camera) return false;
      if (state.outcome === "wrong") return first[i] > 1;
      if (state.outcome === "right") return first[i] === 1;
      return state.outcome !== "late" || first[i] > 10;
    };
    const orders = {
      hard: (a, b) => ap[a] - ap[b] || a - b,
      easy: (a, b) => ap[b] - ap[a] || a - b,
      first: (a, b) => first[b] - first[a] || a - b,
      pid: (a, b) => named(q[a]).pid - named(q[b]).pid || a - b,
    };

    function show() {
      found = q.map((_, i) => i).filter(fits).sort(orders[state.sort]);
      const pages = Math.max(1, Math.ceil(found.length / PAGE));
      state.page = Math.max(0, Math.min(state.page, pages - 1));
      const here = found.slice(state.page * PAGE, (state.page + 1) * PAGE);
      const mean = found.length ? found.reduce((sum, i) => sum + ap[i], 0) / found.length / 10 : 0;
      count.textContent = found.length ? `${found.length.toLocaleString("en")} of ${q.length.toLocaleString("en")} queries, mean average precision ${mean.toFixed(1)}%` : "No query fits these filters.";
      where.textContent = ` page ${state.page + 1} of ${pages} `;
      back.disabled = state.page === 0;
      next.disabled = state.page === pages - 1;
      list.replaceChildren(...here.map(row));
      if (!here.includes(state.chosen)) choose(here.length ? here[0] : null);
      else mark();
    }
    function row(i) {
      const { pid, camera } = named(q[i]);
      const right = first[i] === 1;
      const bar = make("span", { class: "bar", "aria-hidden": "true", style: `--share:${ap[i] / 10}%` });
      const button = make("button", { type: "button", class: right ? "right" : "wrong", "data-query": i, on: { click: () => choose(i) } },
        make("b", { class: "sign", "aria-hidden": "true" }, right ? "✓" : "✗"),
        make("span", {}, `identity ${pid}${camera ? ` · c${camera}` : ""}`), bar,
        make("span", {}, `AP ${(ap[i] / 10).toFixed(1)}%`),
        make("span", { class: "fine" }, right ? "met first" : `match at ${first[i].toLocaleString("en")}`));
      return make("li", {}, button);
    }
    function mark() {
      for (const button of list.querySelectorAll("button")) {
        if (Number(button.dataset.query) === state.chosen) button.setAttribute("aria-current", "true");
        else button.removeAttribute("aria-current");
      }
    }
    function choose(i) {
      state.chosen = i;
      mark();
      if (i === null) { detail.replaceChildren(); return; }
      const own = named(q[i]);
      const query = make("div", { class: "query" }, make("div", { class: "frame" }, picture(q[i], `Query: ${words(q[i])}`)),
        make("div", { class: "place" }, "Query"), make("div", { class: "fine" }, `${own.pid}${own.camera ? ` · c${own.camera}` : ""}`, make("br"), `AP ${(ap[i] / 10).toFixed(1)}%`));
      const shown = hits[i].map((number, at) => {
        const there = named(number);
        const word = there.pid === own.pid && own.pid >= 0 ? "right" : "wrong";
        return make("li", { class: word }, make("div", { class: "frame" }, picture(number, `Rank ${at + 1}, ${word}: ${words(number)}, distance ${(d[i][at] / 1000).toFixed(3)}`)),
          make("div", { class: "place" }, make("b", { class: "sign", "aria-hidden": "true" }, word === "right" ? "✓" : "✗"), ` ${at + 1}`),
          make("div", { class: "fine" }, `${there.pid}${there.camera ? ` · c${there.camera}` : ""}`, make("br"), (d[i][at] / 1000).toFixed(3)));
      });
      const about = `${own.path || words(q[i])}: first true match at rank ${first[i].toLocaleString("en")}.`;
      detail.replaceChildren(make("p", { class: "fine" }, about), make("div", { class: "ranked" }, query, make("ol", { class: "hits" }, ...shown)));
    }
    show();
  }

  // ---- where the reader is --------------------------------------------------------------------------------------
  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.getAttribute("href").slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      links.get(target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
})();
