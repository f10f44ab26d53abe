
// Filters: a row is shown if every word of the search is in its text and it belongs to the chosen family and suite.
document.querySelectorAll("output[data-count]").forEach(output => {
  const id = output.dataset.count, table = document.getElementById(id);
  const control = kind => document.querySelector(`[data-${kind}="${id}"]`);
  const search = control("filter"), family = control("family"), suite = control("suite"), empty = control("empty");
  const rows = [...table.tBodies[0].rows];
  const text = row => (row.dataset.text || row.textContent).toLowerCase();
  const fits = row => (search.value.toLowerCase().split(/\s+/).every(word => text(row).includes(word)))
    && (!family || !family.value || row.dataset.family === family.value)
    && (!empty || empty.checked || row.dataset.nothing === undefined)
    && (!suite || !suite.value || row.dataset.suites.split("|").includes(suite.value));
  const show = () => {
    let shown = 0, head = null, under = 0;
    rows.forEach(row => {
      if (row.classList.contains("family")) {
        if (head) head.hidden = under === 0;
        head = row; under = 0;
        return;
      }
      row.hidden = !fits(row);
      if (!row.hidden) { shown++; under++; }
    });
    if (head) head.hidden = under === 0;
    output.textContent = `${shown} row${shown === 1 ? "" : "s"}`;
  };
  [search, family, suite, empty].forEach(one => one && one.addEventListener("input", show));
  show();
});

// Gains over the chosen row, in percent of its figure; at the primary metric with the verdict of the test.
const gains = document.getElementById("gains"), baseline = document.getElementById("baseline");
if (gains && baseline) {
  const told = JSON.parse(gains.textContent), metric = document.getElementById("gain-metric");
  const write = () => {
    const chosen = baseline.value, key = metric.value, base = (told.figures[chosen] || {})[key];
    document.getElementById("gain-unit").textContent = `% of ${key}`;
    document.querySelectorAll("#board tr[data-label]").forEach(row => {
      const cell = row.querySelector(".gain"), label = row.dataset.label;
      const figure = (told.figures[label] || {})[key];
      cell.textContent = ""; cell.dataset.v = ""; cell.title = "";
      if (label === chosen) { cell.textContent = "baseline"; cell.dataset.v = "0"; return; }
      if (figure === undefined || base === undefined || base === 0) { cell.textContent = "—"; return; }
      const gain = 100 * told.better[key] * (figure - base) / Math.abs(base);
      const verdict = key === told.primary ? (told.verdicts[chosen] || {})[label] : undefined;
      const mark = document.createElement("span");
      const digits = Math.abs(gain) < 10 ? 1 : 0, rounded = Math.abs(gain).toFixed(digits);
      mark.textContent = (verdict === "=" ? "≈ " : "") + (gain < 0 ? "−" : "+") + rounded;
      mark.className = verdict === undefined || verdict === "=" ? "even" : gain > 0 ? "up" : "down";
      cell.append(mark);
      cell.dataset.v = String(gain);
      cell.title = `${figure.toPrecision(4)} against ${base.toPrecision(4)}`
        + (verdict === "=" ? ": not distinguishable" : verdict ? ": distinguishable" : "");
    });
  };
  [baseline, metric].forEach(one => one.addEventListener("change", write));
  write();
}

// A leaderboard starts out ranked; a third click on the heading brings the families back.
document.querySelectorAll("table[data-sort]").forEach(table => {
  const head = [...table.tHead.rows[0].cells].find(cell => cell.dataset.key === table.dataset.sort);
  if (head) head.querySelector("button").click();
});
