// Two films that play together, and keys to answer with. The form works without this.

const form = document.getElementById("versus");
if (form) {
  const films = [...form.querySelectorAll("video")];
  const answers = [...form.querySelectorAll("button[name=said]")];
  let leading = null; // the one a person started, stopped or wound; the other follows

  const follow = (from, what) => {
    if (leading && leading !== from) return;
    leading = from;
    for (const film of films) if (film !== from) what(film);
    setTimeout(() => { leading = null; }, 0);
  };
  for (const film of films) {
    film.addEventListener("play", () => follow(film, (other) => other.play()));
    film.addEventListener("pause", () => follow(film, (other) => other.pause()));
    film.addEventListener("seeking", () => {
      if (film.currentTime > 0) follow(film, (other) => { if (Math.abs(other.currentTime - film.currentTime) > 0.1) other.currentTime = film.currentTime; });
    });
  }

  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) films[0].play().catch(() => {});

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    if (event.key === " " && !event.target.closest("button, a, summary, video")) {
      event.preventDefault();
      if (films[0].paused) films[0].play(); else films[0].pause();
    }
    const answer = answers[Number(event.key) - 1];
    if (answer) answer.click();
  });
}
