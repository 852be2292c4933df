// A table whose rows have keys: what did not change is left alone, so that 500 rows stay smooth.

import { element } from "./format.js";

export class Table {
  // `columns` are functions of a row's object: each returns a text, an element or null.
  constructor(section, key, columns) {
    this.body = section.querySelector("tbody");
    this.empty = section.querySelector(".empty");
    this.labels = [...section.querySelectorAll("thead th")].map((th) => th.textContent);
    this.key = key;
    this.columns = columns;
    this.rows = new Map();
  }

  // Shows these objects in this order.
  show(objects) {
    const seen = new Set();
    let after = null;
    for (const object of objects) {
      const key = this.key(object);
      seen.add(key);
      const row = this.rows.get(key) ?? this.make(key);
      this.fill(row, object);
      const place = after ? after.nextSibling : this.body.firstChild;
      if (place !== row.tr) this.body.insertBefore(row.tr, place);
      after = row.tr;
    }
    for (const [key, row] of this.rows) {
      if (seen.has(key)) continue;
      row.tr.remove();
      this.rows.delete(key);
    }
    if (this.empty) this.empty.hidden = objects.length > 0;
  }

  make(key) {
    const cells = this.labels.map((label) => element("td", { role: "cell", "data-label": label }));
    const row = { tr: element("tr", { role: "row" }, ...cells), cells, shown: cells.map(() => "") };
    this.rows.set(key, row);
    return row;
  }

  fill(row, object) {
    this.columns.forEach((column, index) => {
      const content = column(object) ?? "";
      const mark = content instanceof Element ? content.outerHTML : content;
      if (row.shown[index] === mark) return;
      row.shown[index] = mark;
      row.cells[index].replaceChildren(content);
    });
  }
}
