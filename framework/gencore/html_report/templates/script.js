"use strict";
// Filters the list of threads while the reader types. Without it the page has no search box.
(() => {
  const tools = document.getElementById("thread-tools");
  if (!tools) return;
  const search = document.getElementById("thread-search");
  const count = document.getElementById("thread-count");
  const none = document.getElementById("thread-none");
  const toggle = document.getElementById("thread-toggle");
  const threads = [...document.querySelectorAll(".thread")].map((row) => ({
    row,
    details: row.querySelector("details"),
    text: row.textContent.toLowerCase(),
    stack: (row.querySelector(".stack")?.textContent ?? "").toLowerCase(),
    openedBySearch: false,
  }));
  const noun = threads.length === 1 ? "thread" : "threads";

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const thread of threads) {
      const matches = words.every((word) => thread.text.includes(word));
      thread.row.hidden = !matches;
      shown += matches;
      openWhereFound(thread, matches && words.some((word) => thread.stack.includes(word)));
    }
    const total = threads.length.toLocaleString("en");
    count.textContent = words.length
      ? `${shown.toLocaleString("en")} of ${total} ${noun}`
      : `${total} ${noun}`;
    none.hidden = shown > 0;
    highlight(words);
  }

  // A match inside a closed stack is shown; what the search opened, it closes again.
  function openWhereFound(thread, found) {
    if (found && !thread.details.open) {
      thread.details.open = thread.openedBySearch = true;
    } else if (!found && thread.openedBySearch) {
      thread.details.open = thread.openedBySearch = false;
    }
  }

  function highlight(words) {
    if (!("highlights" in CSS)) return;
    CSS.highlights.set("found", new Highlight(...(words.length ? ranges(words) : [])));
  }

  function* ranges(words) {
    let left = 2000; // a marked page of ten thousand stacks would only be slow
    for (const { row } of threads) {
      if (row.hidden) continue;
      const texts = document.createTreeWalker(row, NodeFilter.SHOW_TEXT);
      for (let node = texts.nextNode(); node && left; node = texts.nextNode()) {
        const text = node.data.toLowerCase();
        if (text.length !== node.length) continue; // a letter whose small form is longer
        for (const word of words) {
          for (let at = text.indexOf(word); at >= 0 && left; at = text.indexOf(word, at + 1)) {
            const range = new Range();
            range.setStart(node, at);
            range.setEnd(node, at + word.length);
            left -= 1;
            yield range;
          }
        }
      }
    }
  }

  function toggleAll() {
    const open = toggle.textContent === "Open all";
    for (const thread of threads) {
      thread.details.open = open;
      thread.openedBySearch = false;
    }
    toggle.textContent = open ? "Close all" : "Open all";
  }

  // "/" leads to the search box from anywhere, Escape empties it.
  function onKey(event) {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && event.target !== search) {
      event.preventDefault();
      search.focus();
    } else if (event.key === "Escape" && event.target === search && search.value) {
      event.preventDefault();
      search.value = "";
      filter();
    }
  }

  search.addEventListener("input", filter);
  toggle.addEventListener("click", toggleAll);
  document.addEventListener("keydown", onKey);
  tools.hidden = false;
  if (search.value) filter(); // a browser that goes back keeps what was typed
})();
