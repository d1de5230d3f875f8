"use strict";
// Sorts tables by their column headers and copies them as tab-separated text. Without scripts the page reads
// the same; only these two do nothing.

function sortValue(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
}

function sortTable(table, column, ascending) {
  const numeric = table.tHead.rows[0].cells[column].classList.contains("number");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => ({ row, value: sortValue(row, column) }));
  rows.sort((a, b) => {
    if (a.value === "" || b.value === "") return (a.value === "") - (b.value === ""); // what is missing: last
    const order = numeric ? Number(a.value) - Number(b.value) : a.value.localeCompare(b.value, "en", { numeric: true });
    return ascending ? order : -order;
  });
  body.append(...rows.map((item) => item.row));
}

function say(text) {
  document.getElementById("status").textContent = text;
}

function makeSortable(table) {
  const headers = Array.from(table.tHead.rows[0].cells);
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const ascending = header.getAttribute("aria-sort") !== "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      sortTable(table, column, ascending);
      say(`Sorted by ${button.textContent.trim()}, ${ascending ? "ascending" : "descending"}.`);
    });
  });
}

function asText(table) {
  const rows = [table.tHead.rows[0], ...table.tBodies[0].rows];
  return rows.map((row) => Array.from(row.cells, (cell) => cell.textContent.replace(/\s+/g, " ").trim()).join("\t")).join("\n");
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // A page opened from a file may not use the clipboard directly.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("the browser refused to copy");
  }
}

// What is wider than its place can be reached by the keyboard, has a name, and says that it can be scrolled.
function markScrollers() {
  for (const box of document.querySelectorAll(".scroll")) {
    const wide = box.scrollWidth > box.clientWidth + 1;
    if (wide !== box.hasAttribute("tabindex")) {
      if (wide) {
        for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-labelledby", box.dataset.label]]) box.setAttribute(name, value);
        const note = document.createElement("span");
        note.className = "more";
        note.textContent = "Wider than this window: scroll sideways \u2192";
        box.before(note);
      } else {
        for (const name of ["tabindex", "role", "aria-labelledby"]) box.removeAttribute(name);
        box.previousElementSibling.remove();
      }
    }
    box.classList.toggle("end", box.scrollLeft + box.clientWidth >= box.scrollWidth - 1);
  }
}

for (const table of document.querySelectorAll("table.sortable")) makeSortable(table);

markScrollers();
addEventListener("load", markScrollers);
addEventListener("resize", markScrollers);
document.addEventListener("toggle", markScrollers, true);
document.addEventListener("scroll", markScrollers, true);

for (const button of document.querySelectorAll("button[data-copies]")) {
  const words = button.innerHTML;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await copyText(asText(document.getElementById(button.dataset.copies)));
      say("Table copied.");
      button.textContent = "Copied";
    } catch (error) {
      say(`Not copied: ${error.message}.`);
      button.textContent = "Not copied: use the CSV file";
    }
    button.focus();
    setTimeout(() => { button.innerHTML = words; }, 2500);
  });
}

// What is folded on the screen and belongs on paper is unfolded for printing.
const folded = () => document.querySelectorAll("details.print");
addEventListener("beforeprint", () => folded().forEach((item) => { item.dataset.was = item.open; item.open = true; }));
addEventListener("afterprint", () => folded().forEach((item) => { item.open = item.dataset.was === "true"; }));
