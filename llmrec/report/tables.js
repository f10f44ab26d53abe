document.querySelectorAll("table").forEach(table => {
  const body = table.tBodies[0], original = [...body.rows], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (!button) return;
    button.addEventListener("click", () => {
      const first = column === 0 || button.dataset.better === "-1" ? "ascending" : "descending";
      const second = first === "ascending" ? "descending" : "ascending";
      const now = head.getAttribute("aria-sort");
      const next = now === first ? second : now === second ? null : first;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      table.classList.toggle("sorted", next !== null);
      if (next === null) { body.append(...original); return; }
      head.setAttribute("aria-sort", next);
      const sign = next === "ascending" ? 1 : -1;
      const key = row => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
      const rows = original.filter(row => !row.classList.contains("family"));
      rows.sort((a, b) => {
        const apart = a.classList.contains("control") - b.classList.contains("control");
        if (apart) return apart;
        const x = key(a), y = key(b);
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (isNaN(x - y) ? x.localeCompare(y) : x - y);
      });
      body.append(...original.filter(row => row.classList.contains("family")), ...rows);
    });
  });
});
