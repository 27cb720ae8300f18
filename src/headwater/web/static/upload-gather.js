// What was dropped or chosen, as {path, file}: folders opened, the clutter of desktops left out.

const CLUTTER = /(^|\/)(\.DS_Store|Thumbs\.db|desktop\.ini|\.git(\/.*)?|__pycache__(\/.*)?)$/;
const MAX = 20_000;

const clean = (items) => items.filter(({ path }) => !CLUTTER.test(path)).slice(0, MAX)
  .map(({ path, file }) => ({ path: path.normalize("NFC"), file }));

// A folder that was chosen is the repo's root, so its own name is taken off.
export function listed(files) {
  return clean([...files].map((file) => ({ path: file.webkitRelativePath.split("/").slice(1).join("/") || file.name, file })));
}

export async function gathered(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return listed(transfer.files);
  const found = [];
  const alone = entries.length === 1 && entries[0].isDirectory;
  for (const entry of entries) await walk(entry, alone ? "" : entry.name, found);
  return clean(found);
}

async function walk(entry, path, found) {
  if (found.length >= MAX) return;
  if (entry.isFile) {
    found.push({ path, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const inner of some) await walk(inner, path ? `${path}/${inner.name}` : inner.name, found);
  }
}
