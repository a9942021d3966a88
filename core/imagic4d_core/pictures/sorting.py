"""The script of the report: heads of tables become buttons that sort. Without it the page reads the same."""

#: Numbers are compared as numbers where all filled cells of a column begin with one; other text as people count ("3D 2" before
#: "3D 10"). Cells without a value stay at the end. A third press brings back the order of the page.
SCRIPT = r"""
(() => {
  "use strict";
  const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const number = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?(?=$|[\s%(\u00b0])/i;
  const text = (cell) => cell.textContent.replace(/[\u2009\u202f]/g, "").replace(/\u2212/g, "-").trim();
  const empty = (t) => t === "" || t === "\u2013";
  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0], page = [...body.rows];
    if (page.length < 2) continue;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.title = "Sort by this column";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")] || "ascending";
        for (const h of heads) h.removeAttribute("aria-sort");
        if (next !== "none") head.setAttribute("aria-sort", next);
        const keys = new Map(page.map((row) => [row, text(row.cells[column])]));
        const filled = [...keys.values()].filter((t) => !empty(t)), numeric = filled.every((t) => number.test(t));
        const sign = next === "descending" ? -1 : 1;
        const compare = (r, s) => {
          const a = keys.get(r), b = keys.get(s);
          if (empty(a) || empty(b)) return empty(a) - empty(b);
          return sign * (numeric ? parseFloat(a) - parseFloat(b) : words.compare(a, b));
        };
        body.append(...(next === "none" ? page : [...page].sort(compare)));
      });
    });
  }
})();
"""
