// Data come as scripts that call these functions, because a page from file:// may read nothing else.
const explorer = (() => {
  const at = id => document.getElementById(id);
  const parts = new Map(), waiting = new Map();
  let overview = null, titles = null, shown = [], current = -1;

  const fits = row => {
    if (!at("hit")) return true;
    const hit = at("hit").value, miss = at("miss").value;
    const isHit = method => overview.hits[row][method] === "1";
    return (hit === "" || isHit(+hit)) && (miss === "" || !isHit(+miss));
  };

  const fill = (list, items, relevant, before) => {
    list.replaceChildren(...items.map((item, place) => {
      const entry = document.createElement("li");
      if (relevant && relevant.has(item)) {
        const mark = document.createElement("strong");
        mark.textContent = `✓ ${titles[item]}`;
        entry.className = "hit";
        entry.append(mark);
      } else entry.textContent = `${before ? before[place] : ""}${titles[item]}`;
      return entry;
    }));
  };

  const draw = (row, found) => {
    const relevant = new Set(found.t);
    at("name").textContent = overview.names[row];
    at("text").hidden = !found.x;
    at("text").textContent = found.x ? `“${found.x}”` : "";
    fill(at("relevant"), found.t, null, found.g && found.g.map(given => `${given} · `));
    if (at("history")) {
      fill(at("history"), found.h);
      at("length").textContent = found.n > found.h.length ? `the newest ${found.h.length} of ${found.n}` : `${found.n}`;
    }
    [...at("lists").children].forEach((section, method) => {
      if (found.g) {
        const given = new Map(found.t.map((item, place) => [item, found.g[place]]));
        section.querySelector(".rank").textContent = `error (rmse) ${overview.off[row][method].toFixed(2)}`;
        fill(section.querySelector("ol"), found.l[method], null, found.l[method].map((item, place) =>
          `${found.p[method][place].toFixed(2)}, given ${given.get(item)} · `));
        return;
      }
      const rank = overview.best[row][method], hits = found.l[method].filter(item => relevant.has(item)).length;
      section.querySelector(".rank").textContent = rank === 0 ? at("lists").dataset.none : hits > 1 ? `${hits} hits, best rank ${rank}`
        : `rank ${rank.toLocaleString("en")}`;
      section.classList.toggle("good", hits > 0);
      fill(section.querySelector("ol"), found.l[method], relevant);
    });
    at("case").hidden = false;
  };

  const show = row => {
    current = row;
    const part = Math.floor(row / overview.perFile), within = row % overview.perFile;
    history.replaceState(null, "", `#${row}`);
    at("who").value = overview.names[row];
    const ready = () => { if (current === row) draw(row, parts.get(part)[within]); };
    if (parts.has(part)) { ready(); return; }
    if (waiting.has(part)) { waiting.set(part, ready); return; }
    waiting.set(part, ready);
    const script = document.createElement("script");
    script.src = `part-${part}.js`;
    script.onerror = () => {
      waiting.delete(part);
      at("problem").hidden = false;
      at("problem").textContent = `${script.src} cannot be read: was the folder moved in part?`;
    };
    document.body.append(script);
  };

  const filter = () => {
    shown = overview.names.map((_, row) => row).filter(fits);
    at("count").textContent = `${shown.length} of ${overview.names.length}`;
    at("previous").disabled = at("next").disabled = shown.length === 0;
    if (shown.length && !shown.includes(current)) show(shown[0]);
  };

  const step = by => {
    const place = shown.indexOf(current);
    show(shown[(place + by + shown.length) % shown.length]);
  };

  const start = () => {
    if (!overview || !titles) return;
    at("whos").replaceChildren(...overview.names.slice(0, 3000).map(name => new Option(name)));
    ["hit", "miss"].forEach(id => at(id)?.addEventListener("change", filter));
    at("previous").addEventListener("click", () => step(-1));
    at("next").addEventListener("click", () => step(1));
    at("picker").addEventListener("submit", event => event.preventDefault());
    at("who").addEventListener("change", () => {
      const wanted = at("who").value.trim();
      const row = overview.names.findIndex(name => name === wanted || name.split(" ").pop() === wanted);
      at("problem").hidden = row >= 0;
      at("problem").textContent = row < 0 ? `Nobody here is called “${wanted}”.` : "";
      if (row >= 0) show(row);
    });
    const asked = parseInt(location.hash.slice(1), 10);
    if (asked >= 0 && asked < overview.names.length) show(asked);
    filter();
  };

  return {
    overview: value => { overview = value; start(); },
    items: value => { titles = value; start(); },
    part: (value, number) => {
      parts.set(number, value);
      const ready = waiting.get(number);
      waiting.delete(number);
      if (ready) ready();
    },
  };
})();
