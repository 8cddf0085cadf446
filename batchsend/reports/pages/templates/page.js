"use strict";
// Shows any row by its number. Values are inserted as text, never as HTML.
(() => {
  const source = document.getElementById("rows");
  const form = document.getElementById("lookup");
  if (!source || !form) return;
  const data = JSON.parse(source.textContent);
  const rows = new Map(data.rows.map((row) => [row[0], row]));
  const found = document.getElementById("found");
  const input = form.elements.namedItem("row");
  const settings = form.dataset;

  const element = (name, text, className) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  };
  const bubble = (body) => {
    const made = element("div", body, "bubble");
    if (settings.optOut) made.append(element("span", settings.optOut, "added"));
    return made;
  };
  const ready = ([number, , , , phone, json, path, segments, encoding]) => {
    const exact = element("details");
    exact.append(element("summary", "The exact request"));
    const request = element("div", undefined, "request");
    request.append(element("pre", "POST " + settings.base + path), element("pre", json));
    exact.append(request);
    return [
      element("p", `Row ${number}, to ${phone || "the customer’s preferred number"}`, "to"),
      bubble(JSON.parse(json).messageAttributes.body),
      element("p", `${segments} ${segments === 1 ? "segment" : "segments"}, ${encoding}`, "cost"),
      exact,
    ];
  };
  const other = ([number, status, reason, problem, phone, body]) => {
    const parts = [element("p", `Row ${number} is ${status}${phone ? ", phone " + phone : ""}`, "to")];
    parts.push(element("p", [data.reasons[reason], problem && `In this row: ${problem}.`].filter(Boolean).join(" ")));
    if (body) parts.push(bubble(body));
    return parts;
  };
  const show = (number) => {
    const row = rows.get(number);
    if (row) return found.replaceChildren(...(row[1] === "ready" ? ready(row) : other(row)));
    const missing = data.complete
      ? `The list has no row ${number}, or the row is blank. Row numbers are those of the spreadsheet; the header is row 1.`
      : `Row ${number} is not among the ${rows.size.toLocaleString("en")} rows on this page. The workbook has all of them.`;
    return found.replaceChildren(element("p", missing));
  };

  document.getElementById("row").hidden = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (input.value) show(Number(input.value));
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-row]");
    if (!link) return;
    input.value = link.dataset.row;
    show(Number(link.dataset.row));
    input.focus({ preventScroll: true });
  });
})();
