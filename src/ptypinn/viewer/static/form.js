// A form made from the options of a command; the command line that it describes is checked while one types.

import { fetchJson, post, reasonOf } from "./api.js";
import { element } from "./elements.js";

const CHECK_MS = 250;

class Field {
  constructor(option, prefix) {
    this.option = option;
    const id = `${prefix}-${option.name}`;
    const label = element("label", option.name.replaceAll("_", " ").replace(/ (m|px|eV|s|mrad|gib|deg)$/, " ($1)"), { htmlFor: id });
    this.input = this.control(id);
    this.input.setAttribute("aria-describedby", `${id}-help ${id}-error`);
    this.error = element("p", "", { className: "field-error", id: `${id}-error`, hidden: true });
    const help = element("p", option.text, { className: "help", id: `${id}-help` });
    const parts = option.switch ? [element("span", [this.input, " ", label], { className: "switch" })] : [label, this.input];
    this.node = element("div", [...parts, this.error, help], { className: "field" });
    this.node.dataset.option = option.name;
    // The whole help of a field that was visited stays: a text that folds up under the mouse would move its target.
    this.input.addEventListener("focus", () => this.node.classList.add("visited"));
  }

  control(id) {
    const { option } = this;
    if (option.switch) return element("input", "", { type: "checkbox", id, checked: Boolean(option.default) });
    if (option.choices.length) {
      const choices = option.choices.map((choice) => new Option(choice || "none", choice, choice === option.default, choice === option.default));
      return element("select", choices, { id });
    }
    const placeholder = option.default || (option.file ? "file in this folder" : "");
    return element("input", "", { type: "text", id, placeholder, spellcheck: false, autocomplete: "off", autocapitalize: "off" });
  }

  get value() {
    return this.option.switch ? this.input.checked : this.input.value;
  }

  get isDefault() {
    return this.option.switch ? this.value === Boolean(this.option.default) : ["", this.option.default].includes(this.value.trim());
  }

  showError(text) {
    this.error.textContent = text;
    this.error.hidden = !text;
    this.input.setAttribute("aria-invalid", Boolean(text));
    if (text) this.node.closest("details")?.setAttribute("open", "");
  }
}

export class JobForm {
  // `root` is the form element, `base` the address of what it starts on; `started` is called with a new job, `reading`
  // with the valid options of reading. `offers` returns true for the commands on offer.
  constructor(root, base, { started, reading = () => {}, offers = () => true }) {
    this.root = root;
    this.base = base;
    this.offers = offers;
    this.started = started;
    this.reading = reading;
    this.find = (name) => root.querySelector(`[data-form=${name}]`);
    this.fields = new Map();
    root.addEventListener("submit", (event) => this.submit(event));
    root.addEventListener("input", () => this.checkSoon());
    this.find("output").addEventListener("input", () => (this.edited = true));
    this.find("copy").addEventListener("click", () => this.copy());
  }

  // `scan` describes what the form starts on, with proposals: run folders by command, and the address of a source.
  async load(scan) {
    this.scan = scan;
    this.forms = (await fetchJson("/api/forms")).forms.filter(this.offers);
    this.find("source").value = scan.source;
    this.find("commands").hidden = this.forms.length < 2;
    this.find("commands").replaceChildren(...this.forms.map(({ name }, k) => {
      const input = element("input", "", { type: "radio", name: "command", value: name, checked: k === 0 });
      input.addEventListener("change", () => this.choose(name));
      return element("label", [input, element("span", name)]);
    }));
    this.choose(this.forms[0].name);
  }

  // A new description of the same scan, with other proposals of run folders; nothing before it is loaded.
  update(scan) {
    if (!this.forms) return;
    this.scan = scan;
    if (!this.edited) this.find("output").value = scan.outputs[this.command];
    this.check();
  }

  choose(name) {
    const form = this.forms.find((each) => each.name === name);
    const values = new Map([...this.fields].filter(([, field]) => !field.isDefault).map(([key, field]) => [key, field.value]));
    this.command = name;
    this.fields = new Map();
    const make = (option) => {
      const field = new Field(option, name);
      if (values.has(option.name)) { // what both commands have stays as it was stated
        if (option.switch) field.input.checked = values.get(option.name);
        else field.input.value = values.get(option.name);
      }
      this.fields.set(option.name, field);
      return field.node;
    };
    this.find("summary").textContent = form.summary;
    this.find("common").replaceChildren(...form.common.map(make));
    this.find("more").replaceChildren(...form.groups.map(({ title, options }) =>
      element("details", [element("summary", title), ...options.map(make)], { className: "group" })));
    this.takesSource = form.source;
    this.find("source-field").hidden = !form.source;
    this.edited = false;
    this.find("output").value = this.scan.outputs[name];
    this.check();
  }

  get content() {
    const stated = [...this.fields].filter(([, field]) => !field.isDefault);
    return {
      command: this.command,
      source: this.takesSource ? this.find("source").value.trim() : "",
      values: Object.fromEntries(stated.map(([name, field]) => [name, field.value])),
      output: this.find("output").value.trim(),
      overwrite: this.find("overwrite").checked,
    };
  }

  checkSoon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.check(), CHECK_MS);
  }

  async check() {
    clearTimeout(this.timer);
    if (this.takesSource && !this.find("source").value.trim()) return this.showBlank();
    const number = (this.number = (this.number ?? 0) + 1);
    try {
      const { line, error, field } = await post(`${this.base}/check`, this.content);
      if (number !== this.number) return;
      this.showError(error ?? "", field);
      if (!line) return;
      this.find("line").textContent = line;
      const isReading = ([name]) => this.fields.get(name).option.reading;
      this.reading(Object.fromEntries(Object.entries(this.content.values).filter(isReading)));
    } catch (error) {
      if (number === this.number) this.showError(reasonOf(error), error.field);
    }
  }

  // Nothing to check yet, and nothing to start.
  showBlank() {
    this.number = (this.number ?? 0) + 1;
    this.showError("");
    this.find("line").textContent = "";
    this.find("start").disabled = true;
  }

  showError(text, name = "") {
    const place = this.fields.has(name) ? name : "";
    for (const [key, field] of this.fields) field.showError(key === place ? text : "");
    const part = { output_dir: "output", source: "source" }[name] ?? "";
    for (const key of ["output", "source"]) {
      this.find(`${key}-error`).textContent = key === part ? text : "";
      this.find(`${key}-error`).hidden = key !== part || !text;
    }
    this.find("error").textContent = place || part ? "" : text;
    this.find("error").hidden = Boolean(place || part) || !text;
    this.find("start").disabled = Boolean(text);
    this.find("line").classList.toggle("old", Boolean(text));
  }

  async submit(event) {
    event.preventDefault();
    this.find("start").disabled = true;
    try {
      const { job } = await post(`${this.base}/jobs`, this.content);
      this.edited = false;
      await this.started(job);
    } catch (error) {
      this.showError(reasonOf(error), error.field);
    }
  }

  async copy() {
    const line = this.find("line");
    const copied = await navigator.clipboard?.writeText(line.textContent).then(() => true, () => false);
    if (!copied) getSelection().selectAllChildren(line);
    this.find("copied").textContent = copied ? "copied" : "selected";
    setTimeout(() => (this.find("copied").textContent = ""), 2000);
  }
}
