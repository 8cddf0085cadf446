"use strict";
// Adds what HTML and htmx lack. Sending and stopping work without it.
(() => {
  const times = (root) => {
    for (const one of root.querySelectorAll("time[datetime]:not([data-local])")) {
      const moment = new Date(one.dateTime);
      if (Number.isNaN(moment.valueOf())) continue;
      one.title = one.textContent;
      one.dataset.local = "";
      one.textContent = moment.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    }
  };
  times(document);
  document.addEventListener("htmx:afterSwap", (event) => times(event.target.parentNode || document));

  // Keeps the link in sight that the keyboard is on, if the states of the steps take more room now.
  document.addEventListener("htmx:afterSettle", () => {
    const focused = document.querySelector("#step-bar :focus-visible, #overview :focus-visible");
    if (focused) focused.scrollIntoView({ block: "nearest" });
  });

  // Reads progress aloud now and then, not every second.
  const spoken = document.getElementById("spoken");
  let spokenAt = 0;
  const speak = () => {
    if (!spoken || Date.now() - spokenAt < 1000 * Number(spoken.dataset.every)) return;
    spokenAt = Date.now();
    const words = [...document.querySelectorAll("#progress .headline, #progress .more, #working .state")];
    spoken.textContent = words.map((one) => one.textContent.trim()).join(". ");
  };
  document.addEventListener("htmx:sseMessage", () => {
    const headline = document.querySelector("#progress [data-title]");
    if (headline) document.title = headline.dataset.title;
    speak();
  });
  document.addEventListener("htmx:afterSwap", speak);

  // When a run ends, renews the parts of its page. The filter, the focus and the field that has it stay where they are.
  const renewPart = (part, fresh) => {
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    if (focused && part.id === "rows") return;
    part.replaceWith(fresh);
    htmx.process(fresh);
    if (!focused) return;
    const next = (focused.id && document.getElementById(focused.id)) || fresh.querySelector("h2") || fresh;
    if (next.tabIndex < 0) next.tabIndex = -1;
    next.focus({ preventScroll: true });
  };
  const renewed = () => [...document.querySelectorAll("[data-renewed]")];
  // Changes above the field that has the focus, or above the rows, must not move them.
  let putBack = () => {};
  const keepPlace = () => {
    const active = document.activeElement;
    const typing = active !== document.body && !renewed().some((part) => part.contains(active));
    const kept = typing ? active : window.scrollY > 0 && document.getElementById("table");
    if (!kept) return;
    const top = kept.getBoundingClientRect().top;
    document.documentElement.style.overflowAnchor = "none";
    putBack = () => {
      window.scrollBy({ top: kept.getBoundingClientRect().top - top, behavior: "instant" });
      document.documentElement.style.overflowAnchor = "";
      putBack = () => {};
    };
  };
  document.addEventListener("htmx:sseBeforeMessage", keepPlace);
  document.addEventListener("htmx:sseMessage", () => putBack());
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.target.closest("[data-renewed]") && event.target.id !== "rows") keepPlace();
  });
  document.addEventListener("htmx:afterSwap", () => putBack());
  const renew = async () => {
    const answer = await fetch(window.location.href);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const parts = renewed();
    if (!answer.ok || !parts.every((part) => page.getElementById(part.id))) {
      window.location.reload();
      return;
    }
    document.title = page.title;
    keepPlace();
    for (const part of parts) renewPart(part, document.adoptNode(page.getElementById(part.id)));
    putBack();
    times(document);
    spokenAt = 0;
    speak();
  };
  document.addEventListener("htmx:sseClose", (event) => {
    if (event.detail.type === "message") renew().catch(() => window.location.reload());
  });

  // Says how many rows of a run are shown, and keeps their filter in the page's address.
  document.addEventListener("htmx:afterSwap", (event) => {
    const { target, pathInfo } = event.detail;
    if (!target || target.id !== "rows") return;
    spoken.textContent = target.querySelector("[data-said]").textContent;
    window.history.replaceState(null, "", pathInfo.finalRequestPath);
  });

  // Asks before changes that were not saved are lost. Fields that only look something up are no changes.
  const changed = new Set();
  document.addEventListener("input", (event) => {
    const form = event.target.form;
    if (form && form.hasAttribute("data-unsaved") && !event.target.hasAttribute("data-passing")) changed.add(form);
  });
  document.addEventListener("submit", (event) => changed.delete(event.target));
  let left = 0;
  window.addEventListener("beforeunload", (event) => {
    if (changed.size) event.preventDefault();
    else left = Date.now();
  });
  // Ignores what arrives for this page after a click that leads to another one: a reload would cancel the click.
  for (const name of ["htmx:beforeRequest", "htmx:beforeOnLoad"]) {
    document.addEventListener(name, (event) => {
      if (Date.now() - left < 10000) event.preventDefault();
    });
  }

  // Shows values of the column that was chosen.
  document.addEventListener("change", (event) => {
    if (!event.target.matches("select[data-samples-select]")) return;
    const shown = document.querySelector(`[data-samples-of="${event.target.id}"]`);
    const values = event.target.selectedOptions[0].dataset.samples || "";
    shown.querySelector("span").textContent = values;
    shown.hidden = !values;
  });

  // Moves the focus to the summary of errors.
  const summary = document.querySelector("[data-focus]");
  if (summary) summary.focus();

  // Shows what was saved where the person is, and moves the focus there. The browser goes to the place before that.
  window.addEventListener("load", () => {
    const notices = [...document.querySelectorAll("[data-notice]")];
    if (summary || !notices.length) return;
    const place = document.getElementById(window.location.hash.slice(1));
    if (place && place.matches("section")) (place.querySelector("h2") || place.firstElementChild).after(...notices);
    notices[0].focus();
  });

  // Uploads a file as soon as it is dropped on the field.
  for (const form of document.querySelectorAll("form[data-drop]")) {
    const input = form.querySelector("input[type=file]");
    for (const name of ["dragover", "dragleave", "drop"]) {
      form.addEventListener(name, (event) => {
        event.preventDefault();
        form.classList.toggle("over", name === "dragover");
      });
    }
    form.addEventListener("drop", (event) => {
      if (!event.dataTransfer.files.length) return;
      input.files = event.dataTransfer.files;
      form.requestSubmit();
    });
  }

  // Shows how much of a file is sent, with a button that gives it up.
  const sending = (event) => event.target.closest && event.target.closest("form[data-drop]");
  const showSent = (form, shown) => {
    form.querySelector(".sending").hidden = !shown;
    form.querySelector("button:not([data-abort])").hidden = shown;
  };
  document.addEventListener("htmx:beforeRequest", (event) => {
    const form = sending(event);
    if (form) showSent(form, true);
  });
  document.addEventListener("htmx:xhr:progress", (event) => {
    const form = sending(event);
    if (!form || !event.detail.lengthComputable) return;
    const percent = Math.floor((100 * event.detail.loaded) / event.detail.total);
    const name = form.querySelector("input[type=file]").files[0].name;
    form.querySelector(".sending label").textContent = `Sending ${name}: ${percent}%`;
    form.querySelector(".sending progress").value = percent;
    const said = form.querySelector(".sending [role=status]");
    if (percent % 25 === 0) said.textContent = `${percent}% sent`;
  });
  for (const name of ["htmx:xhr:abort", "htmx:sendError", "htmx:responseError"]) {
    document.addEventListener(name, (event) => {
      const form = sending(event);
      if (form) showSent(form, false);
    });
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-abort]");
    if (button) htmx.trigger(button.form, "htmx:abort");
  });

  // Marks the text as wrong as long as the page says so beside it.
  document.addEventListener("htmx:afterSettle", () => {
    const text = document.querySelector("#text-form #text");
    if (!text) return;
    if (document.querySelector("#text-error p")) text.setAttribute("aria-invalid", "true");
    else text.removeAttribute("aria-invalid");
  });

  // Inserts a column at the cursor. Without scripts, the button adds it at the end.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-insert]");
    if (!button) return;
    event.preventDefault();
    const text = document.getElementById("text");
    text.setRangeText(button.dataset.insert, text.selectionStart, text.selectionEnd, "end");
    text.focus();
    text.dispatchEvent(new Event("input", { bubbles: true }));
  });

  const toggle = (button, disabled) => {
    button.disabled = disabled;
    if (button.dataset.busy) [button.textContent, button.dataset.busy] = [button.dataset.busy, button.textContent];
  };
  // Disables the buttons of a form that was sent. The server ignores a second click in any case.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.hasAttribute("hx-get") || form.hasAttribute("hx-post") || form.method !== "post") return;
    window.setTimeout(() => {
      for (const button of form.querySelectorAll("button")) toggle(button, true);
    });
  });
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    left = 0;
    for (const button of document.querySelectorAll("form button[disabled]")) toggle(button, false);
  });
})();
