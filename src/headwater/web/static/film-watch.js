// A film that was watched being made: once it is there the rest of the page, which spoke of an order, is fetched anew.

const state = () => document.getElementById("screen").dataset.state;
const going = (now) => now === "queued" || now === "running";
const first = state();

document.body.addEventListener("htmx:afterSwap", () => {
  if (going(first) && !going(state())) location.reload();
});
