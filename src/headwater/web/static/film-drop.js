// A place to drop or paste a file, over an ordinary file input, which stays what the form sends.

export function drops(place, input, wanted, taken) {
  const put = (files) => {
    const file = [...files].find((one) => one.type.startsWith(wanted)) ?? files[0];
    if (!file) return;
    const held = new DataTransfer();
    held.items.add(file);
    input.files = held.files;
    taken(file);
  };
  for (const name of ["dragenter", "dragover"]) {
    place.addEventListener(name, (event) => {
      event.preventDefault();
      place.classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) place.addEventListener(name, () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    put(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) {
      event.preventDefault();
      put(event.clipboardData.files);
    }
  });
  input.addEventListener("change", () => taken(input.files[0] ?? null));
}
