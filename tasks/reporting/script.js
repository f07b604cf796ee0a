"use strict";

(() => {
  const root = document.documentElement;
  const toggle = document.getElementById("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const shown = () => root.dataset.theme || (dark.matches ? "dark" : "light");
  const remember = (value) => {
    try {
      localStorage.setItem("rec-denoiser-theme", value);
    } catch {
      // A browser may refuse to store anything for a file: the choice then holds for this visit.
    }
  };
  const label = () => {
    const next = shown() === "dark" ? "light" : "dark";
    toggle.textContent = next === "dark" ? "Dark" : "Light";
    toggle.setAttribute("aria-label", `Use ${next} colours`);
  };
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    root.dataset.theme = shown() === "dark" ? "light" : "dark";
    remember(root.dataset.theme);
    label();
  });
  dark.addEventListener("change", label);
  label();

  for (const box of document.querySelectorAll(".scroll")) {
    box.addEventListener("scroll", () => box.classList.toggle("moved", box.scrollLeft > 0), { passive: true });
  }

  const numeric = (cell) => cell.classList.contains("number");
  const order = (first, second, sign) => {
    const [a, b] = [first.dataset.value, second.dataset.value];
    if (a === "" || b === "") return (a === "") - (b === "");
    const difference = Number(a) - Number(b);
    const byNumber = numeric(first) || (!Number.isNaN(difference) && a.trim() !== "" && b.trim() !== "");
    return sign * (byNumber ? difference : a.localeCompare(b, "en", { numeric: true }));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      heading.querySelector("button").addEventListener("click", () => {
        const next = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        heading.setAttribute("aria-sort", next);
        const body = table.tBodies[0];
        const sign = next === "ascending" ? 1 : -1;
        body.append(...[...body.rows].sort((x, y) => order(x.cells[column], y.cells[column], sign)));
        table.classList.add("sorted");
      });
    });
  }
})();
