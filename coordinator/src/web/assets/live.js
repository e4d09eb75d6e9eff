// Follows a localisation under way. Without this script its page is loaded anew every two seconds.
"use strict";
(() => {
  const run = document.querySelector("[data-events]");
  if (!run) return;
  const led = run.querySelector("[data-led]");
  const field = (name) => run.querySelector(`[data-field="${name}"]`);
  const lead = (step) => {
    const last = led.lastElementChild;
    if (!step.leading || (last && last.children[1].textContent === step.leading)) return;
    const row = led.insertRow();
    const cell = (text, kind) => Object.assign(row.insertCell(), { textContent: text, className: kind });
    cell(step.elapsed, "n r");
    cell(step.leading, "");
    cell(step.sure, "n r");
  };
  const events = new EventSource(run.dataset.events);
  events.addEventListener("step", (event) => {
    const step = JSON.parse(event.data);
    for (const [name, value] of Object.entries(step)) {
      const place = field(name);
      if (place) place.textContent = value;
    }
    lead(step);
  });
  events.addEventListener("end", (event) => {
    events.close();
    location.replace(event.data);
  });
})();
