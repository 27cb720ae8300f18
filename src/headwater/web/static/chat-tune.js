// How it answers: instruction, sampling, form of the answer; presets of these; and the request as a program writes it.

import { presets } from "./chat-api.js";
import { WRITERS, request, schemaProblem } from "./chat-request.js";
import { at, unlessUndone, words } from "./chat-bits.js";

const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"], TEXTS = ["system", "schema", "reasoning_effort"];
const STANDARD = { temperature: 0.7, max_tokens: 1024 };

export class Tuning {
  // changed(): a setting is another one. wanted(): {model, path} of the next request.
  constructor(changed, wanted) {
    Object.assign(this, { changed, wanted, known: [] });
    for (const name of [...NUMBERS, ...TEXTS]) {
      at(name).addEventListener("input", () => {
        at("preset").value = "";
        this.tell();
        changed();
      });
    }
    at("preset").addEventListener("change", () => this.choose());
    at("preset-keep").addEventListener("click", () => this.keep());
    at("preset-remove").addEventListener("click", () => this.remove());
    at("code").addEventListener("click", () => {
      this.write();
      at("code-box").showModal();
    });
    at("code-language").addEventListener("change", () => this.write());
    this.tell();
  }

  // {system, temperature, top_p, max_tokens, seed, schema, reasoning_effort}; a number nobody gave is null.
  get values() {
    const found = Object.fromEntries(TEXTS.map((name) => [name, at(name).value]));
    for (const name of NUMBERS) found[name] = at(name).value.trim() && at(name).checkValidity() ? Number(at(name).value) : null;
    return found;
  }

  set values(given) {
    const all = { ...STANDARD, ...given };
    for (const name of [...NUMBERS, ...TEXTS]) at(name).value = all[name] ?? "";
    at("preset").value = "";
    this.tell();
  }

  get problem() {
    const bad = NUMBERS.find((name) => !at(name).checkValidity());
    if (bad) return `${at(bad).labels[0].firstChild.textContent.trim()}: ${at(bad).validationMessage}`;
    const problem = schemaProblem(at("schema").value);
    return problem && `${words.bad_schema}: ${problem}`;
  }

  tell() {
    const problem = schemaProblem(at("schema").value);
    at("schema-said").textContent = problem && `${words.bad_schema}: ${problem}`;
    at("schema").setAttribute("aria-invalid", String(Boolean(problem)));
    const now = this.values;
    const moved = now.system.trim() || now.schema.trim() || now.reasoning_effort || now.top_p !== null || now.seed !== null
      || Object.entries(STANDARD).some(([name, value]) => now[name] !== value);
    at("tuning").classList.toggle("moved", Boolean(moved));
  }

  async load() {
    this.known = await presets.all().catch(() => []);
    at("preset").replaceChildren(new Option(words.no_preset, ""), ...this.known.map((one) => new Option(one.name, one.id)));
    at("preset-remove").hidden = true;
  }

  choose() {
    const chosen = this.known.find((one) => one.id === at("preset").value);
    at("preset-remove").hidden = !chosen;
    if (!chosen) return;
    this.values = chosen;
    at("preset").value = chosen.id;
    if (chosen.model && [...at("model").options].some((one) => one.value === chosen.model)) at("model").value = chosen.model;
    at("model").dispatchEvent(new Event("change"));
    this.changed();
  }

  async keep() {
    const name = at("preset-name").value.trim();
    if (!name) return at("preset-name").focus();
    const body = { name, model: at("model").value, ...this.values };
    const old = this.known.find((one) => one.name === name);
    try {
      const kept = await (old ? presets.change(old.id, body) : presets.make(body));
      await this.load();
      at("preset").value = kept.id;
      at("preset-remove").hidden = false;
      at("preset-name").value = "";
      at("preset-said").textContent = words.preset_kept;
    } catch (error) {
      at("preset-said").textContent = error.told ?? words.failed;
    }
  }

  remove() {
    const gone = this.known.find((one) => one.id === at("preset").value);
    if (!gone) return;
    this.known = this.known.filter((one) => one !== gone);
    at("preset").selectedOptions[0].remove();
    at("preset-remove").hidden = true;
    unlessUndone(words.preset_gone, () => presets.remove(gone.id).catch(() => {}), () => this.load());
  }

  // The request that would be sent now, for a program.
  write() {
    const { model, path } = this.wanted();
    const values = schemaProblem(at("schema").value) ? { ...this.values, schema: "" } : this.values;
    at("code-text").textContent = WRITERS[at("code-language").value](request(model, path, values), location.origin);
  }
}
